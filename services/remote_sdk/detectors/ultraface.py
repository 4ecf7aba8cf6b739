"""Ultra-Light-Fast-Generic-Face-Detector (Linzaer): boxes of faces in a picture of a fixed, small size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.remote_sdk.detectors.boxes import Fitted, Found, calibrated, searched, stretched, strongest
from services.remote_sdk.detectors.port import Detection
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.networks.frames import Frame, Pixels


class UltraFace:
    """The network has one size, so ``long_side`` means nothing to it. Any number of threads may call it at once."""

    def __init__(self, model: Loaded, threshold: float | None = None) -> None:
        """``threshold``: 0..1, the network's own score; None: what the manifest says."""
        self._net = model.net
        self._width, self._height = self._net.size
        self._threshold = model.option("threshold", 0.7, threshold)
        self._overlap = model.option("overlap", 0.3)
        self._score = calibrated(model.option("doubtful", 0.6), model.option("sure", 0.99))

    def detect(self, images: Sequence[Frame], long_side: int | None = None) -> list[list[Detection]]:
        return searched(images, self._fit, self._search, self._score)

    def _fit(self, image: Frame) -> Fitted:
        return stretched(image, self._width, self._height)

    def _search(self, pictures: list[Pixels]) -> list[Found]:
        outputs = self._net.see(pictures)
        size = np.array([self._width, self._height] * 2)
        pairs = zip(outputs["boxes"], outputs["scores"], strict=True)
        every = [Found(boxes * size, scores[:, 1]) for boxes, scores in pairs]
        return [strongest(found.only(found.scores >= self._threshold), self._overlap) for found in every]
