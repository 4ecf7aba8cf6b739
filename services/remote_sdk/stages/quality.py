"""How good the picture of a face is: plain measures of its pixels, and one score for recognition."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from libs.common.wire.estimations import HeadPose, Quality, Rect
from services.remote_sdk.stages.luma import luma_of

Chip = NDArray[np.uint8]

CHIP_SIZE = 150
_FILTER = 11
_DARK, _BRIGHT, _SPECULAR, _COLOURLESS = 35, 240, 225, 0.15
_SHARP, _BLURRED = 0.45, 0.85
_EYES_OF_CHIP_PX = 52.6
"""Distance of the eye centres in a 150 px chip: the template's 0.526 of 100 px."""


def measure(chip: Chip) -> Quality:
    """Five measures of an aligned face, each 0..1, 1 = good. ``chip``: uint8 (150, 150, 3), RGB.

    Only an ellipse about the face is looked at, and brightness is Rec. 601 luma, 0..255.

    - blurriness: the no-reference metric of Crete et al. (SPIE 6492, 2007): how much of the difference between
      neighbouring pixels a strong blur removes. 0.45 or less of it lost counts as sharp, 0.85 as blurred.
      It does not depend on contrast, so a dark picture is not a blurred one; noise passes for sharpness, unless the
      face halved once or twice, with less of it, is blurred too.
    - dark: share of the face that is not in deep shadow (luma over 35), 0 when half of it is.
    - light: share that is not burnt out (luma below 240), 0 when half of it is.
    - illumination: evenness; 1 - |a - b| / (a + b) of the mean luma of left and right half.
    - specularity: share without mirror-like highlights (brightest channel over 225, saturation below 0.15, after the
      thresholding of Lehmann and Palm, JOSA A 18, 2001), 0 when a quarter of it shines.
    """
    luma = luma_of(chip)
    on_face = luma.take(_ON_FACE)
    return Quality(
        blurriness=_unit((_BLURRED - _blur(luma)) / (_BLURRED - _SHARP)),
        dark=_unit(1 - 2 * (on_face < _DARK).mean()),
        light=_unit(1 - 2 * (on_face > _BRIGHT).mean()),
        illumination=_evenness(luma),
        specularity=_unit(1 - 4 * _shining(chip)),
    )


def _ellipse() -> NDArray[np.bool_]:
    """Brow to chin and cheek to cheek of an aligned chip: eyes lie at a third of its height, the chin near its end."""
    y, x = np.mgrid[:CHIP_SIZE, :CHIP_SIZE]
    return ((x - 74.5) / 45) ** 2 + ((y - 80) / 60) ** 2 <= 1


_FACE = _ellipse()
_ON_FACE = np.flatnonzero(_FACE)
_LEFT = np.flatnonzero(_FACE & (np.arange(CHIP_SIZE) < CHIP_SIZE // 2))
_RIGHT = np.flatnonzero(_FACE & (np.arange(CHIP_SIZE) >= CHIP_SIZE // 2))


def _shining(chip: Chip) -> float:
    """The share of the face that is bright and has no colour."""
    red, green, blue = chip.reshape(-1, 3).take(_ON_FACE, axis=0).T.astype(np.float32)
    brightest = np.maximum(np.maximum(red, green), blue)
    difference = brightest - np.minimum(np.minimum(red, green), blue)
    return float(((brightest > _SPECULAR) & (difference < _COLOURLESS * brightest)).mean())


def _blur(luma: NDArray[np.float32]) -> float:
    """Crete's blur, 0 sharp .. 1 blurred: the worst of both directions, at full size and halved once and twice. From
    pixel to pixel a face that is blurred beyond recognition differs by the noise of its compression only, which would
    pass for sharpness; the sharper a face, the sharper still when it is smaller."""
    worst = 0.0
    for across, down in _INSIDE:
        worst = max(worst, _blur_along(luma, across), _blur_along(np.ascontiguousarray(luma.T), down))
        luma = _halved(luma)
    return worst


def _halved(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The means of 2 x 2 pixels of a square, without what is left over at its end."""
    end = len(image) // 2 * 2
    rows = image[0:end:2] + image[1:end:2]
    return np.multiply(rows[:, 0:end:2] + rows[:, 1:end:2], 0.25, dtype=np.float32)


def _inside(halvings: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where differences along a row, and along a column, are those of the face."""
    face = _FACE.astype(np.float32)
    for _ in range(halvings):
        face = _halved(face)
    face = (face > 0.5).astype(np.float32)
    return face[:, 1:], np.ascontiguousarray(face.T)[:, 1:]


_INSIDE = [_inside(halvings) for halvings in range(3)]


@cache
def _edges_repeated(side: int) -> NDArray[np.intp]:
    return np.arange(-(_FILTER // 2 + 1), side + _FILTER // 2).clip(0, side - 1)


def _blur_along(luma: NDArray[np.float32], where: NDArray[np.float32]) -> float:
    """The share of variation along axis 1 that survives an 11-pixel box filter; ``where`` is 1 on the face, else 0."""
    sums = np.cumsum(luma.take(_edges_repeated(luma.shape[1]), axis=1), axis=1)
    filtered = (sums[:, _FILTER:] - sums[:, :-_FILTER]) / _FILTER
    before, after = np.abs(np.diff(luma, axis=1)), np.abs(np.diff(filtered, axis=1))
    total = float(np.vdot(before, where))
    if total == 0:
        return 1.0
    return 1 - float(np.vdot(np.maximum(before - after, 0), where)) / total


def _evenness(luma: NDArray[np.float32]) -> float:
    left, right = float(luma.take(_LEFT).mean()), float(luma.take(_RIGHT).mean())
    return _unit(1 - abs(left - right) / max(left + right, 1.0))


def score(
    quality: Quality,
    *,
    eyes_px: float | None = None,
    pose: HeadPose | None = None,
    confidence: float = 1.0,
    inside: float = 1.0,
) -> float:
    """How fit a face is for recognition, 0..1: what the contract calls the garbage score.

    The product of what each flaw leaves, so that one of them is enough to spoil a face:

    - size: distance of the eyes in the source over that in the 150 px chip, at most 1: below it the chip is enlarged;
    - sharpness and exposure: the roots of ``blurriness`` and ``dark * light``, since recognition bears some of both;
    - pose: cos(yaw) * cos(pitch), the share of the face that is turned to the camera; full up to 15 degrees;
    - detector: twice its ``confidence``, at most 1;
    - frame: the share ``inside`` of the face's box that lies in the picture.

    ``eyes_px`` and ``pose`` are None for a warp, which keeps neither.
    """
    parts = (
        1.0 if eyes_px is None else min(eyes_px / _EYES_OF_CHIP_PX, 1.0),
        math.sqrt(quality.blurriness),
        math.sqrt(quality.dark * quality.light),
        1.0 if pose is None else _facing(pose.yaw) * _facing(pose.pitch),
        min(2 * confidence, 1.0),
        inside,
    )
    return _unit(math.prod(parts))


def _facing(angle_deg: float) -> float:
    return math.cos(math.radians(min(max(abs(angle_deg) - 15, 0), 90)))


def part_inside(rect: Rect, width: int, height: int) -> float:
    """The share of a box that lies in a picture of ``width`` x ``height`` pixels, 0..1."""
    across = min(rect.x + rect.width, width) - max(rect.x, 0)
    down = min(rect.y + rect.height, height) - max(rect.y, 0)
    return max(across, 0) * max(down, 0) / (rect.width * rect.height)


def _unit(value: float) -> float:
    return round(min(max(float(value), 0.0), 1.0), 4)
