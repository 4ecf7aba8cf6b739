"""Steps that keep what the policies say; each but the last also says how to undo it."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from libs.common import event_rules
from libs.common.bus.port import Message
from libs.common.bus.topics import EVENTS_SAVE
from libs.common.errors import OPEN, Code, MienError
from libs.common.ids import Id, new_id
from libs.common.wire.base import portions
from libs.common.wire.events import Event
from libs.common.wire.faces import (
    AttributeData,
    AttributeDraft,
    DescriptorDraft,
    FaceDraft,
    StoredBasicAttributes,
    TemporaryAttributeDraft,
)
from libs.common.wire.images import BODY_SAMPLES, FACE_SAMPLES, ORIGINS, ImageDraft, image_path
from libs.common.wire.notices import Notice, Save
from services.handlers.emission import Draft, Emission
from services.handlers.filters import passes
from services.handlers.ports import Services
from services.handlers.records import stored_event, told
from services.handlers.steps.telling import Told, notices_about

PORTION_BYTES = 12 * 1024 * 1024
"""Of the events that are saved together with their notices, as JSON: a message of RabbitMQ 4 holds 16 MiB."""


async def store_samples(emission: Emission, services: Services) -> None:
    """Warps of faces and bodies, unless the picture already was a stored sample."""
    storage = emission.policies.storage_policy
    faces: list[ImageDraft] = []
    bodies: list[ImageDraft] = []
    for draft in emission.passing(storage.face_sample_policy.store_sample, storage.face_sample_policy.filters):
        for seen in draft.seen:
            face = seen.person.face
            if face and face.warp and not seen.face_sample:
                seen.face_sample = new_id()
                faces.append(ImageDraft(bucket=FACE_SAMPLES, image_id=seen.face_sample, data=face.warp))
    for draft in emission.passing(storage.body_sample_policy.store_sample, storage.body_sample_policy.filters):
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
    for draft in emission.passing(policy.store_image, policy.filters):
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
    drafts = [draft for draft in emission.passing(policy.store_attribute, policy.filters) if draft.has_face]
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
    drafts = [draft for draft in emission.passing(policy.store_face, policy.filters) if draft.has_face]
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
    """The events, and in one step with them what is to be told of them: in the store before the answer, or on the bus
    when nobody waits. Nothing is taken back afterwards."""
    policy = emission.policies.storage_policy.event_policy
    drafts = emission.passing(policy.store_event, policy.filters)
    for draft in drafts:
        draft.stored = True
    for about in _portions(emission, drafts):
        events = [stored_event(emission, draft) for draft in drafts if draft.event_id in about]
        notices = notices_about(emission, about)
        try:
            await save(services, emission.account, events, notices, wait=bool(policy.wait_saving))
        except MienError as failure:
            if failure.code in OPEN:  # the events may be saved, and what they rest on must stay
                emission.settle()
            if emission.is_settled:
                failure.retry_after_s = None  # sent again, the pictures would become other events beside these
            raise
        emission.settle()


def _portions(emission: Emission, drafts: list[Draft]) -> Iterator[Told]:
    """Nearly always one. Of several, each is saved and told of by itself."""
    about = {draft.event_id: told(emission, draft) for draft in drafts}
    copies = 1 + len(notices_about(emission, about))
    return map(dict, portions(about.items(), lambda item: copies * len(orjson.dumps(item[1])), PORTION_BYTES))


async def save(services: Services, account: Id, events: list[Event], notices: list[Notice], *, wait: bool) -> None:
    """Have events saved, with what is to be told of them.

    Returns after the store's commit when ``wait``, else once the bus has them. Raises BAD_BODY, BAD_DESCRIPTOR,
    DESCRIPTOR_VERSION_UNKNOWN naming the event's or notice's place, REQUEST_CONFLICT, OVERLOADED, STORE_UNAVAILABLE.
    """
    if wait:
        await services.events.save(account, events, notices)
        return
    for place, event in enumerate(events):
        event_rules.check(account, event, f"events.{place}.")
    event_rules.check_notices(notices)
    body = Save(events=events, notices=notices).model_dump()
    await services.bus.publish(Message(EVENTS_SAVE, account, body))
