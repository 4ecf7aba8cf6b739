"""Detectors in the form of YOLO: rows of centre, size and class scores, in pixels of the input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.remote_sdk.detectors.boxes import Fitted, Found, calibrated, fitted, searched, strongest
from services.remote_sdk.detectors.port import Detection
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.engines.port import Array
from services.remote_sdk.models.manifest import BadManifest
from services.remote_sdk.networks.frames import Frame, Pixels


class Yolo:
    """Options of the manifest: ``form``: "v5" (rows of x, y, w, h, objectness, classes) or "v8" (columns of x, y, w,
    h, classes, and with ``points = 5`` as many of x, y, visibility); ``classes``: their names; ``wanted``: those that
    are kept (default all); ``threshold``, ``overlap``, ``doubtful``, ``sure``."""

    def __init__(self, model: Loaded, threshold: float | None = None) -> None:
        """``threshold``: 0..1, the network's own score; None: what the manifest says. Raises BadManifest."""
        self._net = model.net
        self._output = next(iter(self._net.described.outputs))
        self._side = max(self._net.size)
        if self._net.size != (self._side, self._side):
            raise BadManifest(f"model {model.manifest.name}: kind yolo takes square pictures")
        self._form = model.option("form", "v8")
        if self._form not in ("v5", "v8"):
            raise BadManifest(f"model {model.manifest.name}: options.form is v5 or v8")
        self._classes = model.option("classes", ["face"])
        wanted = model.option("wanted", self._classes)
        self._wanted = np.array([name in wanted for name in self._classes])
        self._points = model.option("points", 0)
        if self._points not in (0, 5):
            raise BadManifest(f"model {model.manifest.name}: options.points is 0 or 5")
        self._threshold = model.option("threshold", 0.5, threshold)
        self._overlap = model.option("overlap", 0.5)
        self._score = calibrated(model.option("doubtful", 0.4), model.option("sure", 0.8))

    def detect(self, images: Sequence[Frame], long_side: int | None = None) -> list[list[Detection]]:
        return searched(images, self._fit, self._search, self._score, self._classes)

    def _fit(self, image: Frame) -> Fitted:
        return fitted(image, self._side, self._side, 4.0)

    def _search(self, pictures: list[Pixels]) -> list[Found]:
        return [self._found(rows) for rows in self._net.see(pictures)[self._output]]

    def _found(self, rows: Array) -> Found:
        count = len(self._classes)
        if self._form == "v5":
            scores = rows[:, 4:5] * rows[:, 5 : 5 + count]
        else:
            rows = rows.T
            scores = rows[:, 4 : 4 + count]
        scores = np.where(self._wanted, scores, 0)
        points = None
        if self._points and self._form == "v8":
            points = rows[:, 4 + count :].reshape(len(rows), 5, 3)[..., :2]
        half = rows[:, 2:4] / 2
        boxes = np.concatenate([rows[:, :2] - half, rows[:, :2] + half], axis=-1)
        found = Found(boxes, scores.max(axis=1), points, scores.argmax(axis=1))
        return strongest(found.only(found.scores >= self._threshold), self._overlap)
