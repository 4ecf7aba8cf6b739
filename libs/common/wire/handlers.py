"""Handlers, and the answer of an emission. Sections 8, 11 and 12 of the wire contract."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, Field, model_validator

from libs.common.clock import Time
from libs.common.ids import Id
from libs.common.wire.base import Commas, Flag, Wire
from libs.common.wire.estimations import (
    BasicAttributes,
    BodyAttributes,
    FaceAttributes,
    ImageModification,
    People,
    Pixel,
    Rect,
)
from libs.common.wire.events import Location, Tag, Word
from libs.common.wire.policies import Policies
from libs.common.wire.sdk import ErrorBody, FilterReason, ImageType

STATIC, DYNAMIC, LAMBDA = 0, 1, 2
Description = Annotated[str, Field(max_length=128)]


class HandlerDraft(Wire):
    """Body of POST and PUT /handlers. ``is_dynamic`` of older clients is understood, never emitted."""

    description: Description = ""
    handler_type: Literal[0, 1, 2] = Field(default=0, validation_alias=AliasChoices("handler_type", "is_dynamic"))
    policies: Policies | None = None
    lambda_id: Id | None = None

    @model_validator(mode="after")
    def _type_fits(self) -> Self:
        if self.handler_type == STATIC and self.policies is None:
            raise ValueError("a static handler needs policies")
        if self.handler_type == LAMBDA:
            raise ValueError("handler_type 2 (lambda) is not supported by this deployment")
        if self.lambda_id is not None:
            raise ValueError("lambda_id goes with handler_type 2 only")
        return self


class Handler(Wire):
    handler_id: Id
    account_id: Id
    description: str
    handler_type: Literal[0, 1, 2]
    lambda_id: Id | None = None
    policies: Policies | None
    version: int
    create_time: Time
    last_update_time: Time


class HandlerFilter(Wire):
    description: Description | None = Field(default=None, description="substring")
    handler_type: Annotated[int, Field(ge=0, le=2)] | None = None


class EmitQuery(Wire):
    """Query of POST /handlers/{id}/events."""

    external_id: Word | None = None
    user_data: Annotated[str, Field(max_length=128)] | None = None
    aggregate_attributes: Flag = 0
    source: Annotated[str, Field(max_length=128)] | None = None
    stream_id: Word | None = None
    track_id: Word | None = None
    tags: Annotated[list[Tag], Commas, Field(max_length=100)] = []
    city: Word | None = None
    area: Word | None = None
    district: Word | None = None
    street: Word | None = None
    house_number: Word | None = None
    latitude: float | None = Field(default=None, ge=-90, le=90)
    longitude: float | None = Field(default=None, ge=-180, le=180)
    image_type: ImageType = 0
    use_exif_info: Flag = 1

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("latitude and longitude go together")
        return self


class WholePicture(Wire):
    """Estimations of a whole picture; a key that was not estimated is null."""

    people: People | None = None
    image_modification: ImageModification | None = None


class ImageReport(Wire):
    """How one input picture fared."""

    filename: str
    status: Flag
    error: ErrorBody
    exif: dict[str, Any] | None = None
    image_estimations: WholePicture = WholePicture()


class DetectionAttributes(Wire):
    """One detection inside a sample."""

    rect: Rect
    landmarks5: list[Pixel] | None = None
    landmarks68: list[Pixel] | None = None
    attributes: FaceAttributes | BodyAttributes | None = None


class Sample(Wire):
    sample_id: Id | None = None
    url: str | None = None
    detection: DetectionAttributes


class DetectionSamples(Wire):
    face: Sample | None = None
    body: Sample | None = None


class EmittedDetection(Wire):
    filename: str
    detect_time: Time | None = None
    detect_ts: float | None = None
    image_origin: str | None = None
    samples: DetectionSamples


class EmittedFace(Wire):
    face_id: Id
    url: str
    event_id: Id
    user_data: str
    external_id: str | None
    avatar: str | None
    lists: list[Id]
    account_id: Id
    create_time: Time


class EmittedAttributes(Wire):
    attribute_id: Id | None = None
    url: str | None = None
    score: float | None = None
    basic_attributes: BasicAttributes | None = None
    samples: list[Id] = []


class EmittedMatch(Wire):
    label: str
    candidates: list[dict[str, Any]]


class AggregateEstimations(Wire):
    face: dict[str, FaceAttributes] | None = None
    body: dict[str, BodyAttributes] | None = None


class EmittedEvent(Wire):
    """One event of an emission. ``url`` is null when the event was not stored."""

    event_id: Id
    url: str | None
    external_id: str | None = None
    user_data: str | None = None
    source: str | None = None
    stream_id: str | None = None
    track_id: str | None = None
    tags: list[str] = []
    meta: dict[str, Any] | None = None
    location: Location = Location()
    face: EmittedFace | None = None
    face_attributes: EmittedAttributes | None = None
    body_attributes: EmittedAttributes | None = None
    detections: list[EmittedDetection] = []
    matches: list[EmittedMatch] | None = None
    aggregate_estimations: AggregateEstimations = AggregateEstimations()


class FilteredSample(Wire):
    detection: DetectionAttributes


class FilteredDetection(Wire):
    filename: str
    filter_reasons: list[FilterReason]
    detection: dict[str, FilteredSample]


class FilteredDetections(Wire):
    face_detections: list[FilteredDetection] = []
    body_detections: list[FilteredDetection] = []


class Emission(Wire):
    """Answer of POST /handlers/{id}/events."""

    images: list[ImageReport]
    events: list[EmittedEvent]
    filtered_detections: FilteredDetections = FilteredDetections()
