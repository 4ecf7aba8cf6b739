"""The tiled image pyramid: an image in ever smaller sizes, packed into one canvas.

Layout, mapping and rounding are those of dlib (`image_pyramid.h`, `input_rgb_image_pyramid`), since they decide which
box comes out to the pixel.
"""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

_PADDING, _OUTER_PADDING, _LOWEST_LEVEL = 10, 11, 5  # pixels; dlib's defaults
_LEVEL_SHIFT = 0.3  # dlib's offset of a point per level, in pixels


class Tile(NamedTuple):
    """The place of one level on the canvas, in pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Canvas:
    """height, width: pixels of the canvas; tiles: the levels, the full image first; growth: a level over the next."""

    height: int
    width: int
    tiles: tuple[Tile, ...]
    growth: float

    def paint(self, image: Tensor, dtype: torch.dtype) -> Tensor:
        """The canvas (n, 3, height, width), channels last, zero between the tiles.

        image: float32 (n, 3, h, w) of the size of the first tile. Every level is made from the one before.
        """
        canvas = torch.zeros(len(image), self.height, self.width, 3, dtype=dtype, device=image.device)
        canvas = canvas.permute(0, 3, 1, 2)
        level = image
        for left, top, width, height in self.tiles:
            if level.shape[2:] != (height, width):
                level = F.interpolate(level, (height, width), mode="bilinear", align_corners=True)
            canvas[:, :, top : top + height, left : left + width] = level
        return canvas

    def in_image(self, centres: Tensor, width: int, height: int) -> Tensor:
        """Windows of the canvas in pixels of the image.

        centres: int64 (n, 2), x and y of canvas pixels; a window belongs to the tile nearest to its centre.
        Returns float64 (n, 4), left, top, right, bottom, whole numbers: first and last pixel of the box.
        """
        tiles = torch.tensor(self.tiles, device=centres.device)
        level = _nearest(tiles, centres)
        half = torch.tensor([width - 1, height - 1], dtype=torch.float64, device=centres.device) / 2
        inside = (centres - tiles[level, :2]).double()
        boxes = torch.cat([inside - half, inside + half], 1)
        for step in range(len(self.tiles) - 1):
            boxes = torch.where((level > step)[:, None], boxes * self.growth + _LEVEL_SHIFT, boxes)
        # Half away from zero, as C's lround; torch rounds half to even.
        return torch.copysign((boxes.abs() + 0.5).floor(), boxes)


def _nearest(tiles: Tensor, centres: Tensor) -> Tensor:
    """The number of the tile, (n,), that is nearest to each centre."""
    first, last = tiles[:, None, :2], tiles[:, None, :2] + tiles[:, None, 2:] - 1
    outside = torch.maximum(first - centres, centres - last).clamp_min(0)
    return (outside**2).sum(-1).argmin(0)


@functools.lru_cache(maxsize=256)
def layout(height: int, width: int, ratio: float) -> Canvas:
    """The canvas for an image: levels one below the other on the left, the smallest back up along the right edge.

    height, width: pixels, at least 1; ratio: size of a level over the one before, 0 < ratio < 1, else ValueError.
    """
    if not 0 < ratio < 1:
        raise ValueError(f"the ratio of pyramid levels lies between 0 and 1: {ratio}")
    sizes = list(_sizes(height, width, ratio))
    column = _first_column(sizes)
    tiles = list(_downwards(sizes[:column]))
    bottom = tiles[-1].top + tiles[-1].height
    tiles += _upwards(sizes[column:], _OUTER_PADDING + width, bottom, _OUTER_PADDING + height)
    # A fraction gives dlib's 6/5 exactly; 1 / (5/6) might differ in the last bit and round a box the other way.
    exact = Fraction(ratio).limit_denominator(1000)
    growth = exact.denominator / exact.numerator
    return Canvas(bottom + _OUTER_PADDING, width + 2 * _OUTER_PADDING, tuple(tiles), growth)


def _sizes(height: int, width: int, ratio: float) -> Iterator[tuple[int, int]]:
    yield height, width
    while (width := math.floor(ratio * width)) and (height := math.floor(ratio * height)) >= _LOWEST_LEVEL:
        yield height, width


def _first_column(sizes: list[tuple[int, int]]) -> int:
    """How many levels go down: until half of the smaller ones' height is placed and the next fits beside the last."""
    full_height, full_width = sizes[0]
    total = sum(rows + _PADDING for rows, _ in sizes) - 2 * _PADDING
    height = before = 0
    for index, (rows, columns) in enumerate(sizes):
        if columns <= full_width - before - _PADDING and 2 * (height - full_height) >= total - full_height:
            return index
        height += rows + _PADDING
        before = columns
    return len(sizes)


def _downwards(sizes: list[tuple[int, int]]) -> Iterator[Tile]:
    top = _OUTER_PADDING
    for rows, columns in sizes:
        yield Tile(_OUTER_PADDING, top, columns, rows)
        top += rows + _PADDING


def _upwards(sizes: list[tuple[int, int]], right: int, bottom: int, ceiling: int) -> Iterator[Tile]:
    for rows, columns in sizes:
        tile = Tile(right - columns, bottom - rows, columns, rows)
        if tile.top < ceiling:  # would lie on the full image
            return
        yield tile
        bottom = tile.top - _PADDING
