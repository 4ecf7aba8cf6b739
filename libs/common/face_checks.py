"""Checks of a face, as ``/iso`` and the ``face_quality`` of handlers make them: what is measured, and what is allowed.

Bounds follow ISO/IEC 19794-5, full frontal pictures. Each check shows its ``source``: the clause of the edition of 2011
(cited after secondary literature). "Mien" behind it says that the clause asks for something without a number ("in
focus", "plain background"), and the bounds are ours.

Only what can honestly be computed is checked. Not checked, because nothing here sees it: red eyes, eyebrows, headwear,
shoulders, natural colours of the skin, lens distortion, shadows behind the head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from libs.common.wire.base import Wire
from libs.common.wire.estimations import MASKS, Portrait, Rect
from libs.common.wire.sdk import FaceResult

Value = int | float | str | None


class Bounds(Wire):
    """Both inclusive; null: none."""

    min: float | None = None
    max: float | None = None

    def allow(self, value: Value) -> bool:
        above = self.min is None or float(value or 0) >= self.min
        return above and (self.max is None or float(value or 0) <= self.max)


class Words(NamedTuple):
    """The words that are allowed, and all that there are."""

    words: tuple[str, ...]
    known: tuple[str, ...]

    def allow(self, value: Value) -> bool:
        return value in self.words


class Sight(NamedTuple):
    """A face, and how many faces its picture shows; None where nobody counted."""

    face: FaceResult
    faces: int | None = None


@dataclass(frozen=True)
class Check:
    """``flag``: the parameter of ``/sdk`` whose estimation it reads; ``measure``: None when the face has none."""

    flag: str
    measure: Callable[[Sight], Value]
    allowed: Bounds | Words
    source: str


def _read(field: str, *path: str) -> Callable[[Sight], Value]:
    """A value inside one field of the attributes."""

    def measure(sight: Sight) -> Value:
        value: Any = getattr(sight.face.attributes, field)
        for step in path:
            value = value.get(step) if isinstance(value, Mapping) else getattr(value, step, None)
        return value

    return measure


def _between(low: float | None, high: float | None) -> Bounds:
    return Bounds(min=low, max=high)


def _geometry(of: Callable[[Portrait], Value], low: float | None, high: float | None, source: str) -> Check:
    return Check("estimate_portrait", _portrait(of), _between(low, high), source)


def _portrait(of: Callable[[Portrait], Value]) -> Callable[[Sight], Value]:
    return lambda sight: of(sight.face.portrait) if sight.face.portrait else None


def _side(of: Callable[[Rect], Value]) -> Check:
    """Of the detector's box, which the standard does not know: twice the 90 pixels between the eyes."""
    return Check("detect_face", lambda sight: of(sight.face.rect), _between(180, None), "8.4.1 Resolution; Mien")


def _angle(field: str, angle: str, most: float, source: str) -> Check:
    return Check(f"estimate_{field}", _read(field, angle), _between(-most, most), source)


def _quality(name: str, least: float, source: str) -> Check:
    return Check("estimate_quality", _read("quality", name), _between(least, 1), source)


def _covered(sight: Sight) -> Value:
    """How sure it is that mouth and nose are not bare, 0..1: what a mask's estimator sees of hands and scarves, too."""
    mask = sight.face.attributes.mask
    return round(1 - mask.estimations["missing"], 4) if mask else None


def _mouth(score: str) -> Check:
    measure = _read("mouth_attributes", score)
    return Check("estimate_mouth_attributes", measure, _between(0, 0.5), "7.2.3 Expression; Mien")


def _eye(side: str) -> Check:
    words = Words(("open",), ("open", "closed", "occluded"))
    return Check("estimate_eyes_attributes", _read("eyes_attributes", side, "state"), words, "7.2.3 Expression")


GLASSES = Words(("no_glasses", "eyeglasses"), ("no_glasses", "eyeglasses", "sunglasses"))
NO_MASK = Words(("missing",), tuple(MASKS.values()))

CHECKS = {
    "faces_count": Check("detect_face", lambda sight: sight.faces, _between(1, 1), "7.2 Scene"),
    "head_yaw": _angle("head_pose", "yaw", 5, "7.2.2 Pose"),
    "head_pitch": _angle("head_pose", "pitch", 5, "7.2.2 Pose"),
    "head_roll": _angle("head_pose", "roll", 8, "7.2.2 Pose"),
    "gaze_yaw": _angle("gaze", "yaw", 5, "7.2.3 Expression; Mien"),
    "gaze_pitch": _angle("gaze", "pitch", 5, "7.2.3 Expression; Mien"),
    "mouth_smiling": _mouth("smile"),
    "mouth_open": _mouth("opened"),
    "mouth_occluded": Check("estimate_mask", _covered, _between(0, 0.5), "7.2.3 Expression; Mien"),
    "left_eye": _eye("left_eye"),
    "right_eye": _eye("right_eye"),
    "glasses": Check("estimate_glasses", _read("glasses", "glasses"), GLASSES, "7.2.11 Eye glasses"),
    "mask": Check("estimate_mask", _read("mask", "predominant_mask"), NO_MASK, "7.2 Scene"),
    "illumination_quality": _quality("illumination", 0.3, "7.2.7 Lighting; Mien"),
    "specularity_quality": _quality("specularity", 0.3, "7.2.10 Hot spots; Mien"),
    "dark_quality": _quality("dark", 0.5, "7.3.2 Exposure; Mien"),
    "light_quality": _quality("light", 0.57, "7.3.2 Exposure; Mien"),
    "blurriness_quality": _quality("blurriness", 0.61, "7.3.3 Focus; Mien"),
    "dynamic_range": _geometry(lambda p: p.dynamic_range, 7, None, "7.4.3 Colour profile"),
    "background_uniformity": _geometry(lambda p: p.background_uniformity, 0.9, None, "7.2.6 Backgrounds; Mien"),
    "background_lightness": _geometry(lambda p: p.background_lightness, 0.3, None, "7.2.6 Backgrounds; Mien"),
    "aspect_ratio": _geometry(lambda p: round(p.image_width / p.image_height, 4), 0.74, 0.8, "8.3 Geometry"),
    "head_horizontal_center": _geometry(lambda p: p.horizontal_center, 0.45, 0.55, "8.3.2 Centred image"),
    "head_vertical_center": _geometry(lambda p: p.vertical_center, 0.3, 0.5, "8.3.3 Position of the eyes"),
    "head_width": _geometry(lambda p: p.head_width, 0.5, 0.75, "8.3.4 Width of the head"),
    "head_height": _geometry(lambda p: p.head_height, 0.6, 0.9, "8.3.5 Length of the head"),
    "indent_left": _geometry(lambda p: p.indent_left, 0, None, "8.3 Geometry"),
    "indent_right": _geometry(lambda p: p.indent_right, 0, None, "8.3 Geometry"),
    "indent_upper": _geometry(lambda p: p.indent_upper, 0, None, "8.3 Geometry"),
    "indent_lower": _geometry(lambda p: p.indent_lower, 0, None, "8.3 Geometry"),
    "eye_distance": _geometry(lambda p: p.eye_distance, 90, None, "8.4.1 Resolution"),
    "face_width": _side(lambda rect: rect.width),
    "face_height": _side(lambda rect: rect.height),
}
"""By the names of the contract."""
