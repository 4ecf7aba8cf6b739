"""Does a model compute here what it computed when its manifest was written?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from services.remote_sdk.engines.choose import engines
from services.remote_sdk.engines.net import load, prepared
from services.remote_sdk.engines.port import Array
from services.remote_sdk.models.library import Model
from services.remote_sdk.models.manifest import Network, Numbers, Picture, runs_as_described
from services.remote_sdk.networks.landmarks import Landmarks5
from services.remote_sdk.networks.mmod import FaceDetector
from services.remote_sdk.networks.precision import choose
from services.remote_sdk.networks.resnet import FaceDescriber

SAMPLES = 8
_SIDE = 128  # of the known picture, where a network takes any size
_EXACT = choose("cpu", "float32")

Values = dict[str, dict[str, list[float]]]
"""Some values of every output, by network and output name."""


@dataclass(frozen=True)
class Verdict:
    """``measured`` here; ``expected`` by the manifest, None where it stores nothing; ``worst``: largest relative
    difference."""

    measured: Values
    expected: Values | None
    worst: float
    tolerance: float

    @property
    def good(self) -> bool:
        return self.expected is None or self.worst <= self.tolerance


def verify(model: Model, engine: str = "auto") -> Verdict:
    """Run a known picture through every network of a model, in fp32 on the CPU, and compare.

    Raises ModelMissing, ModelCorrupt, BadManifest, EngineMissing.
    """
    for file in model.files.values():
        file.read()
    measured = _builtin(model) or _networks(model, engine)
    check = model.manifest.check
    if check is None:
        return Verdict(measured, None, 0.0, 0.0)
    worst = max(
        _difference(measured.get(network, {}).get(output), values)
        for network, outputs in check.outputs.items()
        for output, values in outputs.items()
    )
    return Verdict(measured, check.outputs, worst, check.tolerance)


def known_picture(width: int, height: int) -> Array:
    """A picture that anybody can make again, uint8 (height, width, 3): waves of three lengths."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / length) + np.cos(y / (length + 2)) for length in (5, 9, 13)]
    return np.round(127.5 + 63.5 * np.stack(waves, axis=-1)).astype(np.uint8)


def _networks(model: Model, engine: str) -> Values:
    if not model.manifest.networks:
        return {}
    loaded = load(model, engines(engine, _EXACT, 1))
    with runs_as_described(model.name):
        return {
            name: {output: _samples(array) for output, array in net.network.run(_inputs(net.described)).items()}
            for name, net in loaded.nets.items()
        }


def _inputs(network: Network) -> dict[str, Array]:
    return {name: _input(each) for name, each in network.inputs.items()}


def _input(wanted: Picture | Numbers) -> Array:
    if isinstance(wanted, Numbers):
        return np.linspace(-1, 1, wanted.count, dtype=np.float32)[None]
    return prepared([known_picture(wanted.width or _SIDE, wanted.height or _SIDE)], wanted)


def _builtin(model: Model) -> Values | None:
    run = _BUILTIN.get(model.manifest.kind)
    return None if run is None else {"main": {"output": _samples(run(model))}}


def _detections(model: Model) -> Array:
    found = FaceDetector(_EXACT, *model.files.values()).detect([_drawn_face()], None)[0]
    return np.array([(face.left, face.top, face.right, face.bottom, face.score) for face in found])


def _drawn_face() -> Array:
    """Ellipses that the detector takes for a face: uint8 (320, 320, 3)."""
    y, x = np.mgrid[:320, :320] - 160
    picture = np.full((320, 320, 3), 90, np.uint8)
    for across, down, wide, high, colour in (
        (0, 0, 57.6, 80, (205, 170, 150)),
        (-22.4, -19.2, 9.6, 5.76, (50, 40, 40)),
        (22.4, -19.2, 9.6, 5.76, (50, 40, 40)),
        (0, 38.4, 22.4, 6.4, (150, 70, 70)),
    ):
        picture[((x - across) / wide) ** 2 + ((y - down) / high) ** 2 < 1] = colour
    return picture


def _points(model: Model) -> Array:
    return Landmarks5(*model.files.values()).locate([known_picture(150, 150)], [np.array([[20.0, 20, 129, 129]])])


def _descriptor(model: Model) -> Array:
    return FaceDescriber(_EXACT, *model.files.values()).describe(known_picture(150, 150)[None])


_BUILTIN: dict[str, Callable[[Model], Array]] = {
    "dlib-mmod": _detections,
    "dlib-sp5": _points,
    "dlib-resnet": _descriptor,
}


def _samples(array: Array) -> list[float]:
    """At most :data:`SAMPLES` values from the first to the last, evenly apart."""
    flat = np.asarray(array, np.float64).ravel()
    places = np.linspace(0, len(flat) - 1, min(SAMPLES, len(flat))).round().astype(int)
    return [float(f"{value:.5g}") for value in flat[places]]


def _difference(measured: list[float] | None, expected: list[float]) -> float:
    """The largest difference in parts of the largest value; infinite for another number of values."""
    if measured is None or len(measured) != len(expected):
        return float("inf")
    scale = max(max(map(abs, expected), default=0.0), 1e-3)
    worst = max((abs(a - b) for a, b in zip(measured, expected, strict=True)), default=0.0) / scale
    return worst if np.isfinite(worst) else float("inf")
