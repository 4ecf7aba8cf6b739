"""Words for what a picture shows, by a classifier of ImageNet."""

from __future__ import annotations

import numpy as np

from libs.common.wire.estimations import ImageTag
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.engines.port import Array
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.models.manifest import BadManifest
from services.remote_sdk.stages.crops import Pixels
from services.remote_sdk.stages.view import BodyView


class Tags:
    """Options of the manifest: ``names``: the file of words, one a line, in the order of the output; ``full``: the
    output that means 1; ``least`` and ``most``: how sure a word has to be, and how many there may be."""

    on_warps = False

    def __init__(self, model: Loaded) -> None:
        """Raises ModelMissing, ModelCorrupt, BadManifest for the file of words."""
        self._net = model.net
        self._output = next(iter(self._net.described.outputs))
        self._words = model.lines(model.option("names", "imagenet_labels.txt"))
        self._full = model.option("full", 1.0)
        self._least = model.option("least", 0.1)
        self._most = model.option("most", 5)

    def crop(self, seen: BodyView) -> Pixels:
        return seen.cut(seen.box, self._net.size).pixels

    def run(self, crops: list[Pixels]) -> list[Findings]:
        rows = self._net.see(crops)[self._output].reshape(len(crops), -1)
        if rows.shape[1] != len(self._words):
            raise BadManifest(f"the network has {rows.shape[1]} classes, its file {len(self._words)} words")
        return [{"tags": self._tags(row / self._full)} for row in rows]

    def _tags(self, scores: Array) -> list[ImageTag]:
        best = np.argsort(-scores, kind="stable")[: self._most]
        return [
            ImageTag(label=self._words[number], score=round(min(float(scores[number]), 1.0), 4))
            for number in best
            if scores[number] >= self._least
        ]
