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
    """Of a photo with several faces only one is spoken of: the others may well be people who are known."""
    if seen.error:
        return Verdict.FAILED
    if photo.shows == "nobody":
        return Verdict.WRONG if seen.faces else Verdict.RIGHT
    if not seen.faces:
        return Verdict.MISSED
    expected = photo.person if photo.shows == "person" else None
    if expected in [face.person for face in seen.faces]:
        return Verdict.RIGHT
    return Verdict.WRONG if seen.people and (expected is None or len(seen.faces) == 1) else Verdict.MISSED
