"""What the box of a detected face says of the face: each detector draws its own."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from services.remote_sdk.detectors.port import Detection
from services.remote_sdk.stages.crops import Box
from services.remote_sdk.stages.view import Points

_SQUARE = 1.1  # sides of a box that differ less are those of dlib's own detector
_DLIB_SIDE = 0.93  # of dlib's boxes, in roots of the area of YuNet's about the same 116 faces
_DLIB_WIDTH, _DLIB_HEIGHT = 0.93, 1.24  # of YuNet's boxes, in sides of dlib's


def landmark_box(found: Detection) -> tuple[float, float, float, float]:
    """Where the landmarks are sought: in a square as dlib's detector gives it, for it was learnt in those."""
    if _is_square(found):
        return found.left, found.top, found.right, found.bottom
    x, y = found.centre
    half = (side(found) - 1) / 2
    return x - half, y - half, x + half, y + half


def side(found: Detection) -> float:
    """Pixels of a side of the square in which dlib's detector would find the face."""
    return found.width if _is_square(found) else _DLIB_SIDE * math.sqrt(found.width * found.height)


def enlarged(found: Detection, by: int) -> Detection:
    """The same in a picture of ``by`` times the width and height."""
    return replace(
        found,
        left=found.left * by,
        top=found.top * by,
        right=(found.right + 1) * by - 1,
        bottom=(found.bottom + 1) * by - 1,
        points=None if found.points is None else moved_apart(found.points, by),
    )


def moved_apart(points: Points, by: int) -> Points:
    """Centres of pixels, (n, 2), in a picture of ``by`` times the width and height."""
    return ((points + 0.5) * by - 0.5).astype(np.float32)


def face_box(found: Detection) -> Box:
    """From forehead to chin and cheek to cheek: the box of every detector but dlib's, whose squares end below."""
    box = Box(found.left, found.top, found.right + 1, found.bottom + 1)
    return box.grown(_DLIB_WIDTH, _DLIB_HEIGHT) if _is_square(found) else box


def _is_square(found: Detection) -> bool:
    return max(found.width, found.height) < _SQUARE * min(found.width, found.height)
