"""Inference: what is asked of remote_sdk and what it answers. Section 7 of the wire contract."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from libs.common.wire.base import Angle, Blob, Commas, Flag, Unit, Wire
from libs.common.wire.estimations import (
    BodyAttributes,
    Descriptor,
    FaceAttributes,
    ImageEstimations,
    Pixel,
    Portrait,
    Rect,
)

Multiface = Annotated[int, Field(ge=0, le=2)]
"""0 several faces are an error, 1 allowed, 2 keep only the best."""
ImageType = Annotated[int, Field(ge=0, le=2)]
"""0 raw picture, 1 face warp (250 x 250), 2 body warp (128 x 256)."""


MAX_PLATES = 100


def _rects(value: Any) -> Any:
    """The boxes of a query string: four whole numbers each, in one list."""
    if not isinstance(value, str):
        return value
    numbers = [part.strip() for part in value.split(",")]
    if len(numbers) % 4:
        raise ValueError("boxes are x,y,width,height,x,y,width,height...: four numbers each")
    names = ("x", "y", "width", "height")
    return [dict(zip(names, numbers[at : at + 4], strict=True)) for at in range(0, len(numbers), 4)]


PlateBoxes = Annotated[list[Rect], Field(min_length=1, max_length=MAX_PLATES), BeforeValidator(_rects)]
"""Where number plates are, in every picture of the call; a query string has them as ``x,y,width,height,...``."""


class Image(Wire):
    """One picture to work on: encoded bytes as they came, nothing decoded."""

    filename: str
    data: Blob
    content_type: str | None = None
    face_bounding_boxes: list[Rect] | None = None


class SdkParams(Wire):
    """Everything that can be asked of one call; the names are those of the query string."""

    detect_face: Flag = 1
    detect_body: Flag = 0
    multiface_policy: Multiface = 1
    image_type: ImageType = 0
    use_exif_info: Flag = 1
    extract_exif: Flag = 0
    aggregate_attributes: Flag = 0
    estimate_head_pose: Flag = 0
    estimate_landmarks5: Flag = 0
    estimate_landmarks68: Flag = 0
    estimate_quality: Flag = 0
    estimate_gaze: Flag = 0
    estimate_eyes_attributes: Flag = 0
    estimate_mouth_attributes: Flag = 0
    estimate_emotions: Flag = 0
    estimate_mask: Flag = 0
    estimate_glasses: Flag = 0
    estimate_liveness: Flag = 0
    liveness_threshold: Unit = 0.88
    quality_threshold: Unit = 0.0
    estimate_basic_attributes: Flag = 0
    estimate_face_descriptor: Flag = 0
    estimate_body_descriptor: Flag = 0
    estimate_face_warp: Flag = 0
    estimate_body_warp: Flag = 0
    estimate_upper_body: Flag = 0
    estimate_lower_body: Flag = 0
    estimate_body_basic_attributes: Flag = 0
    estimate_accessories: Flag = 0
    estimate_people_count: Flag = 0
    estimate_objects: Flag = 0
    estimate_vehicles: Flag = 0
    estimate_tags: Flag = 0
    estimate_plates: Flag = 0
    plate_boxes: PlateBoxes | None = None
    people_count_coordinates: Flag = 1
    estimate_deepfake: Flag = 0
    estimate_face_occlusion: Flag = 0
    estimate_image_modification: Flag = 0
    estimate_portrait: Flag = 0
    pitch_threshold: Angle | None = None
    roll_threshold: Angle | None = None
    yaw_threshold: Angle | None = None
    score_threshold: Unit = 0.0
    mask_states: Annotated[list[Annotated[int, Field(ge=1, le=3)]], Commas] | None = None
    liveness_states: Annotated[list[Annotated[int, Field(ge=0, le=2)]], Commas] | None = None
    deepfake_states: Annotated[list[Annotated[int, Field(ge=0, le=1)]], Commas] | None = None


class LivenessQuery(Wire):
    """What can be asked of ``/liveness``: a part of :class:`SdkParams`, and ``aggregate`` over all pictures."""

    aggregate: Flag = 0
    multiface_policy: Multiface = 1
    use_exif_info: Flag = 1
    liveness_threshold: Unit = 0.88
    quality_threshold: Unit = 0.0
    score_threshold: Unit = 0.0
    pitch_threshold: Angle | None = None
    roll_threshold: Angle | None = None
    yaw_threshold: Angle | None = None

    def params(self) -> SdkParams:
        """The same asked of ``/sdk``."""
        asked = self.model_dump(exclude={"aggregate"})
        return SdkParams(estimate_liveness=1, aggregate_attributes=self.aggregate, **asked)


class IsoQuery(Wire):
    """What can be asked of ``/iso``; without ``checks`` all of them are made."""

    multiface_policy: Multiface = 1
    use_exif_info: Flag = 1
    checks: Annotated[list[str], Field(min_length=1, max_length=100), Commas] | None = None


class FaceResult(Wire):
    """One detected face. ``attributes`` holds only what was asked for; ``warp`` is a 250 x 250 JPEG."""

    rect: Rect
    score: Unit
    landmarks5: list[Pixel] | None = None
    landmarks68: list[Pixel] | None = None
    attributes: FaceAttributes = FaceAttributes()
    portrait: Portrait | None = None
    warp: Blob | None = None
    descriptor: Descriptor | None = None


class BodyResult(Wire):
    rect: Rect
    score: Unit
    attributes: BodyAttributes = BodyAttributes()
    warp: Blob | None = None
    descriptor: Descriptor | None = None


class Person(Wire):
    """A face, a body, or the pair of one person."""

    face: FaceResult | None = None
    body: BodyResult | None = None


class FilterReason(Wire):
    filter_name: str
    object_value: Any
    threshold_value: Any


class FilteredFace(Wire):
    """A face that was found and then rejected, and why."""

    face: FaceResult
    filter_reasons: list[FilterReason]


class FilteredBody(Wire):
    """A body that was found and then rejected, and why."""

    body: BodyResult
    filter_reasons: list[FilterReason]


class ErrorBody(Wire):
    error_code: int
    desc: str
    detail: str = ""
    link: str | None = Field(default=None, exclude_if=lambda link: link is None)


class ImageResult(Wire):
    """What one picture gave. With ``status`` 0 only ``error`` means anything.

    ``persons`` are ordered by face (else body) size, largest first.
    """

    filename: str
    status: Flag
    error: ErrorBody
    exif: dict[str, Any] | None = None
    estimations: ImageEstimations = ImageEstimations()
    persons: list[Person] = []
    filtered: list[FilteredFace] = []
    filtered_bodies: list[FilteredBody] = []


class FaceAggregate(Wire):
    """One person over several pictures: mean estimations and one descriptor."""

    attributes: FaceAttributes = FaceAttributes()
    descriptor: Descriptor | None = None


class BodyAggregate(Wire):
    """As :class:`FaceAggregate`."""

    attributes: BodyAttributes = BodyAttributes()
    descriptor: Descriptor | None = None


class SdkResult(Wire):
    """``images`` follow the order of the call; ``aggregate`` is set when it was asked for and a face was left, and
    ``body_aggregate`` so of bodies; ``models`` names what produced the estimations, by slot."""

    images: list[ImageResult]
    aggregate: FaceAggregate | None = None
    body_aggregate: BodyAggregate | None = None
    models: dict[str, str] = {}


class Estimator(Wire):
    """One slot of the inference service and what fills it."""

    name: str
    available: bool
    model: str | None = None
    version: str | None = None
    licence: str | None = None
    source: str | None = None
    missing: str | None = Field(default=None, description="what to install, when not available")
    descriptor_version: int | None = None
    warnings: list[str] = Field(default=[], description="what to know before relying on the model")
    provider: str | None = Field(default=None, description="library that runs the network, and its version")
    device: Literal["cpu", "cuda"] | None = Field(default=None, description="where the network really runs")
    precision: Literal["fp32", "bf16"] | None = Field(default=None, description="in which numbers it really computes")


class Capabilities(Wire):
    """What this deployment can estimate, by slot name."""

    estimators: dict[str, Estimator]
    device: Literal["cpu", "cuda"]
    precision: Literal["fp32", "bf16"]
    ready: bool
