"""Parts of a picture as networks want them: cut out, turned, brought to size."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.remote_sdk.networks.frames import Pixels
from services.remote_sdk.networks.similarity import fit, plane

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Box:
    """Edges in pixels of the picture: 0 is the left edge of its first pixel, its width the right edge of the last."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def grown(self, factor: float, factor_y: float | None = None) -> Box:
        """``factor`` times as wide and ``factor_y`` (else ``factor``) times as high, about the same centre."""
        return around(self.centre, self.width * factor, self.height * (factor if factor_y is None else factor_y))

    def squared(self) -> Box:
        """The square about the same centre whose side is the longer one."""
        side = max(self.width, self.height)
        return around(self.centre, side, side)


def around(centre: tuple[float, float], width: float, height: float) -> Box:
    x, y = centre
    return Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


@dataclass(frozen=True)
class Cut:
    """``pixels``: uint8 (height, width, 3), and where they come from."""

    pixels: Pixels
    to_picture: NDArray[np.float64]  # (2, 3)

    def in_picture(self, points: Floats) -> NDArray[np.float64]:
        """Points (n, 2) in parts of the cut's width and height, 0..1, as edges in pixels of the picture."""
        height, width = self.pixels.shape[:2]
        scaled = np.asarray(points, np.float64) * (width, height)
        return scaled @ self.to_picture[:, :2].T + self.to_picture[:, 2]

    def enlarged(self, by: int) -> Cut:
        """The same cut of a picture of ``by`` times the width and height."""
        return replace(self, to_picture=self.to_picture * by)


def cut(
    picture: Pixels,
    box: Box,
    size: tuple[int, int],
    *,
    angle_deg: float = 0.0,
    outside: Literal["black", "shift"] = "black",
    smooth: bool = True,
) -> Cut:
    """What a box shows, as ``size`` (width, height) pixels, smoothed where it shrinks.

    picture: uint8 (h, w, 3). ``angle_deg``: the box is turned clockwise about its centre first. ``outside``: what lies
    beyond the picture is black, or the box is shifted inside (and cut to the picture where it is larger). ``smooth``
    false: of four neighbours however much it shrinks, as OpenCV resizes and as some networks were taught.
    """
    if outside == "shift":
        box = _shifted(box, picture.shape[1], picture.shape[0])
    map_ = _to_picture(box, size, angle_deg)
    straight = angle_deg == 0 and smooth
    pixels = _straight(picture, box, size) if straight else _turned(picture, map_, size, smooth)
    return Cut(pixels, map_)


def aligned(picture: Pixels, points: Floats, template: Floats, size: int) -> Cut:
    """The square of ``size`` pixels in which the points (k, 2) of the picture come closest to the template (k, 2).

    By turning, scaling and shifting; points are centres of pixels on both sides, in the same order.
    """
    turn, shift = fit(plane(template + 0.5), plane(points[None] + 0.5))
    centre = complex(turn[0]) * complex(size / 2, size / 2) + complex(shift[0])
    side = abs(complex(turn[0])) * size
    angle = math.degrees(math.atan2(turn[0].imag, turn[0].real))
    return cut(picture, around((centre.real, centre.imag), side, side), (size, size), angle_deg=angle or 1e-9)


def _shifted(box: Box, width: int, height: int) -> Box:
    across, down = min(box.width, width), min(box.height, height)
    left = min(max(box.centre[0] - across / 2, 0), width - across)
    top = min(max(box.centre[1] - down / 2, 0), height - down)
    return Box(left, top, left + across, top + down)


def _to_picture(box: Box, size: tuple[int, int], angle_deg: float) -> NDArray[np.float64]:
    """(2, 3): from edges of the cut, in its pixels, to edges of the picture."""
    sine, cosine = math.sin(math.radians(angle_deg)), math.cos(math.radians(angle_deg))
    turn = np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([box.width / size[0], box.height / size[1]])
    shift = np.array(box.centre) - turn @ np.array(size) / 2
    return np.column_stack([turn, shift])


def _straight(picture: Pixels, box: Box, size: tuple[int, int]) -> Pixels:
    """Only the pixels the box touches are looked at."""
    left, top = math.floor(box.left), math.floor(box.top)
    part = _part(picture, left, top, max(math.ceil(box.right) - left, 1), max(math.ceil(box.bottom) - top, 1))
    edges = (box.left - left, box.top - top, box.right - left, box.bottom - top)
    return np.asarray(Image.fromarray(part).resize(size, Image.Resampling.BILINEAR, box=edges, reducing_gap=3.0))


def _turned(picture: Pixels, to_picture: NDArray[np.float64], size: tuple[int, int], smooth: bool) -> Pixels:
    corners = np.array([[0, 0], [size[0], 0], [0, size[1]], size]) @ to_picture[:, :2].T + to_picture[:, 2]
    left, top = np.floor(corners.min(0)).astype(int) - 1
    right, bottom = np.ceil(corners.max(0)).astype(int) + 1
    shrink = max(int(np.linalg.norm(to_picture[:, 0])), 1) if smooth else 1
    part = Image.fromarray(_part(picture, int(left), int(top), int(right - left), int(bottom - top)))
    moved = to_picture.copy()
    moved[:, 2] -= (left, top)
    # Averaged first where it shrinks to less than half: the transformation looks at four neighbours only.
    reduced = part.reduce(shrink) if shrink > 1 else part
    coefficients = tuple((moved / shrink).ravel())
    return np.asarray(reduced.transform(size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR))


def _part(picture: Pixels, left: int, top: int, width: int, height: int) -> Pixels:
    """A rectangle of a picture; what lies beyond is black."""
    found = picture[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    if found.shape[:2] == (height, width):
        return np.ascontiguousarray(found)
    part = np.zeros((height, width, 3), np.uint8)
    part[max(-top, 0) :, max(-left, 0) :][: found.shape[0], : found.shape[1]] = found
    return part
