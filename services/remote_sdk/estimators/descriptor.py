"""Descriptors of faces: dlib's network, and networks in the manner of ArcFace."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.engines.port import Array
from services.remote_sdk.models.manifest import BadManifest, DescriptorVersion
from services.remote_sdk.networks.frames import Frame, stacked
from services.remote_sdk.networks.resnet import FaceDescriber
from services.remote_sdk.stages.crops import Pixels
from services.remote_sdk.stages.view import FaceView

Vector = NDArray[np.float32]

_LEAST = 1e-9


class Describer(Protocol):
    """Describes faces for recognition. Holds only networks: any number of threads may call it at once.

    ``version``: of its descriptors, registered in ``libs/common/descriptors.py``.
    """

    version: int

    def crop(self, seen: FaceView) -> Any:
        """See :class:`services.remote_sdk.estimators.port.Estimator`."""
        ...

    def run(self, crops: list[Any]) -> list[Vector]:
        """The descriptors, float32 (length,), of crops of several faces, pictures and callers, in order."""
        ...


class DlibDescriptor:
    def __init__(self, version: int, network: FaceDescriber) -> None:
        self.version = version
        self._network = network

    def crop(self, seen: FaceView) -> Frame:
        return seen.chip

    def run(self, crops: list[Frame]) -> list[Vector]:
        return list(self._network.describe(stacked(crops, self._network.precision.device)))


class ArcFace:
    """A network on faces aligned by five points; the manifest's ``descriptor`` says what comes out."""

    def __init__(self, model: Loaded) -> None:
        """Raises BadManifest when the manifest has no ``descriptor``, or its input is no square."""
        described = model.manifest.descriptor
        self._net = model.net
        self._size, height = self._net.size
        if described is None or self._size != height:
            raise BadManifest(f"model {model.manifest.name}: kind arcface needs a [descriptor] and a square input")
        self._described = described
        self._output = next(iter(self._net.described.outputs))
        self.version = described.version

    def crop(self, seen: FaceView) -> Pixels:
        return seen.arcface(self._size).pixels

    def run(self, crops: list[Pixels]) -> list[Vector]:
        return vectors_in(self._net.see(crops)[self._output].reshape(len(crops), -1), self._described)


def vectors_in(output: Array, described: DescriptorVersion) -> list[Vector]:
    """The descriptors, float32 (values,), in a network's output (n, values), of length 1 where their version has it so.

    Raises BadManifest when they have another number of values than their version.
    """
    if (values := output.shape[1]) != described.length:
        raise BadManifest(f"the network gives {values} values, its manifest says {described.length}")
    if described.unit:
        output = output / np.maximum(np.linalg.norm(output, axis=1, keepdims=True), _LEAST)
    return list(output.astype(np.float32))
