"""A network together with its description: pictures in, named arrays out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from services.remote_sdk.engines.port import Array, Engine, EngineMissing, Network, Where
from services.remote_sdk.models import manifest
from services.remote_sdk.models.library import Model
from services.remote_sdk.models.manifest import BadManifest, Manifest, Numbers, Picture
from services.remote_sdk.networks.frames import Pixels
from services.remote_sdk.stages.luma import luma_of

T = TypeVar("T")


class Net:
    """A network that is ready, and how its manifest says it is fed."""

    def __init__(self, network: Network, described: manifest.Network) -> None:
        self.network = network
        self.described = described

    def see(self, pictures: Sequence[Pixels]) -> dict[str, Array]:
        """The outputs for RGB pictures, uint8 (h, w, 3): float32 (n, ...) by name.

        Pictures are resized to the input's width and height; where it has none they all have one size. For networks
        with one input. Raises BadManifest for others.
        """
        name, picture = self.described.picture
        return self.network.run({name: prepared(pictures, picture)})

    def feed(self, inputs: Mapping[str, Sequence[Pixels] | Array]) -> dict[str, Array]:
        """As :meth:`see` for networks of several inputs, by their names: pictures, or rows of numbers (n, count).

        Raises BadManifest when the network has others.
        """
        if set(inputs) != set(self.described.inputs):
            there = ", ".join(self.described.inputs)
            raise BadManifest(f"a network of {', '.join(inputs)} is wanted, this one has inputs {there}")
        return self.network.run({name: _fed(inputs[name], each) for name, each in self.described.inputs.items()})

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture the network looks at. Raises BadManifest when it takes any."""
        return _size(self.described.picture[1])

    def size_of(self, name: str) -> tuple[int, int]:
        """As :attr:`size`, of the input of this name. Raises BadManifest, too, when it is no picture or not there."""
        wanted = self.described.inputs.get(name)
        if not isinstance(wanted, Picture):
            raise BadManifest(f"a network with a picture as its input {name} is wanted")
        return _size(wanted)


def _size(picture: Picture) -> tuple[int, int]:
    if picture.width is None or picture.height is None:
        raise BadManifest("the manifest does not say which width and height the network takes")
    return picture.width, picture.height


def _fed(given: Sequence[Pixels] | Array, wanted: Picture | Numbers) -> Array:
    return prepared(list(given), wanted) if isinstance(wanted, Picture) else np.ascontiguousarray(given, np.float32)


def prepared(pictures: Sequence[Pixels], wanted: Picture) -> Array:
    """RGB pictures, uint8 (h, w, 3), as one array in the form that the manifest describes."""
    stack = np.stack([resized(each, wanted) for each in pictures])
    if wanted.colour == "grey":
        stack = luma_of(stack)[..., None]
    elif wanted.colour == "BGR":
        stack = stack[..., ::-1]
    if wanted.layout == "NCHW":
        stack = stack.transpose(0, 3, 1, 2)
    if wanted.dtype == "uint8":
        return np.ascontiguousarray(stack, np.uint8)
    array = np.array(stack, np.float32, order="C")
    if any(wanted.mean):
        array -= _per_channel(wanted.mean, wanted)
    if any(scale != 1 for scale in wanted.scale):
        array /= _per_channel(wanted.scale, wanted)
    return array


def _per_channel(values: tuple[float, ...], wanted: Picture) -> Array:
    """Numbers per channel, or one for all, so that they fit the layout."""
    return np.array(values, np.float32).reshape((-1, 1, 1) if wanted.layout == "NCHW" else (-1,))


def resized(pixels: Pixels, wanted: Picture) -> Pixels:
    """Of the width and height that are wanted, smoothed when it shrinks; as it is where any size will do."""
    if wanted.width is None or wanted.height is None or pixels.shape[:2] == (wanted.height, wanted.width):
        return pixels
    size = wanted.width, wanted.height
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))


@dataclass(frozen=True)
class Loaded:
    """A model whose networks are ready: what an estimator is built from. ``where``: of its first network; ``read``
    gives the checked bytes of one of its files."""

    manifest: Manifest
    nets: dict[str, Net]
    where: Where
    read: Callable[[str], bytes]
    _asked: set[str] = field(default_factory=set)

    @property
    def net(self) -> Net:
        """The only network. Raises BadManifest when the model has several or none."""
        if len(self.nets) != 1:
            raise BadManifest(f"model {self.manifest.name}: kind {self.manifest.kind} has one network")
        return next(iter(self.nets.values()))

    def lines(self, file: str) -> list[str]:
        """The lines of a file of names. Raises BadManifest when the manifest has no such file, ModelMissing,
        ModelCorrupt."""
        if file not in {PurePosixPath(each.path).name for each in self.manifest.files}:
            raise BadManifest(f"model {self.manifest.name} has no file {file}")
        return self.read(file).decode("utf-8").splitlines()

    def option(self, name: str, default: T, instead: T | None = None) -> T:
        """A number, text or list of the manifest's ``options``, of the default's type; ``instead``, where there is one,
        goes before it. Raises BadManifest."""
        self._asked.add(name)
        value: Any = self.manifest.options.get(name, default) if instead is None else instead
        if isinstance(default, float) and isinstance(value, int):
            value = float(value)
        if not isinstance(value, type(default)):
            raise BadManifest(f"model {self.manifest.name}: options.{name} is no {type(default).__name__}")
        return value

    def check_options(self) -> None:
        """Once everything was asked for. Raises BadManifest for options that nobody asked for: misspelt ones."""
        if unknown := sorted(set(self.manifest.options) - self._asked):
            known = f"it has {', '.join(sorted(self._asked))}" if self._asked else "it has none"
            raise BadManifest(
                f"model {self.manifest.name}: kind {self.manifest.kind} has no options.{unknown[0]}; {known}"
            )


def load(model: Model, engines: Sequence[Engine]) -> Loaded:
    """Open every network of a model with the first engine that reads its file.

    Raises EngineMissing, ModelMissing, ModelCorrupt, BadManifest.
    """
    nets, where = {}, None
    for name, network in model.manifest.networks.items():
        engine = next((each for each in engines if each.reads(network.files[0])), None)
        if engine is None:
            raise EngineMissing(f"model {model.name}: nothing here runs {network.files[0]}")
        nets[name] = Net(engine.load(model, name), network)
        where = where or engine.where
    if where is None:
        raise BadManifest(f"model {model.name} of kind {model.manifest.kind} has no networks")
    return Loaded(model.manifest, nets, where, model.read)
