"""Boxes that the caller says have faces in them: the surroundings of each are searched."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from libs.common.wire.estimations import Rect
from services.remote_sdk.detectors.port import Detection, Detector
from services.remote_sdk.networks.frames import Pixels
from services.remote_sdk.stages.quality import part_inside

MAX_BOXES = 100
_MARGIN = 0.5  # of the box, on every side: the detector needs to see around a face
_LONG_SIDE = 400  # pixels of a scaled crop: the face in it is some 200, the detector starts at 80


def faces_meant(pixels: Pixels, hints: list[Rect], detector: Detector) -> list[Detection]:
    """The face each hint means: the best one whose centre lies in the hint. A hint without a face gives nothing."""
    crops = [crop for hint in hints if (crop := _crop(pixels, hint))]
    found = detector.detect([crop.pixels for crop in crops], _LONG_SIDE)
    best = (_best_in(crop, boxes) for crop, boxes in zip(crops, found, strict=True))
    return [box for box in best if box]


class _Crop(NamedTuple):
    pixels: Pixels
    x: int
    y: int
    hint: Rect


def _crop(pixels: Pixels, hint: Rect) -> _Crop | None:
    """The surroundings of a hint, as far as they lie in the picture; None when the hint lies outside."""
    height, width = pixels.shape[:2]
    across, down = round(hint.width * _MARGIN), round(hint.height * _MARGIN)
    left, top = max(hint.x - across, 0), max(hint.y - down, 0)
    right, bottom = min(hint.x + hint.width + across, width), min(hint.y + hint.height + down, height)
    if part_inside(hint, width, height) == 0:
        return None
    return _Crop(np.ascontiguousarray(pixels[top:bottom, left:right]), left, top, hint)


def _best_in(crop: _Crop, boxes: list[Detection]) -> Detection | None:
    """The largest confident face of a crop whose centre the hint holds, in pixels of the whole picture."""
    moved = [box.moved(crop.x, crop.y) for box in boxes]
    inside = [box for box in moved if _centre_in(box, crop.hint)]
    return max(inside, key=lambda box: box.score * box.width * box.height, default=None)


def _centre_in(box: Detection, hint: Rect) -> bool:
    x, y = box.centre
    return hint.x <= x < hint.x + hint.width and hint.y <= y < hint.y + hint.height
