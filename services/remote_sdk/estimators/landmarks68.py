"""68 points of a face in the order of 300-W, by the landmark network of face-api, and what they say of the mouth."""

from __future__ import annotations

import numpy as np

from libs.common.wire.estimations import Pixel
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.engines.port import Array
from services.remote_sdk.estimators.mouth import mouth_attributes
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.stages.crops import Cut
from services.remote_sdk.stages.view import FaceView


class Landmarks68:
    """Options of the manifest: ``grown``: the crop; ``shift``: added to all points, in parts of the crop."""

    on_warps = False

    def __init__(self, model: Loaded) -> None:
        self._net = model.net
        self._output = next(iter(self._net.described.outputs))
        self._grown = model.option("grown", 1.1)
        self._shift = np.array(model.option("shift", [0.0, 0.0]))

    def crop(self, seen: FaceView) -> Cut:
        return seen.cut(seen.box.grown(self._grown).squared(), self._net.size)

    def run(self, crops: list[Cut]) -> list[Findings]:
        found = self._net.see([crop.pixels for crop in crops])[self._output]
        # The crop is a square, so that parts of it are one unit along both sides.
        return [
            {"landmarks68": _pixels(crop, points + self._shift), "mouth_attributes": mouth_attributes(points)}
            for crop, points in zip(crops, found, strict=True)
        ]


def _pixels(crop: Cut, points: Array) -> list[Pixel]:
    return [(round(x - 0.5), round(y - 0.5)) for x, y in crop.in_picture(points).tolist()]
