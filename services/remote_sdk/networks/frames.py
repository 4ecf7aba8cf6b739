"""Pictures where they are computed on: arrays in main memory, tensors on a GPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

Pixels = NDArray[np.uint8]

_SHRINKS = 32
"""Times that CUDA makes a picture smaller at once: the weights of a block's pixels have to fit 48 KB, which holds those
of some 90 times."""

Frame = Pixels | Tensor
"""A picture, uint8 (h, w, 3), RGB: an array, or a tensor on the device whose networks look at it."""


def on_device(frame: Frame, device: torch.device) -> Tensor:
    """The frame as a tensor on the device; uploaded once, from pages that the device itself can read."""
    if isinstance(frame, Tensor):
        return frame.to(device)
    tensor = torch.from_numpy(np.require(frame, requirements=["C", "W"]))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def stacked(frames: Sequence[Frame], device: torch.device) -> Frame:
    """Frames of one size as one array, (n, h, w, 3); as a tensor on the device where one of them is a tensor."""
    arrays = [frame for frame in frames if not isinstance(frame, Tensor)]
    if len(arrays) == len(frames):
        return np.stack(arrays)
    return torch.stack([on_device(frame, device) for frame in frames])


def in_memory(frame: Frame) -> Pixels:
    """The frame as an array; what is on a GPU is copied down when all that computes it there has ended."""
    return frame.cpu().numpy() if isinstance(frame, Tensor) else frame


def resized(pixels: Tensor, height: int, width: int) -> Tensor:
    """uint8 (n, 3, h, w) to another size, uint8; smoothed first when it shrinks, so that patterns do not alias."""
    if pixels.shape[2:] == (height, width):
        return pixels
    if pixels.device.type == "cpu":
        return F.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
    return resized_by_cuda(pixels, height, width)


def resized_by_cuda(pixels: Tensor, height: int, width: int) -> Tensor:
    """As :func:`resized`. CUDA resizes no bytes, and what shrinks to less than a 32nd goes in several steps."""
    result = pixels.float()
    while result.shape[2:] != (height, width):
        step = [
            max(wanted, -(-side // _SHRINKS)) for side, wanted in zip(result.shape[2:], (height, width), strict=True)
        ]
        result = F.interpolate(result, step, mode="bilinear", antialias=True)
    return result.round_().byte()
