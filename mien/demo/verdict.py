"""Whether what was seen is what there is to see."""

from __future__ import annotations

from enum import Enum

from mien.demo.material import Photo
from mien.recognition import Sighting


class Verdict(Enum):
    """``WRONG`` is the one that must not happen: somebody was called by another's name."""

    RIGHT = "right"
    MISSED = "missed"
    WRONG = "wrong"
    FAILED = "failed"


def judge(photo: Photo, seen: Sighting) -> Verdict:
    """A photo of several people is right when the expected one is among them: the others may be known as well."""
    if seen.error:
        return Verdict.FAILED
    if photo.shows == "nobody":
        return Verdict.WRONG if seen.faces else Verdict.RIGHT
    if photo.shows == "stranger":
        if not seen.faces:
            return Verdict.MISSED
        return Verdict.WRONG if seen.people else Verdict.RIGHT
    if photo.person in seen.people:
        return Verdict.RIGHT
    return Verdict.WRONG if seen.people and len(seen.faces) == 1 else Verdict.MISSED
