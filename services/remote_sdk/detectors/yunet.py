"""YuNet (Wu, Peng and Yu, 2023): faces from some 10 pixels on, with five points, in a few milliseconds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.remote_sdk.detectors.boxes import Fitted, Found, calibrated, fitted, searched, strongest
from services.remote_sdk.detectors.port import Detection
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.engines.port import Array
from services.remote_sdk.networks.frames import Frame, Pixels

_STRIDES = (8, 16, 32)
_LARGEST_UPSCALE = 1.0  # enlarged pictures have more false alarms and no more faces
_MOST_BOXES = 1000  # before doubles are dropped, best first


class YuNet:
    """Any number of threads may call it at once."""

    def __init__(self, model: Loaded, long_side: int | None = None, threshold: float | None = None) -> None:
        """``long_side``: pixels of the searched picture; ``threshold``: 0..1, the network's own score; both None: what
        the manifest says."""
        self._net = model.net
        self._long_side = model.option("long_side", 800, long_side)
        self._threshold = model.option("threshold", 0.8, threshold)
        self._overlap = model.option("overlap", 0.45)
        self._score = calibrated(model.option("doubtful", 0.74), model.option("sure", 0.92))
        self._multiple = model.net.described.picture[1].multiple

    def detect(self, images: Sequence[Frame], long_side: int | None = None) -> list[list[Detection]]:
        side = long_side or self._long_side

        def fit(image: Frame) -> Fitted:
            return fitted(image, side, self._multiple, _LARGEST_UPSCALE)

        return searched(images, fit, self._search, self._score)

    def _search(self, pictures: list[Pixels]) -> list[Found]:
        outputs, width = self._net.see(pictures), pictures[0].shape[1]
        return [self._found({name: each[at] for name, each in outputs.items()}, width) for at in range(len(pictures))]

    def _found(self, outputs: dict[str, Array], width: int) -> Found:
        """In one picture of so many columns."""
        levels = [_level(outputs, stride, width // stride, self._threshold) for stride in _STRIDES]
        boxes, scores, points = (np.concatenate(parts) for parts in zip(*levels, strict=True))
        best = np.argsort(-scores, kind="stable")[:_MOST_BOXES]
        return strongest(Found(boxes, scores, points).only(best), self._overlap)


def _level(outputs: dict[str, Array], stride: int, columns: int, threshold: float) -> tuple[Array, Array, Array]:
    """Boxes (n, 4), scores (n,) and points (n, 5, 2) of the cells of one grid that reach the threshold, in pixels of
    the input.

    A cell gives its box's centre as an offset from its own corner and the logarithm of its sides, all in strides.
    """
    certain = np.sqrt((outputs[f"cls_{stride}"] * outputs[f"obj_{stride}"]).clip(0, 1))[:, 0]
    cells = np.flatnonzero(certain >= threshold)
    box, points = outputs[f"bbox_{stride}"][cells], outputs[f"kps_{stride}"][cells].reshape(-1, 5, 2)
    corner = np.stack([cells % columns, cells // columns], axis=-1)
    centre = (box[:, :2] + corner) * stride
    half = np.exp(box[:, 2:]) * stride / 2
    boxes = np.concatenate([centre - half, centre + half], axis=-1)
    return boxes, certain[cells], (points + corner[:, None]) * stride
