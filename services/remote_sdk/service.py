"""Use cases of inference. Knows no HTTP and stores nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from libs.common.errors import Code, MienError, success_body
from libs.common.settings import SdkSettings
from libs.common.wire.estimations import Descriptor, FaceAttributes
from libs.common.wire.sdk import (
    Capabilities,
    ErrorBody,
    FaceResult,
    FilteredFace,
    FilterReason,
    Image,
    ImageResult,
    Person,
    SdkParams,
    SdkResult,
)
from services.remote_sdk.aggregation import aggregated_body, aggregated_face
from services.remote_sdk.catalogue import Catalogue
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.slots import FACE_FIELDS
from services.remote_sdk.stages.chain import Face, Seen
from services.remote_sdk.stages.rules import reasons_to_drop, verdict
from services.remote_sdk.worker import Worker

T = TypeVar("T")


class Sdk:
    """Satisfies ``libs.common.ports.Sdk``."""

    def __init__(self, worker: Worker, catalogue: Catalogue, settings: SdkSettings) -> None:
        self._worker = worker
        self._catalogue = catalogue
        self._settings = settings

    async def capabilities(self) -> Capabilities:
        """What can be estimated here, by which models, and what is missing for the rest."""
        return Capabilities(
            estimators=self._catalogue.estimators(self._worker.where),
            device=self._worker.runs.device,
            precision=self._worker.runs.precision,
            ready=self._worker.ready,
        )

    async def require(self, params: SdkParams) -> None:
        """Raises ESTIMATOR_MISSING or ESTIMATOR_REFUSED when the parameters ask for what is not there."""
        self._catalogue.require(params)

    async def estimate(self, images: list[Image], params: SdkParams) -> SdkResult:
        """Detect, filter, estimate and describe. A bad image fails alone, in its own ``ImageResult``.

        ``landmarks5`` are the contract's, eyes, tip of the nose and corners of the mouth, where the detector finds
        them; dlib's detector does not, and then they are dlib's five: outer and inner corner of the eye on the right
        of the picture, the same of the left one, the base of the nose. Warps (``image_type`` 1) have no landmarks and
        no pose, so the thresholds on angles do not apply to them.

        Raises ESTIMATOR_MISSING or ESTIMATOR_REFUSED before any work, TOO_MANY images, OVERLOADED when too much is
        waiting, SEVERAL_FACES or SEVERAL_BODIES when aggregation meets an image with more than one left.
        """
        self._catalogue.require(params)
        if len(images) > self._settings.max_images:
            raise MienError(Code.TOO_MANY, f"{len(images)} images; a request may have {self._settings.max_images}")
        describe = bool(params.estimate_face_descriptor)
        outcomes = await self._worker.look(images, params, self._catalogue.chosen_for(params), describe=describe)
        judged = await self._judged(outcomes, params)
        described = iter(await self._described(judged, params))
        results = []
        for image, outcome in zip(images, judged, strict=True):
            if isinstance(outcome, MienError):
                results.append(_failed(image, outcome))
            else:
                descriptors = [next(described) for _ in outcome.kept]
                results.append(_seen(image, outcome, descriptors, params))
        return SdkResult(
            images=results,
            aggregate=aggregated_face(results, params) if params.aggregate_attributes else None,
            body_aggregate=aggregated_body(results) if params.aggregate_attributes else None,
            models=self._catalogue.models_for(params),
        )

    async def _judged(self, outcomes: Sequence[Seen | MienError], params: SdkParams) -> list[_Judged | MienError]:
        """Everything estimated, and the faces that thresholds and states reject set apart."""
        findings = iter(await self._worker.estimate([face for seen in _good(outcomes) for face in seen.faces]))
        judged: list[_Judged | MienError] = []
        for outcome in outcomes:
            if isinstance(outcome, MienError):
                judged.append(outcome)
            else:
                judged.append(_judge(outcome, [next(findings) for _ in outcome.faces], params))
        return judged

    async def _described(self, judged: Sequence[_Judged | MienError], params: SdkParams) -> list[Descriptor | None]:
        """The descriptor of every face that was kept, image after image."""
        faces = [face for each in _good(judged) for face, _ in each.kept]
        if not params.estimate_face_descriptor:
            return [None] * len(faces)
        version, found = self._worker.descriptor_version, await self._worker.describe(faces)
        return [_descriptor(version, values, face.fitness) for values, face in zip(found, faces, strict=True)]


class _Judged(NamedTuple):
    """One picture: the faces that stay, with what was found of each, and those that do not, with the reasons."""

    exif: dict[str, Any] | None
    kept: list[tuple[Face, Findings]]
    dropped: list[tuple[Face, Findings, list[FilterReason]]]


def _good(outcomes: Sequence[T | MienError]) -> Iterator[T]:
    return (outcome for outcome in outcomes if not isinstance(outcome, MienError))


def _judge(seen: Seen, findings: list[Findings], params: SdkParams) -> _Judged:
    judged = _Judged(seen.exif, [], [])
    for face, found in zip(seen.faces, findings, strict=True):
        if liveness := found.get("liveness"):
            found["liveness"] = verdict(liveness, params)
        if reasons := reasons_to_drop(found, face.fitness, params):
            judged.dropped.append((face, found, reasons))
        else:
            judged.kept.append((face, found))
    return judged


def _descriptor(version: int, values: NDArray[np.floating], score: float) -> Descriptor:
    return Descriptor(version=version, data=values.astype("<f4").tobytes(), score=score)


def _failed(image: Image, error: MienError) -> ImageResult:
    return ImageResult(filename=image.filename, status=0, error=ErrorBody(**error.body()))


def _seen(image: Image, judged: _Judged, descriptors: list[Descriptor | None], params: SdkParams) -> ImageResult:
    return ImageResult(
        filename=image.filename,
        status=1,
        error=ErrorBody(**success_body()),
        exif=judged.exif,
        persons=[
            Person(face=_result(face, found, params, descriptor))
            for (face, found), descriptor in zip(judged.kept, descriptors, strict=True)
        ],
        filtered=[
            FilteredFace(face=_result(face, found, params), filter_reasons=reasons)
            for face, found, reasons in judged.dropped
        ],
    )


def _result(face: Face, found: Findings, params: SdkParams, descriptor: Descriptor | None = None) -> FaceResult:
    """Only what was asked for: a threshold makes an estimation without returning it."""
    points = face.landmarks if params.estimate_landmarks5 else None
    return FaceResult(
        rect=face.rect,
        score=face.score,
        landmarks5=None if points is None else [(round(float(x)), round(float(y))) for x, y in points],
        landmarks68=found.get("landmarks68") if params.estimate_landmarks68 else None,
        attributes=FaceAttributes(
            **{field: found.get(field) for flag, field in FACE_FIELDS.items() if getattr(params, flag)}
        ),
        portrait=found.get("portrait"),
        warp=face.warp,
        descriptor=descriptor,
    )
