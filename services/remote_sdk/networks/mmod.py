"""dlib's MMOD face detector: a small convolutional net slid over a pyramid of the image.

With `long_side=None`, `pyramid=5/6` and fp32 the boxes are dlib's own and the scores within 1e-5 of dlib's.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from services.remote_sdk.models.files import ModelFile
from services.remote_sdk.models.library import builtin
from services.remote_sdk.networks.convolution import folded, module
from services.remote_sdk.networks.dlib_format import Convolution, FormatError, MmodOptions, read_network
from services.remote_sdk.networks.frames import Frame, on_device, resized, stacked
from services.remote_sdk.networks.precision import Precision, choose
from services.remote_sdk.networks.pyramid import Canvas, layout
from services.remote_sdk.networks.suppression import strongest

# Together: 43 of 43 faces of dlib's set, 40 of 42 of CompreFace's, no false one (test_networks.py).
LONG_SIDE = 1600
PYRAMID = 2 / 3
# The window is 80 px: at 4 times the size it finds a face of 20 px; nobody can be told from a smaller one.
LARGEST_UPSCALE = 4
LOWEST_THRESHOLD = -1.0  # at -2 a photo without people has thousands of boxes
# In one forward pass, of the pictures or of their canvases: at fp32 a pixel of canvas takes some 40 bytes. A GPU takes
# eight canvases of 1080p at once, since it waits for the launches of a pass.
_CPU_PIXELS, _CUDA_PIXELS = 8_000_000, 32_000_000


@dataclass(frozen=True)
class Face:
    """A detected face: its first and last columns and rows in pixels of the image given, and the detector's score.

    Edges are centres of pixels and belong to the box, as in dlib: its width is right - left + 1. A box may reach beyond
    the image. score: from the threshold up to about 1.2.
    """

    left: float
    top: float
    right: float
    bottom: float
    score: float


class FaceDetector:
    """Finds faces. Holds only weights: any number of threads may call it at once."""

    def __init__(self, precision: Precision | None = None, file: ModelFile | None = None) -> None:
        """Read the network; 20 ms.

        Raises ModelMissing, ModelCorrupt, or FormatError when the file holds another network.
        """
        self.precision = precision or choose()
        self.file = file or builtin("dlib-mmod")
        network = read_network(self.file.read())
        if network.options is None or len(network.options.windows) != 1:
            raise FormatError("a face detector has MMOD options with one window")
        convolutions = [layer for layer in folded(network.layers) if isinstance(layer, Convolution)]
        self._options = network.options
        self._grid = _grid(convolutions)
        self._mean = torch.tensor(network.mean, device=self.precision.device).view(1, 3, 1, 1)
        by_gpu = self.precision.device.type == "cuda"
        self._pixels = _CUDA_PIXELS if by_gpu else _CPU_PIXELS
        self._net = _build(_in_eights(convolutions) if by_gpu else convolutions, self.precision)

    @torch.inference_mode()
    def detect(
        self,
        images: Sequence[Frame],
        long_side: int | None = LONG_SIDE,
        pyramid: float = PYRAMID,
        threshold: float = 0.0,
    ) -> list[list[Face]]:
        """Faces of every image, best first.

        images: uint8 (h, w, 3), RGB, any sizes, arrays or tensors; those of one shape go through the net together.
        long_side: pixels the longer side is scaled to before the search (at most 4 times larger), None: as it is. Faces
        of at least 80 px after scaling are found. pyramid: ratio of neighbouring levels, 0 < pyramid < 1; dlib has 5/6.
        threshold: lowest score, at least -1; below 0 come hardly more faces and soon false ones.

        An image too small for the net has no faces. Raises ValueError for another shape, dtype or threshold.
        """
        if threshold < LOWEST_THRESHOLD:
            raise ValueError(f"threshold {threshold} is below {LOWEST_THRESHOLD}, where everything is a face")
        faces: list[list[Face]] = [[] for _ in images]
        for shape, members in _by_shape(images).items():
            canvas = layout(*_scaled(shape, long_side), pyramid)
            step = max(1, self._pixels // max(canvas.height * canvas.width, math.prod(shape)))
            for batch in (members[start : start + step] for start in range(0, len(members), step)):
                found = self._search([images[index] for index in batch], canvas, threshold)
                for index, (boxes, scores) in zip(batch, found, strict=True):
                    faces[index] = _faces(boxes, scores, shape, canvas)
        return faces

    def _search(self, images: Sequence[Frame], canvas: Canvas, threshold: float) -> list["_Found"]:
        if min(canvas.height, canvas.width) < self._grid.reach:
            return [_Found(np.empty((0, 4)), np.empty(0))] * len(images)
        return self._found(self.scores(images, canvas), canvas, threshold)

    def scores(self, images: Sequence[Frame], canvas: Canvas) -> Tensor:
        """The map of scores, float32 (n, rows, columns), of images of one shape laid out on the canvas."""
        device = self.precision.device
        pixels = on_device(stacked(images, device), device).permute(0, 3, 1, 2)
        tile = canvas.tiles[0]
        first = resized(pixels, tile.height, tile.width).float().sub_(self._mean)
        return self._net(canvas.paint(first, self.precision.dtype))[:, 0].float()

    def _found(self, scores: Tensor, canvas: Canvas, threshold: float) -> list["_Found"]:
        """The boxes of every picture, from their maps of scores (n, rows, columns); they leave the device together."""
        cells = torch.nonzero(scores > threshold)  # (boxes, 3): picture, row, column
        picture, rows, columns = cells.unbind(1)
        own, order = scores[picture, rows, columns].sort(descending=True, stable=True)
        centres = self._grid.origin + self._grid.stride * torch.stack([columns, rows], 1)[order]
        window = self._options.windows[0]
        boxes = canvas.in_image(centres, window.width, window.height)
        found = torch.cat([picture[order, None], boxes, own[:, None]], 1)  # as float64: whole numbers stay exact
        kept = strongest(found, partial(_same_face, options=self._options))
        rows_of = found[kept].cpu().numpy()
        return [_Found(each[:, 1:5], each[:, 5]) for each in (rows_of[rows_of[:, 0] == n] for n in range(len(scores)))]


class _Found(NamedTuple):
    """boxes: float64 (n, 4) in pixels of the first level; scores: (n,), falling."""

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]


class _Grid(NamedTuple):
    """Where the net's outputs lie: output i is centred on pixel origin + stride * i; reach: smallest canvas side."""

    origin: int
    stride: int
    reach: int


def _grid(convolutions: list[Convolution]) -> _Grid:
    origin, stride, reach = 0, 1, 1
    for layer in reversed(convolutions):
        size, step, padding = layer.weight.shape[2], layer.stride[0], layer.padding[0]
        origin, stride = origin * step - padding + size // 2, stride * step
        reach = max((reach - 1) * step + size - 2 * padding, 1)
    return _Grid(origin, stride, reach)


def _in_eights(convolutions: list[Convolution]) -> list[Convolution]:
    """The same net, 45 channels of which are 48, the last of them zero: tensor cores take eight at a time."""
    result, added = [], 0
    for layer in convolutions[:-1]:
        before, added = added, -len(layer.bias) % 8
        weight = np.pad(layer.weight, ((0, added), (0, before), (0, 0), (0, 0)))
        result.append(layer._replace(weight=weight, bias=np.pad(layer.bias, (0, added))))
    last = convolutions[-1]
    return [*result, last._replace(weight=np.pad(last.weight, ((0, 0), (0, added), (0, 0), (0, 0))))]


def _build(convolutions: list[Convolution], precision: Precision) -> nn.Sequential:
    """The net for RGB - mean; the division by 256 goes into the first weights."""
    first, *others, last = convolutions
    scaled = [first._replace(weight=first.weight / np.float32(256)), *others]
    shrinking = [layer for layer in scaled if layer.padding == (0, 0)]
    keeping = scaled[len(shrinking) :]
    return nn.Sequential(
        _Strips(_chain(shrinking, precision), _grid(shrinking)),
        *_chain(keeping, precision),
        _Scores(last, precision),
    ).eval()


def _chain(convolutions: list[Convolution], precision: Precision) -> nn.Sequential:
    layers = (layer for part in convolutions for layer in (module(part, precision), nn.ReLU(inplace=True)))
    return nn.Sequential(*layers)


class _Strips(nn.Module):
    """Unpadded convolutions, computed in strips of rows on a CPU, to the same result.

    A whole canvas makes maps of 100 MB, whose fresh pages cost more than the arithmetic; a strip stays in the cache
    (1080p, one thread: 161 against 252 ms; strips of 16 to 128 rows: 175 to 205).
    """

    _ROWS = 64

    def __init__(self, chain: nn.Sequential, grid: _Grid) -> None:
        super().__init__()
        self.chain = chain
        self.grid = grid

    def forward(self, canvas: Tensor) -> Tensor:
        if canvas.device.type != "cpu":
            return self.chain(canvas)
        rows = (canvas.shape[2] - self.grid.reach) // self.grid.stride + 1
        strips = (self._strip(canvas, top, min(top + self._ROWS, rows)) for top in range(0, rows, self._ROWS))
        return torch.cat(list(strips), dim=2)

    def _strip(self, canvas: Tensor, top: int, bottom: int) -> Tensor:
        """Output rows top to bottom - 1."""
        end = self.grid.stride * (bottom - 1) + self.grid.reach
        return self.chain(canvas[:, :, self.grid.stride * top : end])


class _Scores(nn.Module):
    """A convolution with one output channel, computed for 4x4 neighbouring outputs at once.

    Kernels for CPU and GPU compute 16 channels in the time of one. A kernel of (k + 3) x (k + 3) moved by 4 pixels,
    with 16 output channels that each hold the k x k kernel at another offset, takes a ninth of the time.
    """

    _SIDE = 4

    def __init__(self, layer: Convolution, precision: Precision) -> None:
        super().__init__()
        _, inputs, rows, columns = layer.weight.shape
        side = self._SIDE
        weight = np.zeros((side, side, inputs, rows + side - 1, columns + side - 1), np.float32)
        for y, x in np.ndindex(side, side):
            weight[y, x, :, y : y + rows, x : x + columns] = layer.weight[0]
        weight = weight.reshape(side * side, *weight.shape[2:])
        many = Convolution(weight, np.repeat(layer.bias, side * side), (side, side), (0, 0))
        self.padding = layer.padding[0]
        self.convolution = module(many, precision)

    def forward(self, maps: Tensor) -> Tensor:
        rows, columns = maps.shape[2:]
        right, bottom = -columns % self._SIDE, -rows % self._SIDE
        padded = F.pad(maps, (self.padding, self.padding + right, self.padding, self.padding + bottom))
        return F.pixel_shuffle(self.convolution(padded), self._SIDE)[:, :, :rows, :columns]


def _by_shape(images: Sequence[Frame]) -> dict[tuple[int, int], list[int]]:
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        if image.dtype not in (np.uint8, torch.uint8) or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"an image is uint8 (h, w, 3), not {image.dtype} {tuple(image.shape)}")
        if math.prod(image.shape):
            groups[image.shape[0], image.shape[1]].append(index)
    return groups


def _scaled(shape: tuple[int, int], long_side: int | None) -> tuple[int, int]:
    if long_side is None:
        return shape
    factor = min(long_side / max(shape), LARGEST_UPSCALE)
    return max(round(shape[0] * factor), 1), max(round(shape[1] * factor), 1)


def _faces(
    boxes: NDArray[np.float64], scores: NDArray[np.float64], shape: tuple[int, int], canvas: Canvas
) -> list[Face]:
    """From pixels of the scaled image to those of the given one; the centre of a pixel lies half a pixel inside."""
    scale = np.array([shape[1] / canvas.tiles[0].width, shape[0] / canvas.tiles[0].height] * 2)
    given = (boxes + 0.5) * scale - 0.5
    return [
        Face(left, top, right, bottom, score)
        for (left, top, right, bottom), score in zip(given.tolist(), scores.tolist(), strict=True)
    ]


def _same_face(some: Tensor, others: Tensor, options: MmodOptions) -> Tensor:
    """Whether boxes (n, 6) and (k, 6), rows of picture, box and score, are one face, (n, k).

    dlib divides their intersection by the rectangle around both, not by their union.
    """
    one, other = some[:, None], others[None]
    inner = _area(torch.maximum(one[..., 1:3], other[..., 1:3]), torch.minimum(one[..., 3:5], other[..., 3:5]))
    around = _area(torch.minimum(one[..., 1:3], other[..., 1:3]), torch.maximum(one[..., 3:5], other[..., 3:5]))
    smaller = torch.minimum(_area(one[..., 1:3], one[..., 3:5]), _area(other[..., 1:3], other[..., 3:5]))
    overlap = (inner > options.overlap * around) | (inner > options.covered * smaller)
    return overlap & (one[..., 0] == other[..., 0])


def _area(first: Tensor, last: Tensor) -> Tensor:
    """Pixels of rectangles from their first to their last corner (..., 2); 0 for a rectangle turned inside out."""
    return (last - first + 1).clamp_min(0).prod(-1)
