"""What runs networks: an engine opens a model's network, a network turns arrays into arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from services.remote_sdk.models.library import Model

Array = NDArray[Any]


class EngineMissing(Exception):
    """No engine on this machine runs files of this format, or the one asked for is not installed."""


@dataclass(frozen=True)
class Where:
    """Where networks really run. ``provider`` names the library and its version."""

    provider: str
    device: Literal["cpu", "cuda"]
    precision: Literal["fp32", "bf16"]


class Network(Protocol):
    """A network that is ready. Any number of threads may run it at once."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs by name, float32 (n, ...), of inputs (n, ...) by name; names are those of the manifest."""
        ...


class Engine(Protocol):
    """A library that runs networks."""

    @property
    def where(self) -> Where: ...

    def reads(self, file: str) -> bool:
        """Whether files of this name's format can be opened."""
        ...

    def load(self, model: Model, network: str) -> Network:
        """Open a network of a model; any batch size may be run afterwards.

        Raises ModelMissing, ModelCorrupt (the digest is checked first), BadManifest when the file does not have the
        inputs and outputs that the manifest names.
        """
        ...

    def adopt(self, network: nn.Module, example: Array) -> Callable[[Array], Array] | None:
        """What runs a network that torch defines, of one input and one output, for any number of items.

        ``example``: two of them. None where the engine does not know the network, or gives something else for the
        example than torch does.
        """
        ...


def float32(array: Array) -> Array:
    return np.asarray(array, np.float32)


class OneByOne:
    """A network that was written for one item, run for each of several."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        count = len(next(iter(inputs.values())))
        found = [self._network.run({name: array[at : at + 1] for name, array in inputs.items()}) for at in range(count)]
        return {name: np.concatenate([each[name] for each in found]) for name in found[0]}
