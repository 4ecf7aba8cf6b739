"""Whether somebody wears glasses, by a network that looks at the strip from the brows to the nose; and whether they
are dark, by the strip's pixels: the network knows glasses only."""

from __future__ import annotations

import math

import numpy as np

from libs.common.wire.estimations import Glasses as Found
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.engines.port import Array
from services.remote_sdk.estimators.light import well_lit
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.stages.crops import Pixels, around
from services.remote_sdk.stages.luma import luma_of
from services.remote_sdk.stages.view import FaceView

# The strip in distances between the eyes: as wide as upstream cuts it by 68 points, brows and nose in it.
_WIDE, _ABOVE, _BELOW = 3.1, 0.45, 0.75

# Places in the strip, the same way: half of a lens about the eye, and the cheek below it.
_LENS = (-0.24, 0.24, -0.11, 0.16)
_CHEEK = (-0.24, 0.24, 0.56, 0.73)
_DARK = 0.65
"""Brightness of the lenses in that of the cheeks, below which they are dark. Of 58 faces with glasses 3 of 5 sunglasses
have .41 to .59, the two others, which shine, and all clear lenses .68 and more; and so has a mask taken for glasses."""
_BRIGHT_PERCENTILE = 80  # the white of an eye behind clear glass


class Glasses:
    """Of the network's only output, a logit, ``below`` is where glasses begin (option of the manifest)."""

    on_warps = True

    def __init__(self, model: Loaded) -> None:
        self._net = model.net
        self._output = next(iter(self._net.described.outputs))
        self._below = model.option("below", 0.0)

    def crop(self, seen: FaceView) -> Pixels:
        """The strip, lying along the eyes: the network was taught with upright heads."""
        (left, top), (right, bottom) = seen.eyes.tolist()
        across, down = right - left, bottom - top
        apart, sunk = math.hypot(across, down), (_BELOW - _ABOVE) / 2
        centre = ((left + right) / 2 + 0.5 - sunk * down, (top + bottom) / 2 + 0.5 + sunk * across)
        strip = around(centre, _WIDE * apart, (_ABOVE + _BELOW) * apart)
        return seen.cut(strip, self._net.size, angle_deg=math.degrees(math.atan2(down, across))).pixels

    def run(self, crops: list[Pixels]) -> list[Findings]:
        logits = self._net.see([well_lit(strip) for strip in crops])[self._output].reshape(len(crops))
        return [{"glasses": self._glasses(logit, strip)} for logit, strip in zip(logits, crops, strict=True)]

    def _glasses(self, logit: float, strip: Pixels) -> Found:
        if logit >= self._below:
            return Found(glasses="no_glasses")
        return Found(glasses="sunglasses" if _brightness_of_lenses(strip) < _DARK else "eyeglasses")


def _brightness_of_lenses(strip: Pixels) -> float:
    """Of the brighter lens, in parts of the cheek's below it."""
    luma = luma_of(strip)
    lenses = [np.percentile(_part(luma, eye, _LENS), _BRIGHT_PERCENTILE) for eye in (-0.5, 0.5)]
    cheeks = [max(float(np.median(_part(luma, eye, _CHEEK))), 1.0) for eye in (-0.5, 0.5)]
    return max(lens / cheek for lens, cheek in zip(lenses, cheeks, strict=True))


def _part(luma: Array, eye: float, edges: tuple[float, float, float, float]) -> Array:
    """What lies between left, right, top and bottom about an eye, in distances between the eyes."""
    height, width = luma.shape
    left, right, top, bottom = edges
    columns = [round(((eye + x) / _WIDE + 0.5) * width) for x in (left, right)]
    rows = [round((y + _ABOVE) / (_ABOVE + _BELOW) * height) for y in (top, bottom)]
    return luma[slice(*rows), slice(*columns)]
