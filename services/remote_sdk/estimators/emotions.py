"""Which of seven emotions a face shows. Sensitive: the operator has to allow it."""

from __future__ import annotations

import numpy as np

from libs.common.wire.estimations import EMOTIONS
from libs.common.wire.estimations import Emotions as Found
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.engines.port import Array
from services.remote_sdk.estimators.light import well_lit
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.estimators.shares import shares
from services.remote_sdk.models.manifest import BadManifest
from services.remote_sdk.stages.crops import Pixels
from services.remote_sdk.stages.view import FaceView


class Emotions:
    """Options of the manifest: ``classes``: the wire's words in the order of the output; ``grown``: the crop."""

    on_warps = True

    def __init__(self, model: Loaded) -> None:
        self._net = model.net
        self._output = next(iter(self._net.described.outputs))
        self._classes = model.option("classes", [])
        if set(self._classes) != set(EMOTIONS.values()):
            raise BadManifest(f"model {model.manifest.name}: options.classes are {', '.join(EMOTIONS.values())}")
        self._grown = model.option("grown", 1.1)

    def crop(self, seen: FaceView) -> Pixels:
        return well_lit(seen.cut(seen.box.grown(self._grown).squared(), self._net.size).pixels)

    def run(self, crops: list[Pixels]) -> list[Findings]:
        return [{"emotions": self._emotions(each)} for each in self._net.see(crops)[self._output]]

    def _emotions(self, scores: Array) -> Found:
        return Found(
            predominant_emotion=self._classes[int(np.argmax(scores))], estimations=shares(self._classes, scores)
        )
