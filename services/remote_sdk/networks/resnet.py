"""dlib's face descriptor: ResNet-29, 128 numbers per face chip of 150x150 pixels."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from services.remote_sdk.models.files import ModelFile
from services.remote_sdk.models.library import builtin
from services.remote_sdk.networks.convolution import folded, module, on_pixels
from services.remote_sdk.networks.dlib_format import (
    AddPrevious,
    Convolution,
    FormatError,
    FullyConnected,
    Layer,
    Pool,
    read_network,
)
from services.remote_sdk.networks.frames import Frame, in_memory, on_device
from services.remote_sdk.networks.precision import Precision, choose

CHIP_SIZE = 150
DESCRIPTOR_SIZE = 128
# Speed per face is flat from 16 chips on a CPU core (bench/inference.py); more only takes memory.
_CPU_BATCH = 32
_CUDA_BATCH = 256


Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
Adopt = Callable[[nn.Module, NDArray[np.uint8]], Run | None]
"""Has another engine run a network, of which it gets an example of the input; None where none does."""


class FaceDescriber:
    """Describes aligned faces. Holds only weights: any number of threads may call it at once."""

    def __init__(
        self, precision: Precision | None = None, file: ModelFile | None = None, *, adopt: Adopt = lambda *_: None
    ) -> None:
        """Read the network; 0.1 s, and what ``adopt`` takes.

        Raises ModelMissing, ModelCorrupt, or FormatError when the file holds another network.
        """
        self.precision = precision or choose()
        self.file = file or builtin("dlib-resnet")
        network = read_network(self.file.read())
        self.network = Describing(folded(network.layers), network.mean, self.precision)
        self._adopted = adopt(self.network, np.zeros((2, CHIP_SIZE, CHIP_SIZE, 3), np.uint8))
        self._batch = _CUDA_BATCH if self.precision.device.type == "cuda" else _CPU_BATCH

    @torch.inference_mode()
    def describe(self, chips: Frame) -> NDArray[np.float32]:
        """Descriptors of face chips.

        chips: uint8 (n, 150, 150, 3), RGB, an array or a tensor, cut as `chip.face_chips` cuts them; n may be 0.
        Returns float32 (n, 128) as dlib gives them: norm 1.3 to 1.5, compared by Euclidean distance, one person below
        0.6. At fp32 within 1e-5 of dlib; bf16 moves a descriptor by 0.009 on average, at most 0.016 seen.

        Raises ValueError for another shape or dtype.
        """
        images = (
            torch.from_numpy(np.require(chips, requirements=["C", "W"])) if isinstance(chips, np.ndarray) else chips
        )
        if images.dtype != torch.uint8 or images.shape[1:] != (CHIP_SIZE, CHIP_SIZE, 3):
            raise ValueError(f"chips are uint8 (n, 150, 150, 3), not {images.dtype} {tuple(images.shape)}")
        if len(images) == 0:
            return np.empty((0, DESCRIPTOR_SIZE), np.float32)
        batches = images.split(self._batch)
        if self._adopted:
            return np.concatenate([self._adopted(in_memory(batch)) for batch in batches])
        # Copied down together: a GPU has the next batch before it is done with one.
        return torch.cat([self.network(on_device(batch, self.precision.device)) for batch in batches]).cpu().numpy()


class Describing(nn.Module):
    """The whole network, from chips to descriptors."""

    def __init__(self, layers: list[Layer], mean: tuple[float, float, float], precision: Precision) -> None:
        super().__init__()
        self.body, self.head = _build(layers, mean, precision)
        self._dtype = precision.dtype

    def forward(self, chips: Tensor) -> Tensor:
        # (n, y, x, c) seen as (n, c, y, x) is channels last already: no copy but the change of type.
        features = self.body(chips.permute(0, 3, 1, 2).to(self._dtype)).float().mean((2, 3))
        return features @ self.head


class Block(nn.Module):
    """Two convolutions and a shortcut; when the first halves the map, so does the shortcut, by averaging."""

    def __init__(self, first: nn.Conv2d, second: nn.Conv2d, *, halves: bool) -> None:
        super().__init__()
        self.first = first
        self.second = second
        self.halves = halves

    def forward(self, maps: Tensor) -> Tensor:
        added = self.second(self.first(maps).relu_())
        if not self.halves:
            return added.add_(maps).relu_()
        return _sum_padded(added, F.avg_pool2d(maps, 2, 2)).relu_()


def _sum_padded(added: Tensor, shortcut: Tensor) -> Tensor:
    """dlib adds maps of unequal size by taking what one of them lacks, pixels or channels, as zero."""
    channels, rows, columns = (max(added.shape[axis], shortcut.shape[axis]) for axis in (1, 2, 3))
    lacking = (0, columns - added.shape[3], 0, rows - added.shape[2], 0, channels - added.shape[1])
    missing = (0, columns - shortcut.shape[3], 0, rows - shortcut.shape[2], 0, channels - shortcut.shape[1])
    return F.pad(added, lacking).add_(F.pad(shortcut, missing))


def _build(layers: list[Layer], mean: tuple[float, float, float], precision: Precision) -> tuple[nn.Sequential, Tensor]:
    """The convolutional body, and the matrix (256, 128) that turns averaged maps into descriptors."""
    stem, _, pool, *blocks, average, head = layers
    if not (isinstance(stem, Convolution) and isinstance(pool, Pool) and isinstance(head, FullyConnected)):
        raise FormatError("the network does not begin with convolution and pooling or end with a matrix")
    if pool != Pool("max", (3, 3), (2, 2), (0, 0)) or average != Pool("average", (0, 0), (1, 1), (0, 0)):
        raise FormatError(f"pooling {pool} and {average} is not that of the face descriptor")
    body = nn.Sequential(module(on_pixels(stem, mean), precision), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2))
    body.extend(_blocks(blocks, precision))
    return body.eval(), torch.from_numpy(head.weight).to(precision.device)


def _blocks(layers: list[Layer], precision: Precision) -> list[Block]:
    """Cut the list after every addition: convolution, relu, convolution, [average pooling,] addition, relu."""
    blocks, convolutions, halves = [], [], False
    for layer in layers:
        match layer:
            case Convolution():
                convolutions.append(module(layer, precision))
            case Pool("average", (2, 2), (2, 2), (0, 0)):
                halves = True
            case AddPrevious():
                first, second = convolutions
                blocks.append(Block(first, second, halves=halves))
                convolutions, halves = [], False
            case Pool() | FullyConnected():
                raise FormatError(f"{layer} within a residual block")
    return blocks
