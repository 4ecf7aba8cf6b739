"""Text of number plates by LPRNet (Zherzdev and Gruzdev, 2018). It reads; it does not find."""

from __future__ import annotations

import re

import numpy as np

from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.engines.port import Array
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.models.manifest import BadManifest
from services.remote_sdk.stages.crops import Pixels
from services.remote_sdk.stages.view import BodyView


class PlateText:
    """Options of the manifest: ``characters``: those of the output in its order; the class after them is blank.
    ``form``: a regular expression of the plates; a text that does not match is none."""

    on_warps = False

    def __init__(self, model: Loaded) -> None:
        """Raises BadManifest when there are no characters."""
        self._net = model.net
        self._output = next(iter(self._net.described.outputs))
        self._characters = model.option("characters", "")
        self._form = re.compile(model.option("form", ".+"))
        if not self._characters:
            raise BadManifest(f"model {model.manifest.name}: options.characters are those of the output")

    def crop(self, seen: BodyView) -> Pixels:
        return seen.cut(seen.box, self._net.size).pixels

    def run(self, crops: list[Pixels]) -> list[Findings]:
        return [self._read(each) for each in self._net.see(crops)[self._output]]

    def _read(self, logits: Array) -> Findings:
        """logits: (classes, steps). Greedy CTC: what repeats is one character, a blank parts two."""
        shares = np.exp(logits - logits.max(axis=0))
        shares /= shares.sum(axis=0)
        best = shares.argmax(axis=0)
        starts = [at for at in range(len(best)) if at == 0 or best[at] != best[at - 1]]
        steps = [at for at in starts if best[at] < len(self._characters)]
        text = "".join(self._characters[int(best[at])] for at in steps)
        if not self._form.fullmatch(text):
            return {"text": "", "score": 0.0}
        return {"text": text, "score": round(float(min(shares[best[at], at] for at in steps)), 4)}
