"""A face or a body in its picture, as an estimator sees it before it cuts out what it needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libs.common.wire.estimations import HeadPose, Quality
from services.remote_sdk.decoding.port import Decoded
from services.remote_sdk.networks.frames import Frame
from services.remote_sdk.stages.crops import Box, Cut, Pixels, aligned, around, cut

Points = NDArray[np.float32]

# Sides and place of the box from forehead to chin and cheek to cheek, in mean distances of the five corners from
# their centre: mean of YuNet's boxes about 116 faces of the test photos (spread 7 %).
_WIDTH, _HEIGHT, _BELOW = 4.04, 5.40, 0.30

ARCFACE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
"""Eyes, tip of the nose and corners of the mouth in a face of 112 x 112 pixels, as ArcFace's authors align it."""


@dataclass(frozen=True)
class FaceView:
    """A face in its picture.

    ``picture``: the whole of it. ``box``: forehead to chin and cheek to cheek. ``corners``: float32 (5, 2), dlib's five
    points: outer and inner corner of the eye on the right of the picture, the same of the left one, the base of the
    nose. ``points``: eyes (left of the picture first), tip of the nose, corners of the mouth, where the detector gives
    them. ``chip``: uint8 (150, 150, 3), aligned, where networks look at it. ``quality``: of the chip. ``pose``: by
    geometry from the corners; 0 for a warp, of which it is not known. Cuts know where they lie in the photo, also where
    the picture is a reduced one.
    """

    picture: Decoded
    box: Box
    corners: Points
    points: Points | None
    chip: Frame
    quality: Quality
    pose: HeadPose

    @property
    def pixels(self) -> Pixels:
        """The whole picture in main memory, uint8 (h, w, 3), RGB."""
        return self.picture.pixels

    @property
    def reduced(self) -> int:
        """How many pixels of the photo one of ``pixels`` stands for along each side."""
        return self.picture.reduced

    @property
    def eyes(self) -> Points:
        """Centres of the eyes, (2, 2), that on the left of the picture first."""
        if self.points is not None:
            return self.points[:2]
        return np.stack([self.corners[2:4].mean(0), self.corners[:2].mean(0)])

    def cut(self, box: Box, size: tuple[int, int], **options) -> Cut:
        """See :func:`crops.cut`."""
        return cut(self.pixels, box, size, **options).enlarged(self.reduced)

    def arcface(self, size: int = 112) -> Cut:
        """Aligned as networks in the manner of ArcFace want it."""
        if self.points is not None:
            return aligned(self.pixels, self.points, ARCFACE * size / 112, size).enlarged(self.reduced)
        return aligned(self.pixels, self.corners, _ARCFACE_CORNERS * size / 112, size).enlarged(self.reduced)


# Mean places of dlib's five points in the same 116 faces once aligned by ARCFACE, both halves of the face made equal.
_ARCFACE_CORNERS = np.array([[80.6, 53.2], [66.6, 53.6], [31.4, 53.2], [45.4, 53.6], [56.0, 79.5]])


@dataclass(frozen=True)
class BodyView:
    """A body, or another thing, in its picture: ``pixels`` as in :class:`FaceView`, ``box`` all of it that is seen."""

    pixels: Pixels
    box: Box

    def cut(self, box: Box, size: tuple[int, int], **options) -> Cut:
        """See :func:`crops.cut`."""
        return cut(self.pixels, box, size, **options)


def box_of(corners: Points) -> Box:
    """The box of a face of which only the five corners are known, as of a warp."""
    centre = corners.mean(0)
    unit = float(np.sqrt(((corners - centre) ** 2).sum(1).mean()))
    return around((float(centre[0]) + 0.5, float(centre[1]) + 0.5 + _BELOW * unit), _WIDTH * unit, _HEIGHT * unit)
