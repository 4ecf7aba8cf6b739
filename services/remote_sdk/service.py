"""Use cases of inference. Knows no HTTP and stores nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from libs.common.errors import Code, MienError, success_body
from libs.common.settings import SdkSettings
from libs.common.wire.estimations import (
    BodyAttributes,
    Descriptor,
    FaceAttributes,
    FoundObject,
    FoundPlate,
    FoundVehicle,
    ImageEstimations,
)
from libs.common.wire.sdk import (
    BodyResult,
    Capabilities,
    ErrorBody,
    FaceResult,
    FilteredBody,
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
from services.remote_sdk.reach import reaching
from services.remote_sdk.slots import BODY_FIELDS, FACE_FIELDS
from services.remote_sdk.stages.bodies import Body
from services.remote_sdk.stages.chain import Face, Seen, Sighting
from services.remote_sdk.stages.rules import reasons_to_drop, reasons_to_drop_body, verdict
from services.remote_sdk.stages.surroundings import Around, Thing
from services.remote_sdk.turns import AT_ONCE, in_turn
from services.remote_sdk.worker import Worker

T = TypeVar("T")


class Sdk:
    """Satisfies ``libs.common.ports.Sdk``."""

    def __init__(self, worker: Worker, catalogue: Catalogue, settings: SdkSettings) -> None:
        self._worker = worker
        self._catalogue = catalogue
        self._settings = settings
        self._at_once = max(AT_ONCE, 2 * (settings.workers or os.cpu_count() or 1))

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
        judged = await self._judged(await self._looked(images, params), params)
        described = iter(await self._described(judged, params))
        results = []
        for image, outcome in zip(images, judged, strict=True):
            if isinstance(outcome, MienError):
                results.append(_failed(image, outcome))
            else:
                results.append(_seen(image, outcome, described, params))
        return SdkResult(
            images=results,
            aggregate=aggregated_face(results, params) if params.aggregate_attributes else None,
            body_aggregate=aggregated_body(results) if params.aggregate_attributes else None,
            models=self._catalogue.models_for(reaching(params)),
        )

    async def _looked(self, images: Sequence[Image], params: SdkParams) -> list[Seen | MienError]:
        """What is in each picture, in order; of many pictures only some wait at a time. Raises OVERLOADED."""
        models, describe = self._catalogue.chosen_for(params), bool(params.estimate_face_descriptor)

        async def look(some: Sequence[Image]) -> list[Seen | MienError]:
            return await self._worker.look(list(some), params, models, describe=describe)

        return await in_turn(images, look, self._at_once)

    async def _judged(self, outcomes: Sequence[Seen | MienError], params: SdkParams) -> list[_Judged | MienError]:
        """Everything estimated, and the faces and bodies that thresholds and states reject set apart."""
        everything = [each for seen in _good(outcomes) for each in (*seen.faces, *seen.bodies, *seen.around.things)]
        findings = await self._worker.estimate(everything)
        found = {id(each): its for each, its in zip(everything, findings, strict=True)}
        return [each if isinstance(each, MienError) else _judge(each, found, params) for each in outcomes]

    async def _described(self, judged: Sequence[_Judged | MienError], params: SdkParams) -> list[Descriptor | None]:
        """The descriptor of every face that was kept, image after image."""
        faces = [one.face for each in _good(judged) for one in each.kept if one.face]
        if not params.estimate_face_descriptor:
            return [None] * len(faces)
        version, found = self._worker.descriptor_version, await self._worker.describe(faces)
        return [_descriptor(version, values, face.fitness) for values, face in zip(found, faces, strict=True)]


Found = Mapping[int, Findings]
"""What was found of each face, body and thing, by its identity."""


class _Judged(NamedTuple):
    """One picture: who stays, without the faces and bodies that do not, and those with the reasons."""

    seen: Seen
    found: Found
    kept: list[Sighting]
    dropped: list[tuple[Face, list[FilterReason]]]
    dropped_bodies: list[tuple[Body, list[FilterReason]]]


def _good(outcomes: Sequence[T | MienError]) -> Iterator[T]:
    return (outcome for outcome in outcomes if not isinstance(outcome, MienError))


def _judge(seen: Seen, found: Found, params: SdkParams) -> _Judged:
    judged = _Judged(seen, found, [], [], [])
    for one in seen.people:
        face, body = one.face, one.body
        if face and (reasons := _reasons_for_face(face, found[id(face)], params)):
            judged.dropped.append((face, reasons))
            face = None
        if body and (reasons := reasons_to_drop_body(body.fitness, params)):
            judged.dropped_bodies.append((body, reasons))
            body = None
        if face or body:
            judged.kept.append(Sighting(face, body))
    judged.kept.sort(key=lambda one: one.face is None)  # who lost a face comes after those who have one
    return judged


def _reasons_for_face(face: Face, found: Findings, params: SdkParams) -> list[FilterReason]:
    if liveness := found.get("liveness"):
        found["liveness"] = verdict(liveness, params)
    return reasons_to_drop(found, face.fitness, params)


def _descriptor(version: int, values: NDArray[np.floating], score: float) -> Descriptor:
    return Descriptor(version=version, data=values.astype("<f4").tobytes(), score=score)


def _failed(image: Image, error: MienError) -> ImageResult:
    return ImageResult(filename=image.filename, status=0, error=ErrorBody(**error.body()))


def _seen(image: Image, judged: _Judged, described: Iterator[Descriptor | None], params: SdkParams) -> ImageResult:
    """``described`` gives the descriptors of the faces that were kept."""
    found = judged.found
    return ImageResult(
        filename=image.filename,
        status=1,
        error=ErrorBody(**success_body()),
        exif=judged.seen.exif,
        estimations=_around(judged.seen.around, found, params),
        persons=[
            Person(
                face=_result(one.face, found[id(one.face)], params, next(described)) if one.face else None,
                body=_body(one.body, found[id(one.body)], params) if one.body else None,
            )
            for one in judged.kept
        ],
        filtered=[
            FilteredFace(face=_result(face, found[id(face)], params), filter_reasons=reasons)
            for face, reasons in judged.dropped
        ],
        filtered_bodies=[
            FilteredBody(body=_body(body, found[id(body)], params), filter_reasons=reasons)
            for body, reasons in judged.dropped_bodies
        ],
    )


def _around(around: Around, found: Found, params: SdkParams) -> ImageEstimations:
    vehicles, plates = around.vehicles, around.plates
    return ImageEstimations(
        people=around.people,
        objects=None if around.objects is None else [_object(each) for each in around.objects],
        vehicles=None if vehicles is None else [_vehicle(each, found[id(each)]) for each in vehicles],
        tags=found[id(around.whole)]["tags"] if around.whole else None,
        plates=None if plates is None else [FoundPlate(rect=each.rect, **found[id(each)]) for each in plates],
    )


def _object(thing: Thing) -> FoundObject:
    return FoundObject(rect=thing.rect, score=thing.score, label=thing.label)


def _vehicle(thing: Thing, found: Findings) -> FoundVehicle:
    return FoundVehicle(rect=thing.rect, score=thing.score, type=thing.label, color=found.get("color"))


def _body(body: Body, found: Findings, params: SdkParams) -> BodyResult:
    descriptor: Descriptor | None = found.get("descriptor") if params.estimate_body_descriptor else None
    return BodyResult(
        rect=body.rect,
        score=body.score,
        attributes=BodyAttributes(
            **{field: found.get(field) for flag, field in BODY_FIELDS.items() if getattr(params, flag)}
        ),
        warp=body.warp,
        descriptor=descriptor.model_copy(update={"score": body.fitness}) if descriptor else None,
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
