"""Models run once before anybody calls, so that a manifest that says something wrong of one is found at the start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from services.remote_sdk.detectors.port import Detector
from services.remote_sdk.models.manifest import runs_as_described
from services.remote_sdk.stages.chain import WARP_SIZE, warp_view
from services.remote_sdk.stages.crops import Box
from services.remote_sdk.stages.view import BodyView

_FACE = warp_view(np.full((WARP_SIZE, WARP_SIZE, 3), 128, np.uint8))
_THING = BodyView(_FACE.pixels, Box(0, 0, WARP_SIZE, WARP_SIZE))


class Looks(Protocol):
    """What estimators of faces and bodies and describers have in common."""

    def crop(self, seen: Any) -> Any: ...
    def run(self, crops: list[Any]) -> list[Any]: ...


def try_faces(models: Mapping[str, Looks]) -> None:
    """Models of faces, by their names. Raises BadManifest naming the one that fails on two grey pictures."""
    for name, model in models.items():
        _try(name, lambda model=model: model.run([model.crop(_FACE), model.crop(_FACE)]))


def try_things(models: Mapping[str, Looks]) -> None:
    """As :func:`try_faces`, models of bodies and of other things."""
    for name, model in models.items():
        _try(name, lambda model=model: model.run([model.crop(_THING), model.crop(_THING)]))


def try_detectors(models: Mapping[str, Detector]) -> None:
    """As :func:`try_faces`, detectors."""
    for name, model in models.items():
        _try(name, lambda model=model: model.detect([_FACE.pixels] * 2))


def _try(name: str, run: Callable[[], list[Any]]) -> None:
    with runs_as_described(name):
        found = run()
        if len(found) != 2:
            raise ValueError(f"{len(found)} results of 2")
        if any(isinstance(each, np.ndarray) and not np.isfinite(each).all() for each in found):
            raise ValueError("some of its values are no numbers")
