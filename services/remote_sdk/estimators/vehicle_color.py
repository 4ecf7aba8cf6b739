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
from services.remote_sdk.stages.crops import Pixels
from services.remote_sdk.stages.view import BodyView


class VehicleColor:
    """Option of the manifest: ``colors``: words in the order of the output."""

    on_warps = False

    def __init__(self, model: Loaded) -> None:
        self._net = model.net
        self._colors = model.option("colors", ["white", "gray", "yellow", "red", "green", "blue", "black"])

    def crop(self, seen: BodyView) -> Pixels:
        return seen.cut(seen.box, self._net.size).pixels

    def run(self, crops: list[Pixels]) -> list[Findings]:
        return [{"color": self._likely(shares)} for shares in self._net.see(crops)["color"].reshape(len(crops), -1)]

    def _likely(self, shares: Array) -> Likely:
        named = zip(self._colors, (round(min(max(float(each), 0.0), 1.0), 4) for each in shares), strict=True)
        return Likely(predominant=self._colors[int(np.argmax(shares))], estimations=dict(named))
