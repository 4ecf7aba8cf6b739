"""Aligned face chips: turned upright, scaled and cut out, as dlib cuts them (`interpolation.h`).

The trap is half a pixel. dlib fits the similarity T from template to image, takes the centre T(size/2, size/2) and
the side L = size * |T|, and lays chip pixels 0..size-1 over a rectangle whose first and last pixels are L - 1 apart.
A plain T moves descriptors by 0.068 on average.
"""

from collections.abc import Sequence
from typing import NamedTuple, overload

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from services.remote_sdk.networks.frames import Frame
from services.remote_sdk.networks.similarity import Complex, fit, plane

# Mean positions of the five points in the unit square of a face (dlib, `get_face_chip_details`).
_TEMPLATE = np.array(
    [
        [0.8595674595992, 0.2134981538014],
        [0.6460604764104, 0.2289674387677],
        [0.1205750620789, 0.2137274526848],
        [0.3340850613712, 0.2290642403242],
        [0.4901123135679, 0.6277975316475],
    ]
)
_TAPS = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0])
_BINOMIAL = torch.outer(_TAPS, _TAPS).expand(3, 1, 5, 5).contiguous()  # sums to 256
_HALVED_SHIFT = 1.25 + 0.75j  # dlib's place of the first pixel of a halved image (its kernel would say 1 + 1j)
_TOO_SMALL = 8  # pixels; dlib halves no smaller image
_AT_ONCE = 32  # chips: those of 150 pixels take some 3 MB each while they are cut on a device


def template(size: int = 150, padding: float = 0.25) -> NDArray[np.float64]:
    """Where the five points of a face lie in its chip, (5, 2), in pixels, in the order of Landmarks5.

    size: pixels of the square chip; padding: added on every side, as part of the face's own size.
    """
    return (padding + _TEMPLATE) / (2 * padding + 1) * size


@overload
def face_chips(
    image: NDArray[np.uint8], landmarks: NDArray[np.floating], size: int = 150, padding: float = 0.25
) -> NDArray[np.uint8]: ...
@overload
def face_chips(image: Frame, landmarks: NDArray[np.floating], size: int = 150, padding: float = 0.25) -> Frame: ...
def face_chips(image: Frame, landmarks: NDArray[np.floating], size: int = 150, padding: float = 0.25) -> Frame:
    """Chips of the faces of one image, uint8 (n, size, size, 3), where the image is: an array or a tensor.

    image: uint8 (h, w, 3), RGB; landmarks: (n, 5, 2), x and y in pixels, in the order of Landmarks5; size and
    padding: see `template`. What lies outside the image is black.
    """
    squares = [_Square(*square) for square in zip(*_squares(landmarks, size, padding), strict=True)]
    if isinstance(image, Tensor):
        return _cut_on_device(image, squares, size)
    frame = torch.from_numpy(np.require(image, requirements="W"))
    chips = torch.zeros(len(squares), size, size, 3, dtype=torch.uint8)
    for chip, square in zip(chips, squares, strict=True):
        chip[:] = _cut(frame, square, size)
    return chips.numpy()


class _Square(NamedTuple):
    """What a chip shows: centre in pixels of the image, side in pixels, direction of its rows (length 1)."""

    centre: complex
    side: float
    unit: complex

    def points(self, steps: NDArray[np.float64]) -> Complex:
        """Points of the image, (k, k); steps: (k,) along rows and columns, -0.5 the first pixel, 0.5 the last."""
        return self.centre + self.unit * (self.side - 1) * (steps[None, :] + 1j * steps[:, None])


def _squares(
    landmarks: NDArray[np.floating], size: int, padding: float
) -> tuple[Complex, NDArray[np.float64], Complex]:
    """Centres, sides and directions (n,), see _Square."""
    turn, shift = fit(plane(template(size, padding)), plane(landmarks))
    scale = np.abs(turn)
    return turn * (1 + 1j) * size / 2 + shift, scale * size, turn / scale


def _cut(frame: Tensor, square: _Square, size: int) -> Tensor:
    """One chip, colours (size, size, 3)."""
    pixels, square = _halved(frame, square, size)
    return _sampled(pixels, square.points(np.linspace(-0.5, 0.5, size)))


def _cut_on_device(frame: Tensor, squares: Sequence[_Square], size: int) -> Tensor:
    """Chips, uint8 (n, size, size, 3). All but those of large faces are cut together: a GPU takes longer to be told of
    one than to cut it."""
    chips = torch.zeros(len(squares), size, size, 3, dtype=torch.uint8, device=frame.device)
    small = [number for number, square in enumerate(squares) if not _halvings(square, size)]
    for start in range(0, len(small), _AT_ONCE):
        some = small[start : start + _AT_ONCE]
        chips[some] = _looked_up(frame, [squares[number] for number in some], size)
    for number in set(range(len(squares))).difference(small):
        pixels, square = _halved(frame, squares[number], size)
        chips[number] = _looked_up(pixels[0].permute(1, 2, 0), [square], size)[0]
    return chips


def _halvings(square: _Square, size: int) -> int:
    """How often a picture is halved until the chip shrinks it less than twice."""
    count, side = 0, square.side
    while (side := (side + 1) / 2) > size:
        count += 1
    return count


def _halved(frame: Tensor, square: _Square, size: int) -> tuple[Tensor, _Square]:
    """The pixels that a chip is cut from, float32 (1, 3, h, w), and its square there; none of a picture too small."""
    levels = _halvings(square, size)
    corner, pixels = _surroundings(frame, square, 4 * 2**levels - 2)  # 2 pixels when it has been halved
    square = square._replace(centre=square.centre - corner)
    for _ in range(levels):
        if min(pixels.shape[2:]) <= _TOO_SMALL:
            return pixels[:, :, :0, :0], square
        pixels = (F.conv2d(pixels, _BINOMIAL.to(pixels.device), stride=2, groups=3) / 256).floor_()
        square = _Square(square.centre / 2 - _HALVED_SHIFT, (square.side + 1) / 2, square.unit)
    return pixels, square


def _surroundings(frame: Tensor, square: _Square, margin: int) -> tuple[complex, Tensor]:
    """The part of the image that the square and its margin touch: its corner, and float32 (1, 3, h, w).

    Channels last: at 1500 pixels the halving takes 7 ms so, and 70 ms otherwise.
    """
    corners = square.points(np.array([-0.5, 0.5])).ravel()
    first = np.array([corners.real.min(), corners.imag.min()]) - margin
    last = np.array([corners.real.max(), corners.imag.max()]) + margin
    left, top = np.maximum(np.floor(first + 0.5), 0).astype(int).tolist()
    right, bottom = np.maximum(np.floor(last + 1.5), 0).astype(int).tolist()
    crop = frame[top:bottom, left:right].to(torch.float32, memory_format=torch.contiguous_format)
    return complex(left, top), crop[None].permute(0, 3, 1, 2)


def _sampled(pixels: Tensor, points: Complex) -> Tensor:
    """Colours (k, k, 3) of pixels (1, 3, h, w) at points (k, k), bilinear, black outside; their whole parts count."""
    height, width = pixels.shape[2:]
    if min(height, width) < 2:
        return torch.zeros(*points.shape, 3)
    x, y = points.real, points.imag
    inside = (x >= 0) & (x < width - 1) & (y >= 0) & (y < height - 1)
    grid = np.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], axis=-1).astype(np.float32)
    places = torch.from_numpy(grid).to(pixels.device)
    colours = F.grid_sample(pixels, places[None], align_corners=True)[0].permute(1, 2, 0)
    return colours if inside.all() else colours * torch.from_numpy(inside[..., None]).to(pixels.device)


def _looked_up(pixels: Tensor, squares: Sequence[_Square], size: int) -> Tensor:
    """What :func:`_sampled` gives for several squares of pixels (h, w, 3): uint8 (n, size, size, 3), on their device.

    The four neighbours of every point are picked out: `grid_sample` would have one picture per chip, and on a GPU is
    cuDNN's, of which nothing says that it takes channels that come last.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < 2:
        return torch.zeros(len(squares), size, size, 3, dtype=torch.uint8, device=pixels.device)
    rows = [(square.centre, square.unit * (square.side - 1)) for square in squares]
    numbers = np.array(rows).view(np.float64)  # in float64: in float32 a place in a large picture is off by 0.001
    x, y, along, aside = torch.from_numpy(numbers).to(pixels.device).T[:, :, None, None]
    step = torch.linspace(-0.5, 0.5, size, dtype=torch.float64, device=pixels.device)
    x, y = x + along * step - aside * step[:, None], y + aside * step + along * step[:, None]
    left, top = x.floor(), y.floor()
    inside = (left >= 0) & (left < width - 1) & (top >= 0) & (top < height - 1)
    first = torch.where(inside, top * width + left, 0).long()
    colours = pixels.reshape(-1, 3)
    across, down = ((place - whole).float()[..., None] for place, whole in ((x, left), (y, top)))
    upper = torch.lerp(colours[first].float(), colours[first + 1].float(), across)
    lower = torch.lerp(colours[first + width].float(), colours[first + width + 1].float(), across)
    return (torch.lerp(upper, lower, down) * inside[..., None]).byte()
