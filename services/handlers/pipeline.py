"""The steps of one emission, in the order of section 10 of the wire contract.

Every step works on the whole emission, so that each service is called once per step and call, not per face.
A step that stores something also says how to undo it; when a later step fails, what was stored is undone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter

from libs.common import event_rules
from libs.common.bus.port import Bus, Message
from libs.common.bus.topics import CALLBACKS, EVENTS_NOTIFY, EVENTS_SAVE
from libs.common.errors import Code, MienError
from libs.common.ids import Id, new_id
from libs.common.ports import Events, Faces, Images, Matcher, Sdk
from libs.common.wire.base import chunks
from libs.common.wire.estimations import Descriptor, FaceAttributes
from libs.common.wire.events import Event
from libs.common.wire.faces import (
    AttributeData,
    AttributeDraft,
    DescriptorDraft,
    FaceDraft,
    StoredBasicAttributes,
    TemporaryAttributeDraft,
)
from libs.common.wire.handlers import DetectionAttributes, FilteredDetection, FilteredSample
from libs.common.wire.images import BODY_SAMPLES, FACE_SAMPLES, ORIGINS, ImageDraft, image_path
from libs.common.wire.matcher import (
    MAX_REFERENCES,
    CandidateBlock,
    MatchRequest,
    RawDescriptor,
    RawReference,
)
from libs.common.wire.policies import Callback, Filters, MatchPolicy
from libs.common.wire.sdk import FaceResult, FilterReason, ImageResult
from services.handlers import requirements
from services.handlers.emission import Draft, Emission, Picture, Seen
from services.handlers.face_checks import examine
from services.handlers.filters import passes
from services.handlers.records import emitted, stored_event

log = logging.getLogger("mien.handlers")
UNTOLD = Counter("mien_events_untold_total", "Events whose notification the bus refused", ["topic"])


@dataclass(frozen=True)
class Services:
    """Whom the steps call."""

    sdk: Sdk
    faces: Faces
    events: Events
    images: Images
    matcher: Matcher
    bus: Bus


async def run(emission: Emission, services: Services) -> None:
    """All steps in order. What a failing or cancelled call had stored is undone before the error leaves."""
    try:
        for step in STEPS:
            await step(emission, services)
    except (Exception, asyncio.CancelledError):
        await _undo(emission)
        raise


async def _undo(emission: Emission) -> None:
    for undo in reversed(emission.undo):
        try:
            await undo()
        except Exception:  # the others are to be undone all the same, and the caller is to learn the first failure
            log.exception("could not undo a part of a failed emission")


async def detect(emission: Emission, services: Services) -> None:
    """Detect, filter and describe everything in one inference call; drafts follow images, then size."""
    query = emission.query
    params = requirements.sdk_params(
        emission.policies, query.image_type, query.use_exif_info, aggregate=query.aggregate_attributes
    )
    usable = [(index, picture) for index, picture in enumerate(emission.pictures) if picture.image]
    if not usable:
        return
    result = await services.sdk.estimate([picture.image for _, picture in usable if picture.image], params)
    seen: list[Seen] = []
    for (index, picture), image in zip(usable, result.images, strict=True):
        emission.results[index] = image
        emission.filtered += [_filtered(picture, face.face, face.filter_reasons) for face in image.filtered]
        seen += _seen(picture, image)
    if not query.aggregate_attributes:
        emission.drafts = [_draft(emission, [one]) for one in seen]
    elif seen:
        aggregate = result.aggregate
        draft = _draft(emission, seen)
        if aggregate:
            draft.attributes, draft.descriptor = aggregate.attributes, aggregate.descriptor
        emission.drafts = [draft]


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
        body_descriptor=body.descriptor if body else None,
        tags=list(dict.fromkeys(emission.query.tags)),
    )


def _filtered(picture: Picture, face: FaceResult, reasons: list[FilterReason]) -> FilteredDetection:
    detection = DetectionAttributes(rect=face.rect, attributes=face.attributes)
    return FilteredDetection(
        filename=picture.filename,
        filter_reasons=reasons,
        detection={"sample": FilteredSample(detection=detection)},
    )


async def check_faces(emission: Emission, _: Services) -> None:
    """Examine faces by the ``face_quality`` policy; with its filter on, those that fail are rejected."""
    policy = emission.policies.detect_policy.face_quality
    if not policy.estimate:
        return
    for draft in emission.drafts:
        for seen in draft.seen:
            if seen.person.face:
                seen.person.face.attributes.face_quality = examine(seen.person.face, policy)
        if policy.filter:
            draft.seen = [seen for seen in draft.seen if not _rejected(emission, seen)]
        faces = [seen.person.face for seen in draft.seen if seen.person.face]
        if faces:
            draft.attributes.face_quality = faces[0].attributes.face_quality
    emission.drafts = [draft for draft in emission.drafts if draft.seen]


def _rejected(emission: Emission, seen: Seen) -> bool:
    face = seen.person.face
    if face is None or face.attributes.face_quality is None or face.attributes.face_quality.status:
        return False
    reasons = [
        FilterReason(filter_name=check.name, object_value=check.object_value, threshold_value=check.threshold)
        for check in face.attributes.face_quality.checks
        if not check.result
    ]
    emission.filtered.append(_filtered(seen.picture, face, reasons))
    return True


async def match(emission: Emission, services: Services) -> None:
    """Run every search for the drafts that pass its filters, all of them in one call."""
    for policy in emission.policies.match_policy:
        wanted = [draft for draft in emission.drafts if _searched(draft, policy)]
        for some in chunks(wanted, MAX_REFERENCES):
            await _search(emission, services, policy, some)


def _searched(draft: Draft, policy: MatchPolicy) -> bool:
    return _descriptor(draft, policy) is not None and passes(policy.filters, draft.facts())


def _descriptor(draft: Draft, policy: MatchPolicy) -> Descriptor | None:
    return draft.descriptor if policy.descriptor == "face" else draft.body_descriptor


async def _search(emission: Emission, services: Services, policy: MatchPolicy, drafts: list[Draft]) -> None:
    references = [_reference(draft, policy) for draft in drafts]
    block = CandidateBlock(
        filters=policy.candidates, limit=policy.limit, threshold=policy.threshold, targets=_targets(policy)
    )
    request = MatchRequest(references=list(references), candidates=[block])
    ask = services.matcher.match_faces if policy.descriptor == "face" else services.matcher.match_bodies
    for draft, answer in zip(drafts, await ask(emission.account, request), strict=True):
        draft.matches[policy.label] = answer.matches[0].result


def _reference(draft: Draft, policy: MatchPolicy) -> RawReference:
    descriptor = _descriptor(draft, policy)
    assert descriptor is not None
    return RawReference(
        type="raw_descriptor",
        id=draft.event_id,
        data=RawDescriptor(descriptor=descriptor.data, version=descriptor.version),
    )


def _targets(policy: MatchPolicy) -> list[str]:
    """The asked keys, and the ids, which the event's top match needs; records drop what was not asked."""
    kind = policy.candidates.origin.removesuffix("s")
    needed = [f"{kind}_id"] if kind == "attribute" else [f"{kind}_id", "external_id"]
    return list(dict.fromkeys([*requirements.targets_of(policy), *needed]))


async def tag(emission: Emission, _: Services) -> None:
    """Conditional tags, after those of the query, none twice."""
    for draft in emission.drafts:
        facts = draft.facts()
        for rule in emission.policies.conditional_tags_policy:
            if rule.tag not in draft.tags and passes(rule.filters, facts):
                draft.tags.append(rule.tag)


async def store_samples(emission: Emission, services: Services) -> None:
    """Warps of faces and bodies, unless the picture already was a stored sample."""
    storage = emission.policies.storage_policy
    faces: list[ImageDraft] = []
    bodies: list[ImageDraft] = []
    for draft in _passing(emission, storage.face_sample_policy.store_sample, storage.face_sample_policy.filters):
        for seen in draft.seen:
            face = seen.person.face
            if face and face.warp and not seen.face_sample:
                seen.face_sample = new_id()
                faces.append(ImageDraft(bucket=FACE_SAMPLES, image_id=seen.face_sample, data=face.warp))
    for draft in _passing(emission, storage.body_sample_policy.store_sample, storage.body_sample_policy.filters):
        for seen in draft.seen:
            body = seen.person.body
            if body and body.warp and not seen.body_sample:
                seen.body_sample = new_id()
                bodies.append(ImageDraft(bucket=BODY_SAMPLES, image_id=seen.body_sample, data=body.warp))
    await _put(emission, services, faces + bodies)


async def store_origins(emission: Emission, services: Services) -> None:
    """Each source picture once, however many of its faces pass."""
    policy = emission.policies.storage_policy.image_origin_policy
    origins: list[ImageDraft] = []
    for draft in _passing(emission, policy.store_image, policy.filters):
        for picture in (seen.picture for seen in draft.seen):
            if picture.image and not picture.image_origin:
                image_id = new_id()
                picture.image_origin = image_path(ORIGINS, image_id)
                origins.append(ImageDraft(bucket=ORIGINS, image_id=image_id, data=picture.image.data))
    await _put(emission, services, origins)


async def _put(emission: Emission, services: Services, images: list[ImageDraft]) -> None:
    if not images:
        return
    for bucket in {image.bucket for image in images}:
        ids = [image.image_id for image in images if image.bucket == bucket]
        emission.undo.append(lambda bucket=bucket, ids=ids: services.images.delete(emission.account, bucket, ids))
    await services.images.put(emission.account, images)


async def store_attributes(emission: Emission, services: Services) -> None:
    """Temporary attributes, with the policy's time to live."""
    policy = emission.policies.storage_policy.attribute_policy
    drafts = [draft for draft in _passing(emission, policy.store_attribute, policy.filters) if draft.has_face]
    if not drafts:
        return
    for draft in drafts:
        draft.attribute_id = new_id()
    ids = [draft.attribute_id for draft in drafts if draft.attribute_id]
    emission.undo.append(lambda: services.faces.delete_attributes(emission.account, ids))
    await services.faces.create_attributes(
        emission.account,
        [
            TemporaryAttributeDraft(**dict(_attribute(draft)), attribute_id=draft.attribute_id, ttl=policy.ttl)
            for draft in drafts
        ],
    )


def _attribute(draft: Draft) -> AttributeData:
    """What a face or a temporary attribute keeps of a draft."""
    descriptors = []
    if found := draft.descriptor:
        descriptors = [DescriptorDraft(descriptor=found.data, version=found.version, score=found.score)]
    basic = None
    if draft.attributes.basic_attributes:
        facts = draft.facts()
        basic = StoredBasicAttributes.model_validate(
            {"age": facts.age, "gender": facts.gender, "ethnicity": facts.ethnicity}
        )
    return AttributeData(
        basic_attributes=basic,
        descriptors=descriptors,
        face_descriptor_samples=draft.face_samples if descriptors else [],
        basic_attributes_samples=draft.face_samples if basic else [],
    )


async def store_faces(emission: Emission, services: Services) -> None:
    """New faces, linked to the lists whose own filters pass."""
    policy = emission.policies.storage_policy.face_policy
    drafts = [draft for draft in _passing(emission, policy.store_face, policy.filters) if draft.has_face]
    if not drafts:
        return
    wanted = [_face(emission, draft) for draft in drafts]
    ids: list[Id] = [face.face_id for face in wanted if face.face_id]
    emission.undo.append(lambda: services.faces.delete_faces(emission.account, ids))
    try:
        faces = await services.faces.create_faces(emission.account, wanted)
    except MienError as failure:
        if failure.code is Code.LISTS_MISSING:
            raise MienError(Code.LIST_MISSING, failure.detail, status=400) from None
        raise
    for draft, face in zip(drafts, faces, strict=True):
        draft.face = face


def _face(emission: Emission, draft: Draft) -> FaceDraft:
    policy, facts = emission.policies.storage_policy.face_policy, draft.facts()
    samples = draft.face_samples
    attribute = _attribute(draft)
    return FaceDraft(
        face_id=new_id(),
        event_id=draft.event_id,
        user_data=emission.query.user_data or "",
        external_id=emission.query.external_id,
        avatar=image_path(FACE_SAMPLES, samples[0]) if policy.set_sample_as_avatar and samples else None,
        lists=list(dict.fromkeys(link.list_id for link in policy.link_to_lists_policy if passes(link.filters, facts))),
        attribute=AttributeDraft(**dict(attribute)) if attribute.descriptors or attribute.basic_attributes else None,
    )


async def store_events(emission: Emission, services: Services) -> None:
    """The events themselves: in the store before the answer, or on the bus when nobody waits."""
    policy = emission.policies.storage_policy.event_policy
    drafts = _passing(emission, policy.store_event, policy.filters)
    if not drafts:
        return
    for draft in drafts:
        draft.stored = True
    events = [stored_event(emission, draft) for draft in drafts]
    if policy.wait_saving:
        ids = [event.event_id for event in events]
        emission.undo.append(lambda: services.events.delete(emission.account, ids))
        await services.events.save(emission.account, events)
    else:
        for place, event in enumerate(events):
            event_rules.check(emission.account, event, f"events.{place}.")
        await services.bus.publish(to_be_saved(emission.account, events))


def to_be_saved(account: Id, events: list[Event]) -> Message:
    """Checked events, to be saved from the bus."""
    return Message(EVENTS_SAVE, account, {"events": [event.model_dump() for event in events]})


async def notify(emission: Emission, services: Services) -> None:
    """Tell whom the policies name of the events that pass: callbacks, and the account's subscribers.

    The events are stored by now: a full queue of callbacks (a receiver that is down) is counted, not answered.
    """
    storage = emission.policies.storage_policy
    for callback in storage.callbacks:
        topic = CALLBACKS if callback.type == "http" else EVENTS_NOTIFY
        await _tell(emission, services, topic, _passing(emission, callback.enable, callback.filters), callback)
    policy = storage.notification_policy
    await _tell(emission, services, EVENTS_NOTIFY, _passing(emission, policy.send_notification, policy.filters))


async def _tell(
    emission: Emission, services: Services, topic: str, drafts: list[Draft], callback: Callback | None = None
) -> None:
    if not drafts:
        return
    body: dict[str, Any] = {
        "handler_id": emission.handler_id,
        "events": [emitted(emission, draft).model_dump(mode="json") for draft in drafts],
    }
    if callback and topic == CALLBACKS:
        body["callback"] = callback.model_dump()
    try:
        await services.bus.publish(Message(topic, emission.account, body))
    except MienError as refusal:
        if refusal.code is not Code.OVERLOADED:
            raise
        UNTOLD.labels(topic).inc(len(drafts))
        log.warning("%d events were not told of on %s: %s", len(drafts), topic, refusal.detail)


def _passing(emission: Emission, switch: int, filters: Filters) -> list[Draft]:
    """The drafts a switched-on policy applies to."""
    return [draft for draft in emission.drafts if passes(filters, draft.facts())] if switch else []


Step = Callable[[Emission, Services], Awaitable[None]]

STEPS: tuple[Step, ...] = (
    detect,
    check_faces,
    match,
    tag,
    store_samples,
    store_origins,
    store_attributes,
    store_faces,
    store_events,
    notify,
)
