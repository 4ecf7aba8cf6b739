"""Colour of a vehicle, by Open Model Zoo's network 0039.

Its other answer, the type, is not used: it knows the view of a barrier's camera, and of 18 cars in the test photos it
calls 12 trucks. The type is what the detector says.
"""

from __future__ import annotations

import numpy as np

from libs.common.wire.estimations import Likely
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.engines.port import Array
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.estimators.shares import shares
from services.remote_sdk.models.manifest import BadManifest
from services.remote_sdk.stages.crops import Pixels
from services.remote_sdk.stages.view import BodyView

# What is taken for white: the brightest twentieth of the whole picture, each channel by itself ("white patch" of Land's
# Retinex, 1977). Where that has a colour of its own, as when a red car fills the picture, it is no white: a channel is
# raised by a quarter over the brightest one at most. Nor is anything white at night.
_WHITE_PERCENTILE = 95
_TINT = 0.8
_DARKEST_WHITE = 100
_SAMPLES = 128  # pixels looked at along each side of the picture


class VehicleColor:
    """Options of the manifest: ``colors``: words in the order of the output; ``grown``: the crops, in parts of the box.

    The network was taught with tight boxes in daylight: with the edges of the detector's boxes cut away and the
    picture's white made white 12 of 14 cars of the test photos are told right, without it 5, silver and white ones in
    bluish light being green.
    """

    on_warps = False

    def __init__(self, model: Loaded) -> None:
        """Raises BadManifest when there is nothing to look at."""
        self._net = model.net
        self._colors = model.option("colors", ["white", "gray", "yellow", "red", "green", "blue", "black"])
        self._grown = model.option("grown", [0.85, 0.7])
        if not self._grown:
            raise BadManifest(f"model {model.manifest.name}: options.grown has no size of a crop")

    def crop(self, seen: BodyView) -> list[Pixels]:
        gains = _gains(seen.pixels)
        return [_lit(seen.cut(seen.box.grown(each), self._net.size).pixels, gains) for each in self._grown]

    def run(self, crops: list[list[Pixels]]) -> list[Findings]:
        found = self._net.see([look for looks in crops for look in looks])["color"]
        return [{"color": self._likely(each)} for each in found.reshape(len(crops), len(self._grown), -1).mean(1)]

    def _likely(self, scores: Array) -> Likely:
        return Likely(predominant=self._colors[int(np.argmax(scores))], estimations=shares(self._colors, scores))


def _gains(picture: Pixels) -> Array:
    """What each channel is multiplied by so that the picture's white is white, (3,)."""
    height, width = picture.shape[:2]
    some = picture[:: max(height // _SAMPLES, 1), :: max(width // _SAMPLES, 1)].reshape(-1, 3)
    white = np.percentile(some, _WHITE_PERCENTILE, axis=0)
    return 255 / np.maximum(white, max(_TINT * float(white.max()), _DARKEST_WHITE))


def _lit(pixels: Pixels, gains: Array) -> Pixels:
    return (pixels * gains).clip(0, 255).astype(np.uint8)
