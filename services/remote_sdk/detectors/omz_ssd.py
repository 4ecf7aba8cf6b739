"""Detectors of Open Model Zoo that end in SSD's output layer: rows that are boxes already, doubles dropped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.remote_sdk.detectors.boxes import Fitted, Found, calibrated, searched, stretched, strongest
from services.remote_sdk.detectors.port import Detection
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.engines.port import Array
from services.remote_sdk.networks.frames import Frame, Pixels


class OmzSsd:
    """The network has one size, so ``long_side`` means nothing to it. Any number of threads may call it at once.

    Options of the manifest: ``label``: what it finds; ``threshold``, ``overlap``, ``doubtful``, ``sure``.
    """

    def __init__(self, model: Loaded) -> None:
        self._net = model.net
        self._output = next(iter(self._net.described.outputs))
        self._width, self._height = self._net.size
        self._label = model.option("label", "person")
        self._threshold = model.option("threshold", 0.6)
        self._overlap = model.option("overlap", 0.5)
        self._score = calibrated(model.option("doubtful", 0.5), model.option("sure", 0.9))

    def detect(self, images: Sequence[Frame], long_side: int | None = None) -> list[list[Detection]]:
        return searched(images, self._fit, self._search, self._score, [self._label])

    def _fit(self, image: Frame) -> Fitted:
        return stretched(image, self._width, self._height)

    def _search(self, pictures: list[Pixels]) -> list[Found]:
        return [self._found(rows.reshape(-1, 7)) for rows in self._net.see(pictures)[self._output]]

    def _found(self, rows: Array) -> Found:
        """rows: (200, 7): picture (-1 after the last), class, score, left, top, right, bottom in parts of it."""
        rows = rows[(rows[:, 0] >= 0) & (rows[:, 2] >= self._threshold)]
        boxes = rows[:, 3:].clip(0, 1) * np.array([self._width, self._height] * 2)
        found = Found(boxes, rows[:, 2], None, np.zeros(len(rows), np.int64))
        return strongest(found, self._overlap)
