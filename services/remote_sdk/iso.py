"""Face checks after ISO/IEC 19794-5, full frontal pictures, and the answer of ``POST /iso``.

Only what can honestly be computed is checked. Not checked, because nothing here sees it: red eyes, eyebrows, headwear,
shoulders, natural colours of the skin, lens distortion, shadows behind the head. Each check shows its ``source``: the
clause of ISO/IEC 19794-5:2011 (cited after secondary literature). "Mien" behind it says that the clause asks for
something without a number ("in focus", "plain background"), and the bounds are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from libs.common.errors import Code, MienError
from libs.common.wire.base import Flag, Wire
from libs.common.wire.estimations import Portrait, Rect
from libs.common.wire.sdk import Capabilities, FaceResult, ImageResult, IsoQuery, SdkParams, SdkResult
from services.remote_sdk.answer import Error
from services.remote_sdk.slots import FLAGS

Value = int | float | str | None


class Bounds(Wire):
    """Both inclusive; null: none."""

    min: float | None = None
    max: float | None = None

    def allow(self, value: Value) -> bool:
        above = self.min is None or float(value or 0) >= self.min
        return above and (self.max is None or float(value or 0) <= self.max)


class Words(NamedTuple):
    """The words that are allowed."""

    words: tuple[str, ...]

    def allow(self, value: Value) -> bool:
        return value in self.words


class Sight(NamedTuple):
    """A face, and how many faces its picture shows; None where only the best was kept."""

    face: FaceResult
    faces: int | None


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


def _portrait(of: Callable[[Portrait], Value]) -> Callable[[Sight], Value]:
    return lambda sight: of(sight.face.portrait) if sight.face.portrait else None


def _between(low: float | None, high: float | None) -> Bounds:
    return Bounds(min=low, max=high)


def _geometry(of: Callable[[Portrait], Value], low: float | None, high: float | None, source: str) -> Check:
    return Check("estimate_portrait", _portrait(of), _between(low, high), source)


def _angle(field: str, angle: str, most: float, source: str) -> Check:
    return Check(f"estimate_{field}", _read(field, angle), _between(-most, most), source)


def _quality(name: str, least: float, source: str) -> Check:
    return Check("estimate_quality", _read("quality", name), _between(least, 1), source)


def _mouth(source: str, *path: str) -> Check:
    return Check("estimate_mouth_attributes", _read("mouth_attributes", *path), _between(0, 0.5), source)


def _eye(side: str) -> Check:
    words = Words(("open",))
    return Check("estimate_eyes_attributes", _read("eyes_attributes", side, "state"), words, "7.2.3 Expression")


CHECKS = {
    "faces_count": Check("detect_face", lambda sight: sight.faces, _between(1, 1), "7.2 Scene"),
    "head_yaw": _angle("head_pose", "yaw", 5, "7.2.2 Pose"),
    "head_pitch": _angle("head_pose", "pitch", 5, "7.2.2 Pose"),
    "head_roll": _angle("head_pose", "roll", 8, "7.2.2 Pose"),
    "gaze_yaw": _angle("gaze", "yaw", 5, "7.2.3 Expression; Mien"),
    "gaze_pitch": _angle("gaze", "pitch", 5, "7.2.3 Expression; Mien"),
    "mouth_smiling": _mouth("7.2.3 Expression; Mien", "smile"),
    "mouth_open": _mouth("7.2.3 Expression; Mien", "opened"),
    "mouth_occluded": _mouth("7.2.3 Expression; Mien", "occluded"),
    "left_eye": _eye("left_eye"),
    "right_eye": _eye("right_eye"),
    "glasses": Check(
        "estimate_glasses", _read("glasses", "glasses"), Words(("no_glasses", "eyeglasses")), "7.2.11 Eye glasses"
    ),
    "mask": Check("estimate_mask", _read("mask", "predominant_mask"), Words(("missing",)), "7.2 Scene"),
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
}


class CheckAnswer(Wire):
    """One check. ``result`` is null when there is no verdict, and ``missing`` says why."""

    name: str
    object_value: int | float | str | None
    threshold: Bounds | list[str]
    result: Literal[0, 1] | None
    source: str
    missing: str | None = None


class Iso(Wire):
    """``status`` is 1 when every check was made and passed: what was not looked at is not found to comply."""

    status: Flag
    checks: list[CheckAnswer]


class IsoDetection(Wire):
    rect: Rect
    iso: Iso


class IsoFace(Wire):
    detection: IsoDetection


class IsoEstimation(Wire):
    face: IsoFace


class IsoImage(Wire):
    filename: str
    status: Flag
    error: Error
    estimations: list[IsoEstimation]


class IsoAnswer(Wire):
    """Faces are ordered by size, largest first; ``models`` names what was used, by slot."""

    images: list[IsoImage]
    models: dict[str, str]


class Examination:
    """The checks of one request, of which some may lack their estimator."""

    def __init__(self, query: IsoQuery, capabilities: Capabilities) -> None:
        """Raises BAD_QUERY naming the checks that there are when ``query.checks`` has another one."""
        if unknown := [name for name in query.checks or [] if name not in CHECKS]:
            raise MienError(Code.BAD_QUERY, f"query.checks: no {', '.join(unknown)}; there are {', '.join(CHECKS)}")
        self._query = query
        self._checks = {name: check for name, check in CHECKS.items() if query.checks is None or name in query.checks}
        self._missing = dict(_missing(self._checks.values(), capabilities))

    def params(self) -> SdkParams:
        """What the checks need of ``/sdk``, as far as there is an estimator for it."""
        flags = {check.flag: 1 for check in self._checks.values() if check.flag not in self._missing}
        query = self._query
        return SdkParams.model_validate(
            {**flags, "multiface_policy": query.multiface_policy, "use_exif_info": query.use_exif_info}
        )

    def answer(self, result: SdkResult) -> IsoAnswer:
        return IsoAnswer(images=[self._image(image) for image in result.images], models=result.models)

    def _image(self, image: ImageResult) -> IsoImage:
        faces = [person.face for person in image.persons if person.face]
        seen = None if self._query.multiface_policy == _BEST else len(faces)
        return IsoImage(
            filename=image.filename,
            status=image.status,
            error=Error(**image.error.model_dump()),
            estimations=[self._estimation(Sight(face, seen)) for face in faces],
        )

    def _estimation(self, sight: Sight) -> IsoEstimation:
        checks = [self._run(name, check, sight) for name, check in self._checks.items()]
        iso = Iso(status=1 if all(check.result for check in checks) else 0, checks=checks)
        return IsoEstimation(face=IsoFace(detection=IsoDetection(rect=sight.face.rect, iso=iso)))

    def _run(self, name: str, check: Check, sight: Sight) -> CheckAnswer:
        missing = self._missing.get(check.flag)
        value = None if missing else check.measure(sight)
        if value is None and missing is None:
            missing = "cannot be measured in this picture"
        return CheckAnswer(
            name=name,
            object_value=value,
            threshold=list(check.allowed.words) if isinstance(check.allowed, Words) else check.allowed,
            result=None if value is None else (1 if check.allowed.allow(value) else 0),
            source=check.source,
            missing=missing,
        )


_BEST = 2  # of multiface_policy


def _missing(checks: Iterable[Check], capabilities: Capabilities) -> Iterable[tuple[str, str]]:
    """The parameters that some checks need and no model serves, each with what to install."""
    for flag in {check.flag for check in checks} & set(FLAGS):
        estimator = capabilities.estimators[FLAGS[flag]]
        if not estimator.available:
            yield flag, estimator.missing or f"no model is installed for {estimator.name}"
