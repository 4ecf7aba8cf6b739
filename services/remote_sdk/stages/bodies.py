"""Bodies in a picture: who has which face, and what is cut out of each body."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from libs.common.wire.estimations import Rect
from services.remote_sdk.detectors.port import Detection
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.stages.crops import Box, Pixels
from services.remote_sdk.stages.decode import encode_jpeg
from services.remote_sdk.stages.quality import part_inside
from services.remote_sdk.stages.view import BodyView

WARP_WIDTH, WARP_HEIGHT = 128, 256
"""A body warp is the body's box, as far as it lies in the picture, stretched to this size."""

PERSON = "person"
"""The label of bodies among the things that a detector finds."""

_ENOUGH_PX = 256  # height from which a body is not enlarged for its warp

BodyCropper = Callable[[BodyView], Any]


@dataclass(frozen=True)
class Body:
    """A body as far as it is known before networks look at it.

    ``score``: detector's confidence, 0..1. ``fitness``: the score for recognition, 0..1. ``findings``: none yet.
    ``crops``: what each of ``Job.wanted`` needs. ``warp``: a JPEG of 128 x 256, where it was asked for.
    """

    rect: Rect
    score: float
    fitness: float
    findings: Findings
    crops: Mapping[str, Any]
    warp: bytes | None = None


def body_in(pixels: Pixels, found: Detection, croppers: Mapping[str, BodyCropper], *, with_warp: bool) -> Body:
    """A body in its picture, uint8 (h, w, 3), cropped by every cropper."""
    rect = rect_of(found)
    view = view_of(pixels, found)
    return Body(
        rect=rect,
        score=found.score,
        fitness=fitness(found, view),
        findings={},
        crops={name: crop(view) for name, crop in croppers.items()},
        warp=encode_jpeg(view.cut(view.box, (WARP_WIDTH, WARP_HEIGHT)).pixels) if with_warp else None,
    )


def body_of_warp(pixels: Pixels, croppers: Mapping[str, BodyCropper], *, with_warp: bool) -> Body:
    """The body of a warp, uint8 (256, 128, 3): all of it."""
    view = BodyView(pixels, Box(0, 0, WARP_WIDTH, WARP_HEIGHT))
    return Body(
        rect=Rect(x=0, y=0, width=WARP_WIDTH, height=WARP_HEIGHT),
        score=1.0,
        fitness=1.0,
        findings={},
        crops={name: crop(view) for name, crop in croppers.items()},
        warp=encode_jpeg(pixels) if with_warp else None,
    )


def persons(found: list[Detection]) -> list[Detection]:
    """Those of a detector's findings that are persons; one that gives no labels finds nothing else."""
    return [each for each in found if each.label in ("", PERSON)]


def view_of(pixels: Pixels, found: Detection) -> BodyView:
    """A body, or another thing, in its picture; its box is cut to the picture."""
    height, width = pixels.shape[:2]
    box = edges(found)
    left, top = min(max(box.left, 0), width - 1), min(max(box.top, 0), height - 1)
    return BodyView(pixels, Box(left, top, max(min(box.right, width), left + 1), max(min(box.bottom, height), top + 1)))


def edges(found: Detection) -> Box:
    return Box(found.left, found.top, found.right + 1, found.bottom + 1)


def rect_of(found: Detection) -> Rect:
    """A box in whole pixels for the wire."""
    x, y = round(found.left), round(found.top)
    return Rect(x=x, y=y, width=max(round(found.right) - x + 1, 1), height=max(round(found.bottom) - y + 1, 1))


def fitness(found: Detection, view: BodyView) -> float:
    """How well a body can be told from others, 0..1: the detector's confidence, its size, and how much of it is in
    the picture."""
    height, width = view.pixels.shape[:2]
    large = min(view.box.height / _ENOUGH_PX, 1.0)
    return round(min(max(found.score, 0.0), 1.0) * large * part_inside(rect_of(found), width, height), 4)
