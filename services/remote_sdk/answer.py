"""The answer of ``POST /sdk``, as section 7.4 of the wire contract has it. The one place that knows this shape."""

from __future__ import annotations

from typing import Any

from pydantic import GetJsonSchemaHandler, SerializerFunctionWrapHandler, model_serializer
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from libs.common.descriptors import pack_sdk
from libs.common.wire.base import Blob, Flag, Unit, Wire
from libs.common.wire.estimations import (
    BodyAttributes,
    Descriptor,
    FaceAttributes,
    FoundObject,
    FoundPlate,
    FoundVehicle,
    ImageModification,
    ImageTag,
    People,
    Pixel,
    Portrait,
    Quality,
    Rect,
)
from libs.common.wire.sdk import (
    BodyAggregate,
    BodyResult,
    ErrorBody,
    FaceAggregate,
    FaceResult,
    FilteredBody,
    FilteredFace,
    FilterReason,
    ImageResult,
    Person,
    SdkParams,
    SdkResult,
)


class Asked(Wire):
    """A part of the answer that leaves out what was not asked for."""

    @model_serializer(mode="wrap")
    def _without_nulls(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if value is not None}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, describe: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe the fields; what a serializer returns pydantic cannot know."""
        return describe({name: part for name, part in schema.items() if name != "serialization"})  # type: ignore[arg-type]


class Attributes(FaceAttributes, Asked):
    """Estimations of a face, except its quality."""


class FaceDetection(Asked):
    """``landmarks5``: eyes, tip of the nose, corners of the mouth, each that on the left of the picture first; of a
    detector that does not find those, dlib's five: outer and inner corner of the eye on the right of the picture, the
    same of the left one, the base of the nose."""

    rect: Rect
    score: Unit
    landmarks5: list[Pixel] | None = None
    landmarks68: list[Pixel] | None = None
    quality: Quality | None = None
    portrait: Portrait | None = None
    attributes: Attributes


class SdkDescriptor(Asked):
    """``sdk_descriptor``: 8 bytes of header (the version in bytes 4..7) and the vector in little-endian float32."""

    score: Unit | None = None
    sdk_descriptor: Blob
    version: int


class FaceAnswer(Asked):
    detection: FaceDetection
    warp: Blob | None = None
    descriptor: SdkDescriptor | None = None


class BodyAttributesAnswer(BodyAttributes, Asked):
    """Estimations of a body."""


class BodyDetection(Asked):
    rect: Rect
    score: Unit
    attributes: BodyAttributesAnswer


class BodyAnswer(Asked):
    detection: BodyDetection
    warp: Blob | None = None
    descriptor: SdkDescriptor | None = None


class Estimation(Wire):
    """One person. A face without a body has ``body`` null, and the reverse."""

    face: FaceAnswer | None
    body: BodyAnswer | None


class Error(Asked, ErrorBody):
    """Code 0 for a picture that did not fail."""


class PeopleAnswer(People, Asked):
    """Everybody in a picture."""


class ImageEstimations(Asked):
    """Estimations of a whole picture."""

    people: PeopleAnswer | None = None
    image_modification: ImageModification | None = None
    objects: list[FoundObject] | None = None
    vehicles: list[FoundVehicle] | None = None
    tags: list[ImageTag] | None = None
    plates: list[FoundPlate] | None = None


class ImageAnswer(Asked):
    filename: str
    status: Flag
    error: Error
    exif: dict[str, Any] | None = None
    image_estimations: ImageEstimations
    estimations: list[Estimation]


class AggregateFace(Asked):
    attributes: Attributes
    quality: Quality | None = None
    descriptor: SdkDescriptor | None = None


class AggregateBody(Asked):
    attributes: BodyAttributesAnswer
    descriptor: SdkDescriptor | None = None


class Aggregate(Wire):
    face: AggregateFace | None
    body: AggregateBody | None


class RejectedSample(Wire):
    detection: FaceDetection


class RejectedFace(Wire):
    sample: RejectedSample


class RejectedDetection(Wire):
    """A face that was found and rejected, nested as in the answer of generate-events."""

    filename: str
    detection: RejectedFace
    filter_reasons: list[FilterReason]


class RejectedBodySample(Wire):
    detection: BodyDetection


class RejectedBody(Wire):
    sample: RejectedBodySample


class RejectedBodyDetection(Wire):
    """As :class:`RejectedDetection`."""

    filename: str
    detection: RejectedBody
    filter_reasons: list[FilterReason]


class RejectedDetections(Wire):
    face_detections: list[RejectedDetection]
    body_detections: list[RejectedBodyDetection]


class SdkAnswer(Asked):
    """``models`` names what produced the estimations, by slot."""

    images_estimations: list[ImageAnswer]
    aggregate_estimations: Aggregate | None = None
    filtered_detections: RejectedDetections
    models: dict[str, str]


def answer(result: SdkResult, params: SdkParams) -> SdkAnswer:
    """What inference found, in the shape of the contract."""
    return SdkAnswer(
        images_estimations=[_image(image) for image in result.images],
        aggregate_estimations=_aggregate(result) if params.aggregate_attributes else None,
        filtered_detections=rejected(result),
        models=result.models,
    )


def rejected(result: SdkResult) -> RejectedDetections:
    """Faces and bodies that were found and did not pass the filters, with the reasons."""
    return RejectedDetections(
        face_detections=[_filtered(image.filename, each) for image in result.images for each in image.filtered],
        body_detections=[
            _filtered_body(image.filename, each) for image in result.images for each in image.filtered_bodies
        ],
    )


def _filtered(filename: str, found: FilteredFace) -> RejectedDetection:
    sample = RejectedSample(detection=_detection(found.face))
    return RejectedDetection(
        filename=filename, detection=RejectedFace(sample=sample), filter_reasons=found.filter_reasons
    )


def _filtered_body(filename: str, found: FilteredBody) -> RejectedBodyDetection:
    sample = RejectedBodySample(detection=_body_detection(found.body))
    return RejectedBodyDetection(
        filename=filename, detection=RejectedBody(sample=sample), filter_reasons=found.filter_reasons
    )


def _image(image: ImageResult) -> ImageAnswer:
    return ImageAnswer(
        filename=image.filename,
        status=image.status,
        error=Error(**image.error.model_dump()),
        exif=image.exif,
        image_estimations=_image_estimations(image),
        estimations=[_estimation(person) for person in image.persons],
    )


def _image_estimations(image: ImageResult) -> ImageEstimations:
    found = dict(image.estimations)
    people = PeopleAnswer(**dict(found["people"])) if found["people"] else None
    return ImageEstimations(**{**found, "people": people})


def _estimation(person: Person) -> Estimation:
    return Estimation(
        face=_face(person.face) if person.face else None, body=_body(person.body) if person.body else None
    )


def _face(face: FaceResult) -> FaceAnswer:
    return FaceAnswer(detection=_detection(face), warp=face.warp, descriptor=_descriptor(face.descriptor))


def _detection(face: FaceResult) -> FaceDetection:
    return FaceDetection(
        rect=face.rect,
        score=face.score,
        landmarks5=face.landmarks5,
        landmarks68=face.landmarks68,
        quality=face.attributes.quality,
        portrait=face.portrait,
        attributes=_attributes(face.attributes),
    )


def _attributes(attributes: FaceAttributes) -> Attributes:
    return Attributes(**{**dict(attributes), "quality": None})


def _body(body: BodyResult) -> BodyAnswer:
    return BodyAnswer(detection=_body_detection(body), warp=body.warp, descriptor=_descriptor(body.descriptor))


def _body_detection(body: BodyResult) -> BodyDetection:
    return BodyDetection(rect=body.rect, score=body.score, attributes=_body_attributes(body.attributes))


def _body_attributes(attributes: BodyAttributes) -> BodyAttributesAnswer:
    return BodyAttributesAnswer(**dict(attributes))


def _aggregate(result: SdkResult) -> Aggregate:
    face, body = result.aggregate, result.body_aggregate
    return Aggregate(face=_aggregate_face(face) if face else None, body=_aggregate_body(body) if body else None)


def _aggregate_face(face: FaceAggregate) -> AggregateFace:
    return AggregateFace(
        attributes=_attributes(face.attributes),
        quality=face.attributes.quality,
        descriptor=_descriptor(face.descriptor),
    )


def _aggregate_body(body: BodyAggregate) -> AggregateBody:
    return AggregateBody(attributes=_body_attributes(body.attributes), descriptor=_descriptor(body.descriptor))


def _descriptor(descriptor: Descriptor | None) -> SdkDescriptor | None:
    if descriptor is None:
        return None
    packed = pack_sdk(descriptor.version, descriptor.data)
    return SdkDescriptor(score=descriptor.score, sdk_descriptor=packed, version=descriptor.version)
