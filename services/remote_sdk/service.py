"""Use cases of inference. Knows no HTTP and stores nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from libs.common.descriptors import CURRENT_FACE, vector
from libs.common.errors import Code, MienError, success_body
from libs.common.settings import SdkSettings
from libs.common.wire.estimations import Descriptor, FaceAttributes, HeadPose, Quality
from libs.common.wire.sdk import (
    Capabilities,
    ErrorBody,
    FaceAggregate,
    FaceResult,
    FilteredFace,
    Image,
    ImageResult,
    Person,
    SdkParams,
    SdkResult,
)
from services.remote_sdk.catalogue import Catalogue
from services.remote_sdk.stages.chain import Face, Seen
from services.remote_sdk.worker import Worker

M = TypeVar("M", HeadPose, Quality)


class Sdk:
    """Satisfies ``libs.common.ports.Sdk``."""

    def __init__(self, worker: Worker, catalogue: Catalogue, settings: SdkSettings) -> None:
        self._worker = worker
        self._catalogue = catalogue
        self._settings = settings

    async def capabilities(self) -> Capabilities:
        """What can be estimated here, by which models, and what is missing for the rest."""
        return Capabilities(
            estimators=self._catalogue.estimators(),
            device=self._worker.device,
            precision=self._worker.precision,
            ready=self._worker.ready,
        )

    async def require(self, params: SdkParams) -> None:
        """Raises ESTIMATOR_MISSING or ESTIMATOR_REFUSED when the parameters ask for what is not there."""
        self._catalogue.require(params)

    async def require_slot(self, name: str) -> None:
        """Raises ESTIMATOR_MISSING when no model fills the slot of the catalogue."""
        self._catalogue.require_slot(name)

    async def estimate(self, images: list[Image], params: SdkParams) -> SdkResult:
        """Detect, filter, estimate and describe. A bad image fails alone, in its own ``ImageResult``.

        ``landmarks5`` are dlib's five points: outer and inner corner of the eye on the right of the picture, the same
        of the left one, the base of the nose. The contract's mouth corners cannot be had from this model. Warps
        (``image_type`` 1) have no landmarks and no pose, so the thresholds on angles do not apply to them.

        Raises ESTIMATOR_MISSING or ESTIMATOR_REFUSED before any work, TOO_MANY images, OVERLOADED when too much is
        waiting, SEVERAL_FACES when aggregation meets an image with more than one face left.
        """
        self._catalogue.require(params)
        if len(images) > self._settings.max_images:
            raise MienError(Code.TOO_MANY, f"{len(images)} images; a request may have {self._settings.max_images}")
        outcomes = await self._worker.look(images, params)
        if params.aggregate_attributes:
            _check_one_face_each(images, outcomes)
        described = iter(await self._described(outcomes, params))
        results = []
        for image, outcome in zip(images, outcomes, strict=True):
            if isinstance(outcome, MienError):
                results.append(_failed(image, outcome))
            else:
                descriptors = [next(described) for _ in outcome.kept]
                results.append(_seen(image, outcome, descriptors, params))
        return SdkResult(
            images=results,
            aggregate=_aggregate(results) if params.aggregate_attributes else None,
            models=self._catalogue.models_for(params),
        )

    async def _described(self, outcomes: Sequence[Seen | MienError], params: SdkParams) -> list[Descriptor | None]:
        """The descriptor of every face that was kept, image after image."""
        faces = [face for outcome in outcomes if isinstance(outcome, Seen) for face in outcome.kept]
        if not params.estimate_face_descriptor:
            return [None] * len(faces)
        found = await self._worker.describe([face.chip for face in faces])
        return [_descriptor(values, face.fitness) for values, face in zip(found, faces, strict=True)]


def _descriptor(values: NDArray[np.floating], score: float) -> Descriptor:
    return Descriptor(version=CURRENT_FACE, data=values.astype("<f4").tobytes(), score=score)


def _check_one_face_each(images: list[Image], outcomes: Sequence[Seen | MienError]) -> None:
    for image, outcome in zip(images, outcomes, strict=True):
        if isinstance(outcome, Seen) and len(outcome.kept) > 1:
            raise MienError(
                Code.SEVERAL_FACES,
                f"{image.filename}: {len(outcome.kept)} faces; aggregate_attributes needs one per image, "
                "or multiface_policy 2",
            )


def _failed(image: Image, error: MienError) -> ImageResult:
    return ImageResult(filename=image.filename, status=0, error=ErrorBody(**error.body()))


def _seen(image: Image, seen: Seen, descriptors: list[Descriptor | None], params: SdkParams) -> ImageResult:
    return ImageResult(
        filename=image.filename,
        status=1,
        error=ErrorBody(**success_body()),
        exif=seen.exif,
        persons=[
            Person(face=_result(face, params, descriptor))
            for face, descriptor in zip(seen.kept, descriptors, strict=True)
        ],
        filtered=[FilteredFace(face=_result(face, params), filter_reasons=reasons) for face, reasons in seen.dropped],
    )


def _result(face: Face, params: SdkParams, descriptor: Descriptor | None = None) -> FaceResult:
    """Only what was asked for: a threshold makes an estimation without returning it."""
    points = face.landmarks if params.estimate_landmarks5 else None
    return FaceResult(
        rect=face.rect,
        score=face.score,
        landmarks5=None if points is None else [(round(float(x)), round(float(y))) for x, y in points],
        attributes=FaceAttributes(
            head_pose=face.pose if params.estimate_head_pose else None,
            quality=face.quality if params.estimate_quality else None,
        ),
        warp=face.warp if params.estimate_face_warp else None,
        descriptor=descriptor,
    )


def _aggregate(results: list[ImageResult]) -> FaceAggregate | None:
    """One person out of the only face of each image; None when no face was left."""
    faces = [person.face for result in results for person in result.persons if person.face]
    if not faces:
        return None
    descriptors = [face.descriptor for face in faces if face.descriptor]
    return FaceAggregate(
        attributes=FaceAttributes(
            head_pose=_mean([face.attributes.head_pose for face in faces if face.attributes.head_pose]),
            quality=_mean([face.attributes.quality for face in faces if face.attributes.quality]),
        ),
        descriptor=_merged(descriptors) if descriptors else None,
    )


def _mean(estimations: list[M]) -> M | None:
    """The field-wise mean of estimations that are made of numbers."""
    if not estimations:
        return None
    fields = type(estimations[0]).model_fields
    means = {name: float(np.mean([getattr(each, name) for each in estimations])) for name in fields}
    return type(estimations[0]).model_validate(means)


def _merged(descriptors: list[Descriptor]) -> Descriptor:
    """The mean of several descriptors and of their scores, each weighted by its score: a bad picture says less."""
    vectors = np.stack([vector(each.version, each.data) for each in descriptors])
    scores = np.array([each.score or 0.0 for each in descriptors])
    weights = scores if scores.any() else None
    return _descriptor(np.average(vectors, axis=0, weights=weights), float(np.average(scores, weights=weights)))
