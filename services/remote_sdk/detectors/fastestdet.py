"""FastestDet (Ma, 2022): 80 classes of things, persons among them, in a picture of 352 x 352 pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.remote_sdk.detectors.boxes import Fitted, Found, calibrated, searched, stretched, strongest
from services.remote_sdk.detectors.port import Detection
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.engines.port import Array
from services.remote_sdk.networks.frames import Frame, Pixels


class FastestDet:
    """The network has one size, so ``long_side`` means nothing to it. Any number of threads may call it at once.

    Options of the manifest: ``names``: the file with the names of the classes, one a line; ``threshold``, ``overlap``,
    ``doubtful``, ``sure``.
    """

    def __init__(self, model: Loaded) -> None:
        """Raises ModelMissing or ModelCorrupt for the file of names."""
        self._net = model.net
        self._output = next(iter(self._net.described.outputs))
        self._width, self._height = self._net.size
        self._names = model.lines(model.option("names", "coco.names"))
        self._threshold = model.option("threshold", 0.6)
        self._overlap = model.option("overlap", 0.45)
        self._score = calibrated(model.option("doubtful", 0.5), model.option("sure", 0.85))

    def detect(self, images: Sequence[Frame], long_side: int | None = None) -> list[list[Detection]]:
        return searched(images, self._fit, self._search, self._score, self._names)

    def _fit(self, image: Frame) -> Fitted:
        return stretched(image, self._width, self._height)

    def _search(self, pictures: list[Pixels]) -> list[Found]:
        return [self._found(cells) for cells in self._net.see(pictures)[self._output]]

    def _found(self, cells: Array) -> Found:
        """cells: (85, rows, columns): objectness, offsets x y, logits of width and height, 80 shares of classes."""
        rows, columns = cells.shape[1:]
        flat = cells.reshape(len(cells), -1)
        score = flat[0] ** 0.6 * flat[5:].max(axis=0) ** 0.4  # as its author weighs them
        y, x = np.mgrid[:rows, :columns].reshape(2, -1)
        centre = np.stack([(x + np.tanh(flat[1])) / columns, (y + np.tanh(flat[2])) / rows], axis=-1)
        half = 0.5 / (1 + np.exp(-flat[3:5].T))
        edges = np.concatenate([centre - half, centre + half], axis=-1).clip(0, 1)  # it guesses what is out of sight
        boxes = edges * ([self._width, self._height] * 2)
        found = Found(boxes, score, None, flat[5:].argmax(axis=0))
        return strongest(found.only(score >= self._threshold), self._overlap)
