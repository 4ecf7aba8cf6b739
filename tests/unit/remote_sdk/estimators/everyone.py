"""Every face of the shared photos in which nobody wears a mask and nobody is a picture of himself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from services.remote_sdk.estimators.port import Findings
from tests.photos import shared
from tests.unit.remote_sdk.finding import estimated

FOLDERS = ("face_recognition", "compreface", "glasses")


def photos() -> list[Path]:
    """62 files with 82 faces that YuNet finds, 26 pixels wide and more."""
    files = [path for folder in FOLDERS for path in sorted(shared(folder).rglob("*")) if path.is_file()]
    return [path for path in files if path.suffix != ".json"]


def found_in_all(model: str) -> Iterator[tuple[Path, list[Findings]]]:
    """What a model finds of the faces of each photo."""
    return ((path, estimated(path.read_bytes(), model)) for path in photos())
