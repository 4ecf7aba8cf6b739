"""Detectors in the form of SCRFD (Guo et al., 2021), which InsightFace's RetinaFace exports share.

Anchors on grids of 8, 16 and 32 pixels; a box is its distances from the anchor's centre in strides, and so are the
points.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.remote_sdk.detectors.boxes import Found, calibrated, fitted, searched, strongest
from services.remote_sdk.detectors.port import Detection
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.engines.port import Array
from services.remote_sdk.models.manifest import BadManifest
from services.remote_sdk.networks.frames import Frame, Pixels


class Scrfd:
    """Options of the manifest: ``scores``, ``boxes`` and (where there are) ``points``: names of outputs, one per
    stride; ``strides``, ``anchors`` per cell, ``threshold``, ``overlap``, ``long_side``, ``doubtful``, ``sure``."""

    def __init__(self, model: Loaded, long_side: int | None = None, threshold: float | None = None) -> None:
        """``long_side``: for networks that take any size; ``threshold``: 0..1, the network's own score; both None: what
        the manifest says. Raises BadManifest."""
        self._net = model.net
        self._strides = model.option("strides", [8, 16, 32])
        self._names = [model.option(part, []) for part in ("scores", "boxes", "points")]
        if any(len(names) not in (len(self._strides), 0) for names in self._names) or not all(self._names[:2]):
            raise BadManifest(f"model {model.manifest.name}: options.scores and .boxes name one output per stride")
        self._anchors = model.option("anchors", 2)
        picture = self._net.described.picture[1]
        if picture.width != picture.height:
            raise BadManifest(f"model {model.manifest.name}: kind scrfd takes square pictures, or any size")
        self._fixed = picture.width is not None
        searched = model.option("long_side", 640, long_side)
        self._side = picture.width or searched
        self._multiple = self._side if self._fixed else max(self._strides)
        self._threshold = model.option("threshold", 0.5, threshold)
        self._overlap = model.option("overlap", 0.4)
        self._score = calibrated(model.option("doubtful", 0.4), model.option("sure", 0.8))

    def detect(self, images: Sequence[Frame], long_side: int | None = None) -> list[list[Detection]]:
        side = self._side if self._fixed else long_side or self._side
        return searched(images, lambda image: fitted(image, side, self._multiple, 1.0), self._search, self._score)

    def _search(self, pictures: list[Pixels]) -> list[Found]:
        # One by one: these exports have no batch dimension in their outputs.
        return [self._one(picture) for picture in pictures]

    def _one(self, picture: Pixels) -> Found:
        outputs = self._net.see([picture])
        scores, boxes, points = ([outputs[name] for name in names] for names in self._names)
        centres = [self._centres(picture.shape[1] // stride, picture.shape[0] // stride) for stride in self._strides]
        corners = [_box(*each) for each in zip(centres, boxes, self._strides, strict=True)]
        five = [_points(*each) for each in zip(centres, points, self._strides, strict=True)] if points else None
        every = np.concatenate([each.ravel() for each in scores])
        found = Found(np.concatenate(corners), every, np.concatenate(five) if five else None)
        return strongest(found.only(found.scores >= self._threshold), self._overlap)

    def _centres(self, columns: int, rows: int) -> Array:
        """Of the anchors, (rows * columns * anchors, 2), in strides."""
        y, x = np.mgrid[:rows, :columns]
        return np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), self._anchors, axis=0).astype(np.float32)


def _box(at: Array, distances: Array, stride: int) -> Array:
    sides = distances.reshape(-1, 4)
    return np.concatenate([at - sides[:, :2], at + sides[:, 2:]], axis=-1) * stride


def _points(at: Array, offsets: Array, stride: int) -> Array:
    return (at[:, None] + offsets.reshape(-1, 5, 2)) * stride
