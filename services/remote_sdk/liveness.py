"""The answer of ``POST /liveness``. Section 7.5 of the wire contract."""

from __future__ import annotations

from typing import Literal

from libs.common.wire.base import Flag, Wire
from libs.common.wire.estimations import Liveness, LivenessEstimations, Rect
from libs.common.wire.sdk import FaceResult, ImageResult, LivenessQuery, SdkResult
from services.remote_sdk.answer import Asked, Error, RejectedDetections, rejected


class FaceLiveness(Wire):
    """``prediction``: spoof, real or unknown; ``estimations``: how sure it is, and how good the picture was for it."""

    prediction: Literal["spoof", "real", "unknown"]
    estimations: LivenessEstimations
    rect: Rect


class ImageLiveness(Wire):
    filename: str
    status: Flag
    error: Error
    liveness: list[FaceLiveness]


class LivenessAggregate(Wire):
    """One verdict over all pictures; null when no face was left."""

    liveness: Liveness | None


class LivenessAnswer(Asked):
    """Faces are ordered by size, largest first; ``models`` names what was used, by slot."""

    images: list[ImageLiveness]
    aggregate_estimations: LivenessAggregate | None = None
    filtered_detections: RejectedDetections
    models: dict[str, str]


def liveness_answer(result: SdkResult, query: LivenessQuery) -> LivenessAnswer:
    """The liveness of every face, in the shape of the contract."""
    return LivenessAnswer(
        images=[_image(image) for image in result.images],
        aggregate_estimations=_aggregate(result) if query.aggregate else None,
        filtered_detections=rejected(result),
        models=result.models,
    )


def _image(image: ImageResult) -> ImageLiveness:
    faces = [person.face for person in image.persons if person.face]
    return ImageLiveness(
        filename=image.filename,
        status=image.status,
        error=Error(**image.error.model_dump()),
        liveness=[shown for face in faces if (shown := _face(face))],
    )


def _face(face: FaceResult) -> FaceLiveness | None:
    found = face.attributes.liveness
    return FaceLiveness(prediction=found.prediction, estimations=found.estimations, rect=face.rect) if found else None


def _aggregate(result: SdkResult) -> LivenessAggregate:
    return LivenessAggregate(liveness=result.aggregate.attributes.liveness if result.aggregate else None)
