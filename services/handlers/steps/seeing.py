"""Steps that find out who is in the pictures."""

from __future__ import annotations

from libs.common.ids import new_id
from libs.common.wire.estimations import FaceAttributes
from libs.common.wire.handlers import DetectionAttributes, FilteredDetection, FilteredSample
from libs.common.wire.sdk import BodyResult, FaceResult, FilterReason, ImageResult, Person, SdkParams
from services.handlers import requirements
from services.handlers.emission import Draft, Emission, Picture, Seen
from services.handlers.face_checks import examine
from services.handlers.ports import Services


async def detect(emission: Emission, services: Services) -> None:
    """Detect, filter and describe everything in one inference call; drafts follow images, then size."""
    usable = [(index, picture) for index, picture in enumerate(emission.pictures) if picture.image]
    if not usable:
        return
    result = await services.sdk.estimate([picture.image for _, picture in usable if picture.image], _params(emission))
    seen: list[Seen] = []
    for (index, picture), image in zip(usable, result.images, strict=True):
        emission.results[index] = image
        emission.filtered += [_filtered(picture, face.face, face.filter_reasons) for face in image.filtered]
        bodies = image.filtered_bodies
        emission.filtered_bodies += [_filtered(picture, body.body, body.filter_reasons) for body in bodies]
        seen += _seen(picture, image)
    if not emission.query.aggregate_attributes:
        emission.drafts = [_draft(emission, [one]) for one in seen]
    elif seen:
        draft = _draft(emission, seen)
        if face := result.aggregate:
            draft.attributes, draft.descriptor = face.attributes, face.descriptor
        if body := result.body_aggregate:
            draft.body_attributes, draft.body_descriptor = body.attributes, body.descriptor
        emission.drafts = [draft]


def _params(emission: Emission) -> SdkParams:
    query = emission.query
    return requirements.sdk_params(
        emission.policies, query.image_type, query.use_exif_info, aggregate=query.aggregate_attributes
    )


def _seen(picture: Picture, image: ImageResult) -> list[Seen]:
    """The detections of one picture. A picture that came as a stored sample keeps that sample's id."""
    sample = picture.sample_id
    return [
        Seen(
            picture,
            person,
            face_sample=sample if person.face else None,
            body_sample=sample if person.body and not person.face else None,
        )
        for person in image.persons
    ]


def _draft(emission: Emission, seen: list[Seen]) -> Draft:
    face, body = seen[0].person.face, seen[0].person.body
    return Draft(
        event_id=new_id(),
        seen=seen,
        attributes=face.attributes if face else FaceAttributes(),
        descriptor=face.descriptor if face else None,
        body_attributes=body.attributes if body else None,
        body_descriptor=body.descriptor if body else None,
        tags=list(dict.fromkeys(emission.query.tags)),
    )


def _filtered(picture: Picture, found: FaceResult | BodyResult, reasons: list[FilterReason]) -> FilteredDetection:
    detection = DetectionAttributes(rect=found.rect, attributes=found.attributes)
    return FilteredDetection(
        filename=picture.filename,
        filter_reasons=reasons,
        detection={"sample": FilteredSample(detection=detection)},
    )


async def check_faces(emission: Emission, services: Services) -> None:
    """Examine faces by the ``face_quality`` policy; with its filter on, those that fail are rejected and, as with every
    other filter, leave their bodies."""
    policy = emission.policies.detect_policy.face_quality
    if not policy.estimate:
        return
    for draft in emission.drafts:
        for seen in draft.seen:
            if seen.person.face:
                seen.person.face.attributes.face_quality = examine(seen.person.face, policy)
        if policy.filter:
            await _reject(emission, draft, services)
        faces = [seen.person.face for seen in draft.seen if seen.person.face]
        if faces:
            draft.attributes.face_quality = faces[0].attributes.face_quality
    emission.drafts = [draft for draft in emission.drafts if draft.seen]


async def _reject(emission: Emission, draft: Draft, services: Services) -> None:
    """Take out of the draft the faces that failed, and what was estimated of them."""
    failed = [seen for seen in draft.seen if _fails(seen)]
    if not failed:
        return
    for seen in failed:
        emission.filtered.append(_failure(seen))
        seen.person, seen.face_sample = Person(body=seen.person.body), None
    draft.seen = [seen for seen in draft.seen if seen.person.face or seen.person.body]
    draft.attributes, draft.descriptor = FaceAttributes(), None
    left = [seen.picture.image for seen in draft.seen if seen.person.face and seen.picture.image]
    if left:  # several pictures of an aggregation: only inference can say what those that are left have in common
        result = await services.sdk.estimate(left, _params(emission))
        if face := result.aggregate:
            draft.attributes, draft.descriptor = face.attributes, face.descriptor


def _fails(seen: Seen) -> bool:
    face = seen.person.face
    return bool(face and face.attributes.face_quality and not face.attributes.face_quality.status)


def _failure(seen: Seen) -> FilteredDetection:
    face = seen.person.face
    assert face is not None
    assert face.attributes.face_quality is not None
    reasons = [
        FilterReason(filter_name=check.name, object_value=check.object_value, threshold_value=check.threshold)
        for check in face.attributes.face_quality.checks
        if not check.result
    ]
    return _filtered(seen.picture, face, reasons)
