"""Whether a person stood before the camera or a picture of one was held there, by what prints and screens show on a
face and around it: their edges, moire, reflections, flat colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from libs.common.wire.estimations import Liveness as Found
from libs.common.wire.estimations import LivenessEstimations
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.models.manifest import BadManifest
from services.remote_sdk.stages.crops import Pixels
from services.remote_sdk.stages.view import FaceView

# How many of 39 genuine faces of the test photos are found real once they are cut out closer, shrunk, blurred, dimmed
# or burnt out, in parts of those found so in the photos as they are. The others pass for spoofs; spoofs stay spoofs.
# Faded, and grey as those of infrared cameras: 78 faces.
_ROOM = ((1.0, 0.25), (1.2, 0.57), (1.5, 0.83), (1.75, 1.0))  # sides of the picture in those of the face's box
_WIDTH = ((0.0, 0.0), (20.0, 0.77), (30.0, 0.87), (40.0, 1.0))  # of the face in the photo, pixels
_SHARPNESS = ((0.0, 0.22), (0.1, 0.5), (0.27, 0.84), (0.65, 1.0))  # "blurriness" of the quality
_EXPOSURE = ((0.0, 0.76), (1.0, 1.0))  # "dark" times "light" of the quality
_COLOUR = ((0.0, 0.11), (0.03, 0.49), (0.05, 0.67), (0.07, 0.8), (0.09, 0.93), (0.15, 1.0))  # of the face, saturation


class Look(NamedTuple):
    """A face as each of the networks wants it, and how fit its picture is to be judged, 0..1."""

    pixels: list[Pixels]
    quality: float


class Liveness:
    """The mean of networks of the family of MiniFASNet, each with an output ``p`` of probabilities.

    Options of the manifest: ``real``: the place of "a living person" in it; ``grown_NETWORK``: the crop of each
    network, in sides of the face's box; ``prior_odds``: how many genuine faces there are for a spoof, which turns the
    networks' mean into the probability on the wire, by Bayes' rule.

    Faces of warps are not judged: what is around them is cut off, and what is on them was drawn anew.
    """

    on_warps = False

    def __init__(self, model: Loaded) -> None:
        if wrong := [name for name, net in model.nets.items() if "p" not in net.described.outputs]:
            raise BadManifest(f"model {model.manifest.name}: networks.{wrong[0]} has no output p")
        self._nets = [(net, model.option(f"grown_{name}", 2.7)) for name, net in model.nets.items()]
        self._real = model.option("real", 1)
        self._odds = model.option("prior_odds", 1.0)

    def crop(self, seen: FaceView) -> Look:
        height, width = seen.pixels.shape[:2]
        room = min(width / seen.box.width, height / seen.box.height)
        pixels = [
            # The box keeps its shape where the picture is too small for it. Averaging would wipe out the moire.
            seen.cut(seen.box.grown(min(grown, room)), net.size, outside="shift", smooth=False).pixels
            for net, grown in self._nets
        ]
        return Look(pixels, _fitness(seen, room))

    def run(self, crops: list[Look]) -> list[Findings]:
        each = [
            net.see([crop.pixels[number] for crop in crops])["p"][:, self._real]
            for number, (net, _) in enumerate(self._nets)
        ]
        return [
            {"liveness": self._liveness(float(share), crop.quality)}
            for share, crop in zip(np.mean(each, axis=0), crops, strict=True)
        ]

    def _liveness(self, share: float, quality: float) -> Found:
        """The caller's thresholds make the verdict (``stages/rules.py``); until then it is the likelier one."""
        share = min(max(share, 0.0), 1.0)
        probability = share * self._odds / (share * self._odds + 1 - share)
        estimations = LivenessEstimations(quality=quality, probability=round(probability, 4))
        return Found(prediction="real" if probability >= 0.5 else "spoof", estimations=estimations)


def _fitness(seen: FaceView, room: float) -> float:
    """About the share of genuine faces in such pictures that are found to be real."""
    quality = seen.quality
    parts = (
        _read(_ROOM, room),
        _read(_WIDTH, seen.box.width * seen.reduced),
        _read(_SHARPNESS, quality.blurriness),
        _read(_EXPOSURE, quality.dark * quality.light),
        _read(_COLOUR, _saturation(seen)),
    )
    return round(float(np.prod(parts)), 4)


def _saturation(seen: FaceView) -> float:
    """Of the middle of the face, 0..1: the median of its pixels."""
    pixels = seen.cut(seen.box.grown(0.8), (32, 32)).pixels.astype(np.float32)
    most, least = pixels.max(axis=-1), pixels.min(axis=-1)
    return float(np.median((most - least) / np.maximum(most, 1)))


def _read(table: Sequence[tuple[float, float]], at: float) -> float:
    """The value between the rows of a table, or that of its end."""
    places, values = zip(*table, strict=True)
    return float(np.interp(at, places, values))
