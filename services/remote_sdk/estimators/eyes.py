"""Whether each eye is open; and both eyes as networks want them, cut out upright."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.stages.crops import Pixels, around
from services.remote_sdk.stages.luma import luma_of
from services.remote_sdk.stages.view import FaceView, Points

OPEN, CLOSED, OCCLUDED = "open", "closed", "occluded"


class Eye(NamedTuple):
    """``pixels``: uint8 (h, w, 3), its corners on one level. ``width_px``: from corner to corner, in pixels of the
    photo. ``shown``: whether its middle lies in the photo."""

    pixels: Pixels
    width_px: float
    shown: bool


class Eyes(NamedTuple):
    """That on the left of the picture, and that on the right."""

    left: Eye
    right: Eye


def eyes_of(seen: FaceView, size: tuple[int, int], grown: float) -> Eyes:
    """Both eyes in squares of ``grown`` widths, brought to ``size``; turned so that the line through them is level."""
    left, right = seen.corners[2:4], seen.corners[:2]
    across, down = right.mean(0) - left.mean(0)
    angle = math.degrees(math.atan2(down, across))
    return Eyes(*(_eye(seen, each, size, grown, angle) for each in (left, right)))


def _eye(seen: FaceView, corners: Points, size: tuple[int, int], grown: float, angle_deg: float) -> Eye:
    x, y = (corners.mean(0) + 0.5).tolist()
    width = float(np.linalg.norm(corners[0] - corners[1]))
    side = max(width * grown, 1.0)
    cut = seen.cut(around((x, y), side, side), size, angle_deg=angle_deg)
    height_px, width_px = seen.pixels.shape[:2]
    return Eye(cut.pixels, width * seen.reduced, 0 <= x < width_px and 0 <= y < height_px)


class EyeStates:
    """Options of the manifest: ``grown``: the crops, in widths of the eye; ``level`` and ``spread``: the mean and the
    standard deviation of the brightness (0..255) to which each is brought; ``open``: the place of "open" in the output.

    Left is left in the picture, as in the contract. An eye beyond the edge of the picture is occluded; of one behind
    glasses, hair or a hand nobody here knows that it is hidden. ``iris_landmarks`` and ``eyelid_landmarks`` stay empty:
    nothing here finds an iris, and the 68 landmarks are off by a tenth of an eye's width, of whose height there are
    three tenths (160 corners of eyes, against dlib's five points).
    """

    on_warps = True

    def __init__(self, model: Loaded) -> None:
        self._net = model.net
        self._output = next(iter(self._net.described.outputs))
        self._grown = model.option("grown", [1.8])
        self._level, self._spread = model.option("level", 120.0), model.option("spread", 40.0)
        self._open = model.option("open", 1)

    def crop(self, seen: FaceView) -> list[Eyes]:
        return [eyes_of(seen, self._net.size, grown) for grown in self._grown]

    def run(self, crops: list[list[Eyes]]) -> list[Findings]:
        pixels = np.array([[[eye.pixels for eye in eyes] for eyes in looks] for looks in crops])
        upright = self._in_one_light(pixels)
        looks = np.stack([upright, upright[..., ::-1, :]])  # and mirrored
        found = self._net.see(list(looks.reshape(-1, *pixels.shape[-3:])))[self._output]
        # (n, 2 eyes, 2 states): the network is too sure of itself for means of probabilities.
        sure = np.log(found.reshape(*looks.shape[:4], 2).clip(_LEAST)).mean(axis=(0, 2))
        are_open = sure[..., self._open] >= sure[..., 1 - self._open]
        return [{"eyes_attributes": _attributes(looks[0], its)} for looks, its in zip(crops, are_open, strict=True)]

    def _in_one_light(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Grey pictures (..., h, w, 3) of one brightness and contrast: the network learnt on infrared ones."""
        grey = luma_of(pixels)
        mean, deviation = grey.mean((-2, -1), keepdims=True), grey.std((-2, -1), keepdims=True)
        lit = (grey - mean) / np.maximum(deviation, 1) * self._spread + self._level
        return np.repeat(lit.clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1)


_LEAST = 1e-9


def _attributes(eyes: Eyes, are_open: Iterable[bool]) -> dict[str, Any]:
    states = [_state(eye, is_open) for eye, is_open in zip(eyes, are_open, strict=True)]
    return {
        side: {"state": state, "iris_landmarks": [], "eyelid_landmarks": []}
        for side, state in zip(("left_eye", "right_eye"), states, strict=True)
    }


def _state(eye: Eye, is_open: bool) -> str:
    if not eye.shown:
        return OCCLUDED
    return OPEN if is_open else CLOSED
