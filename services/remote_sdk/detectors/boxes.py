"""What detectors on networks have in common: pictures brought to size, boxes brought back, doubles dropped."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.remote_sdk.detectors.port import Detection
from services.remote_sdk.networks import suppression
from services.remote_sdk.networks.frames import Frame, Pixels, in_memory, resized

Floats = NDArray[np.floating]

_SLACK = 0.01
"""Of its size a picture may lose to fit a network that takes multiples."""


class Fitted(NamedTuple):
    """A picture as a network gets it. ``scale``: its pixels per pixel of the source, along x and along y."""

    pixels: Pixels
    scale: tuple[float, float]


class Found(NamedTuple):
    """Boxes (n, 4), left, top, right, bottom as distances from the edges of a fitted picture, in its pixels;
    scores (n,); points (n, 5, 2) or None; class numbers (n,) or None."""

    boxes: Floats
    scores: Floats
    points: Floats | None = None
    classes: NDArray[np.integer] | None = None

    def only(self, which: NDArray[np.integer] | NDArray[np.bool_]) -> Found:
        points = None if self.points is None else self.points[which]
        classes = None if self.classes is None else self.classes[which]
        return Found(self.boxes[which], self.scores[which], points, classes)


def fitted(image: Frame, long_side: int, multiple: int, largest_upscale: float) -> Fitted:
    """Scaled to a longer side, then padded with black at right and bottom to a multiple of a number of pixels."""
    height, width = image.shape[:2]
    factor = _without_slack(min(height, width), min(long_side / max(height, width), largest_upscale), multiple)
    small = (max(round(width * factor), 1), max(round(height * factor), 1))
    padded = np.zeros((_up(small[1], multiple), _up(small[0], multiple), 3), np.uint8)
    padded[: small[1], : small[0]] = _resized(image, small)
    return Fitted(padded, (small[0] / width, small[1] / height))


def _without_slack(short_side: int, factor: float, multiple: int) -> float:
    """A factor that is a little smaller where that saves padding: 16:9 at 800 pixels is 450 high and would be padded to
    480, a fifteenth of the detector's time."""
    scaled = round(short_side * factor)
    over = scaled % multiple
    return factor * (scaled - over) / scaled if multiple <= scaled and over <= _SLACK * scaled else factor


def stretched(image: Frame, width: int, height: int) -> Fitted:
    """Scaled to a width and a height, whatever that does to its shape."""
    return Fitted(_resized(image, (width, height)), (width / image.shape[1], height / image.shape[0]))


def _resized(image: Frame, size: tuple[int, int]) -> Pixels:
    """Smoothed when it shrinks: torch's 2.5 ms for 1080p instead of Pillow's 14 to 20. Of a picture on a GPU only what
    is left comes down."""
    width, height = size
    if image.shape[:2] == (height, width):
        return in_memory(image)
    frame = image if isinstance(image, Tensor) else torch.from_numpy(np.require(image, requirements=["C", "W"]))
    # One picture is made a batch before its channels are moved: the other way round torch does not see that they come
    # last in memory, takes twice as long, and leaves them first.
    return in_memory(resized(frame[None].permute(0, 3, 1, 2), height, width)[0].permute(1, 2, 0))


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def searched(
    images: Sequence[Frame],
    fit: Callable[[Frame], Fitted],
    search: Callable[[list[Pixels]], list[Found]],
    score: Callable[[float], float],
    labels: list[str] | None = None,
) -> list[list[Detection]]:
    """What ``search`` finds in each picture once ``fit`` has brought it to size, as the port wants it.

    Pictures of one size are searched together; one without pixels shows nothing. ``score`` turns the network's own into
    one of 0..1; ``labels`` are the names of the classes.
    """
    things: list[list[Detection]] = [[] for _ in images]
    for number, found in _in_groups(images, fit, search):
        things[number] = _detections(found, score, labels)
    return things


def _in_groups(
    images: Sequence[Frame], fit: Callable[[Frame], Fitted], search: Callable[[list[Pixels]], list[Found]]
) -> Iterator[tuple[int, Found]]:
    """What is found in each picture, with the picture's number and in its pixels."""
    groups: dict[tuple[int, ...], list[tuple[int, Fitted]]] = defaultdict(list)
    for number, image in enumerate(images):
        if math.prod(image.shape):
            ready = fit(image)
            groups[ready.pixels.shape].append((number, ready))
    for group in groups.values():
        for (number, ready), found in zip(group, search([ready.pixels for _, ready in group]), strict=True):
            yield number, _in_source(found, ready.scale)


def _in_source(found: Found, scale: tuple[float, float]) -> Found:
    points = None if found.points is None else found.points / np.array(scale)
    return found._replace(boxes=found.boxes / np.array(scale * 2), points=points)


def _detections(found: Found, score: Callable[[float], float], labels: list[str] | None) -> list[Detection]:
    return [
        Detection(
            *(float(edge) for edge in (box[0], box[1], box[2] - 1, box[3] - 1)),
            score=round(min(max(score(float(own)), 0.0), 1.0), 4),
            points=None if found.points is None else found.points[number].astype(np.float32),
            label="" if labels is None or found.classes is None else labels[int(found.classes[number])],
        )
        for number, (box, own) in enumerate(zip(found.boxes, found.scores, strict=True))
    ]


def strongest(found: Found, overlap: float) -> Found:
    """Without the boxes that a better one of their class covers by more than ``overlap``, intersection over union;
    best first."""
    found = found.only(np.argsort(-found.scores, kind="stable"))
    # Classes laid far apart from each other do not meet.
    apart = 0.0 if found.classes is None else found.classes[:, None] * (found.boxes.max(initial=0) + 1)

    def same(some: Tensor, others: Tensor) -> Tensor:
        return _overlap(some, others) > overlap

    return found.only(suppression.strongest(torch.from_numpy(found.boxes + apart), same).numpy())


def _overlap(some: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of boxes (n, 4) and (k, 4), (n, k)."""
    one, other = some[:, None], others[None]
    inner = _area(torch.maximum(one[..., :2], other[..., :2]), torch.minimum(one[..., 2:], other[..., 2:]))
    union = _area(one[..., :2], one[..., 2:]) + _area(other[..., :2], other[..., 2:]) - inner
    return inner / union.clamp_min(1e-9)


def _area(first: Tensor, last: Tensor) -> Tensor:
    return (last - first).clamp_min(0).prod(-1)


def calibrated(doubtful: float, sure: float) -> Callable[[float], float]:
    """A network's own score on the wire's scale: ``doubtful`` becomes 0.3, ``sure`` 0.9, linear between and beyond."""
    return lambda own: 0.3 + 0.6 * (own - doubtful) / (sure - doubtful)
