"""dlib's MMOD detector behind the port of detectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

from services.remote_sdk.detectors.port import Detection
from services.remote_sdk.networks.frames import Frame
from services.remote_sdk.networks.mmod import LONG_SIDE, PYRAMID, FaceDetector

_CONFIDENCE_RATE = 2.5


class Mmod:
    """Any number of threads may call it at once."""

    def __init__(
        self,
        detector: FaceDetector,
        long_side: int | None = None,
        pyramid: float = PYRAMID,
        threshold: float | None = None,
    ) -> None:
        """See :meth:`FaceDetector.detect`; ``threshold``: the detector's margin, None for 0."""
        self._detector = detector
        self._long_side = long_side or LONG_SIDE
        self._pyramid = pyramid
        self._threshold = threshold or 0.0

    def detect(self, images: Sequence[Frame], long_side: int | None = None) -> list[list[Detection]]:
        found = self._detector.detect(images, long_side or self._long_side, self._pyramid, self._threshold)
        return [
            [Detection(face.left, face.top, face.right, face.bottom, confidence(face.score)) for face in faces]
            for faces in found
        ]


def confidence(margin: float) -> float:
    """The detector's margin (0 to about 1.2) on a scale of 0..1: 0.2 becomes 0.39, 0.5 0.71 and 1.0 0.92."""
    return round(1 - math.exp(-_CONFIDENCE_RATE * max(margin, 0.0)), 4)
