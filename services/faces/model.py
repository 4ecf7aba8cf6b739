"""What the service hands to its store, and the limits it keeps."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.errors import Code, MienError
from libs.common.wire.faces import Attribute, Face

MAX_BATCH = 1000
"""Faces or attributes created by one call."""

MAX_CHANGES = 10_000
"""Rows in one page of the revision feed."""


@dataclass(frozen=True)
class FaceRecord:
    """A face (``face.lists`` are its links) and the attribute it owns."""

    face: Face
    attribute: Attribute | None


def bound(count: int, what: str) -> None:
    """Raises TOO_MANY when one call carries more than MAX_BATCH things."""
    if count > MAX_BATCH:
        raise MienError(Code.TOO_MANY, f"{count} {what}; one request may have {MAX_BATCH}")
