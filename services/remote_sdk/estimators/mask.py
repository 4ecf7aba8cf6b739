"""Whether mouth and nose are covered, by a detector of masked and of bare faces that looks at one face."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from libs.common.wire.estimations import Mask as Found
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.engines.port import Array
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.estimators.shares import shares
from services.remote_sdk.stages.crops import Pixels
from services.remote_sdk.stages.view import FaceView

# AIZOO's anchors (its `anchor_generator.py`): on grids of so many cells a side, two squares and two upright boxes per
# cell, sides in parts of the picture.
_GRIDS = {33: (0.04, 0.056), 17: (0.08, 0.11), 9: (0.16, 0.22), 5: (0.32, 0.45), 3: (0.64, 0.72)}
_RATIOS = (0.62, 0.42)  # width by height of the upright ones, which have the area of the smaller square
_VARIANCES = (0.1, 0.2)
_SAME = 0.3  # intersection by union of boxes from which on it is this face and not one beside it


class Look(NamedTuple):
    """A face with its surroundings; ``face``: width and height of its box, in the middle, in parts of them."""

    pixels: Pixels
    face: tuple[float, float]


class Mask:
    """Option of the manifest: ``grown``: the crop. A network of AIZOO's, outputs ``loc`` and ``cls``.

    It knows two kinds of faces, so its "medical_mask" is anything over mouth and nose, scarves too; "occluded" is what
    is left: a face where it sees neither kind.
    """

    on_warps = True

    def __init__(self, model: Loaded) -> None:
        self._net = model.net
        self._grown = model.option("grown", 1.6)

    def crop(self, seen: FaceView) -> Look:
        square = seen.box.grown(self._grown).squared()
        pixels = seen.cut(square, self._net.size).pixels
        return Look(pixels, (seen.box.width / square.width, seen.box.height / square.height))

    def run(self, crops: list[Look]) -> list[Findings]:
        outputs = self._net.see([crop.pixels for crop in crops])
        return [
            {"mask": _mask(scores[_overlap(boxes, crop.face) > _SAME])}
            for crop, boxes, scores in zip(crops, _boxes(outputs["loc"]), outputs["cls"], strict=True)
        ]


def _mask(scores: Array) -> Found:
    """scores: (n, 2), of a masked and of a bare face, of all boxes about the face."""
    masked, bare = scores.max(axis=0, initial=0.0).clip(0, 1).tolist()
    left = 1 - max(masked, bare)
    estimations = shares(("missing", "medical_mask", "occluded"), np.array([bare, masked, left]))
    return Found(predominant_mask=max(estimations, key=lambda name: estimations[name]), estimations=estimations)


def _anchors() -> Array:
    """Centre, width and height, (5972, 4)."""
    found = []
    for cells, (small, large) in _GRIDS.items():
        upright = [(small * ratio**0.5, small / ratio**0.5) for ratio in _RATIOS]
        shapes = np.array([(small, small), (large, large), *upright])
        y, x = np.mgrid[:cells, :cells]
        centres = (np.stack([x, y], axis=-1).reshape(-1, 1, 2) + 0.5) / cells
        placed = np.broadcast_arrays(centres, shapes[None])
        found.append(np.concatenate(placed, axis=-1).reshape(-1, 4))
    return np.concatenate(found).astype(np.float32)


_ANCHORS = _anchors()


def _boxes(offsets: Array) -> Array:
    """Left, top, right and bottom in parts of the crop, (n, 5972, 4), by the network's offsets from the anchors."""
    centres = _ANCHORS[:, :2] + offsets[..., :2] * _VARIANCES[0] * _ANCHORS[:, 2:]
    halves = _ANCHORS[:, 2:] * np.exp(offsets[..., 2:] * _VARIANCES[1]) / 2
    return np.concatenate([centres - halves, centres + halves], axis=-1)


def _overlap(boxes: Array, face: tuple[float, float]) -> Array:
    """Intersection by union of boxes (n, 4) and the face in the middle: (n,)."""
    half = np.array(face) / 2
    sides = np.minimum(boxes[:, 2:], 0.5 + half) - np.maximum(boxes[:, :2], 0.5 - half)
    shared = sides.clip(0).prod(axis=1)
    return shared / ((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + np.prod(face) - shared)
