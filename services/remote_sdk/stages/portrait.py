"""The picture about a face, measured in the terms of ISO/IEC 19794-5."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from libs.common.wire.estimations import Portrait
from services.remote_sdk.stages.crops import Pixels
from services.remote_sdk.stages.luma import luma_of
from services.remote_sdk.stages.view import FaceView, box_of

_LONG_SIDE = 256  # pixels in which the background is looked at
_HAIR_WIDTH, _HAIR_ABOVE = 1.5, 0.2  # what is left out beside and above the head, in parts of it
_LEAST = 0.02  # share of the picture below which there is no background to speak of
_USUAL = 25  # of 255: how far a colour may be from the background's own, in every channel


class _Head(NamedTuple):
    """Crown to chin and ear to ear, in pixels of the picture."""

    left: float
    top: float
    right: float
    bottom: float
    eyes_y: float


def portrait(view: FaceView) -> Portrait:
    """Geometry, exposure and background of a face that looks upright into the camera; others come out distorted.

    The crown is hidden under hair. It is taken for as far above the eyes as the chin is below them: the eyes of adults
    lie at about the middle of the head (those of children lower, so that they come out too small).
    """
    height, width = view.pixels.shape[:2]
    (left_x, left_y), (right_x, right_y) = view.eyes.tolist()
    head = _head(view)
    uniformity, lightness = _background(view.pixels, head)
    return Portrait(
        image_width=width,
        image_height=height,
        eye_distance=round(math.hypot(right_x - left_x, right_y - left_y), 1),
        horizontal_center=round((left_x + right_x + 1) / 2 / width, 4),
        vertical_center=round((left_y + right_y + 1) / 2 / height, 4),
        head_width=round((head.right - head.left) / width, 4),
        head_height=round((head.bottom - head.top) / height, 4),
        indent_left=round(head.left),
        indent_right=round(width - head.right),
        indent_upper=round(head.top),
        indent_lower=round(height - head.bottom),
        dynamic_range=_dynamic_range(view.cut(box_of(view.corners), (_LONG_SIDE // 2, _LONG_SIDE // 2)).pixels),
        background_uniformity=uniformity,
        background_lightness=lightness,
    )


def _head(view: FaceView) -> _Head:
    eyes_y = float(view.eyes[:, 1].mean()) + 0.5
    face = box_of(view.corners)  # not the detector's: dlib's come in steps of a fifth
    return _Head(face.left, 2 * eyes_y - face.bottom, face.right, face.bottom, eyes_y)


def _dynamic_range(face: Pixels) -> float:
    """Bits of the number of different brightnesses, 0..8: what clause 7.4.3 wants to be 7 or more. Noise counts too."""
    return round(math.log2(len(np.unique(luma_of(face).astype(np.uint8)))), 2)


def _background(pixels: Pixels, head: _Head) -> tuple[float | None, float | None]:
    """How uniform and how light it is beside and above the head, down to the eyes: below them shoulders may begin."""
    step = max(math.ceil(max(pixels.shape[:2]) / _LONG_SIDE), 1)
    small = pixels[::step, ::step]
    where = _beside(small.shape[:2], head, step)
    if where.mean() < _LEAST:
        return None, None
    colours = small[where].astype(np.int16)
    far = np.abs(colours - np.median(colours, axis=0)).max(axis=1)
    lightness = float(luma_of(colours).mean()) / 255
    return round(float((far <= _USUAL).mean()), 4), round(min(lightness, 1.0), 4)


def _beside(shape: tuple[int, ...], head: _Head, step: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[: shape[0], : shape[1]] * step
    hair = (head.right - head.left) * (_HAIR_WIDTH - 1) / 2
    above = (head.bottom - head.top) * _HAIR_ABOVE
    on_head = (x > head.left - hair) & (x < head.right + hair) & (y > head.top - above)
    return (y < head.eyes_y) & ~on_head
