"""Type and colour of a vehicle, by Open Model Zoo's network 0039."""

from __future__ import annotations

import numpy as np

from libs.common.wire.estimations import Likely
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.engines.port import Array
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.stages.crops import Pixels
from services.remote_sdk.stages.view import BodyView


class VehicleAttributes:
    """Options of the manifest: ``types`` and ``colors``: words in the order of the outputs."""

    on_warps = False

    def __init__(self, model: Loaded) -> None:
        self._net = model.net
        self._types = model.option("types", ["car", "bus", "truck", "van"])
        self._colors = model.option("colors", ["white", "gray", "yellow", "red", "green", "blue", "black"])

    def crop(self, seen: BodyView) -> Pixels:
        return seen.cut(seen.box, self._net.size).pixels

    def run(self, crops: list[Pixels]) -> list[Findings]:
        outputs = self._net.see(crops)
        rows = (outputs[name].reshape(len(crops), -1) for name in ("type", "color"))
        return [
            {"type": _likely(self._types, kind), "color": _likely(self._colors, color)}
            for kind, color in zip(*rows, strict=True)
        ]


def _likely(words: list[str], shares: Array) -> Likely:
    named = {word: round(min(max(float(share), 0.0), 1.0), 4) for word, share in zip(words, shares, strict=True)}
    return Likely(predominant=words[int(np.argmax(shares))], estimations=named)
