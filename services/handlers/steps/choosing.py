"""Steps that choose what is kept, by the policies, and under which ids. Nothing is stored yet."""

from __future__ import annotations

from libs.common.ids import new_id
from libs.common.wire.faces import (
    AttributeData,
    AttributeDraft,
    DescriptorDraft,
    FaceDraft,
    StoredBasicAttributes,
    TemporaryAttributeDraft,
)
from libs.common.wire.images import BODY_SAMPLES, FACE_SAMPLES, ORIGINS, ImageDraft, image_path
from services.handlers.emission import Draft, Emission
from services.handlers.filters import passes
from services.handlers.journal import Traces


def choose_samples(emission: Emission) -> None:
    """Warps of faces and bodies, unless the picture already was a stored sample."""
    storage, images = emission.policies.storage_policy, emission.keeping.images
    for draft in emission.passing(storage.face_sample_policy.store_sample, storage.face_sample_policy.filters):
        for seen in draft.seen:
            face = seen.person.face
            if face and face.warp and not seen.face_sample:
                seen.face_sample = new_id()
                images.append(ImageDraft(bucket=FACE_SAMPLES, image_id=seen.face_sample, data=face.warp))
    for draft in emission.passing(storage.body_sample_policy.store_sample, storage.body_sample_policy.filters):
        for seen in draft.seen:
            body = seen.person.body
            if body and body.warp and not seen.body_sample:
                seen.body_sample = new_id()
                images.append(ImageDraft(bucket=BODY_SAMPLES, image_id=seen.body_sample, data=body.warp))


def choose_origins(emission: Emission) -> None:
    """Each source picture once, however many of its faces pass."""
    policy = emission.policies.storage_policy.image_origin_policy
    for draft in emission.passing(policy.store_image, policy.filters):
        for picture in (seen.picture for seen in draft.seen):
            if picture.image and not picture.image_origin:
                image_id = new_id()
                picture.image_origin = image_path(ORIGINS, image_id)
                origin = ImageDraft(bucket=ORIGINS, image_id=image_id, data=picture.image.data)
                emission.keeping.images.append(origin)


def choose_attributes(emission: Emission) -> None:
    """Temporary attributes, with the policy's time to live."""
    policy = emission.policies.storage_policy.attribute_policy
    for draft in emission.passing(policy.store_attribute, policy.filters):
        if draft.has_face:
            draft.attribute_id = new_id()
            kept = TemporaryAttributeDraft(**dict(_attribute(draft)), attribute_id=draft.attribute_id, ttl=policy.ttl)
            emission.keeping.attributes.append(kept)


def choose_faces(emission: Emission) -> None:
    """New faces, linked to the lists whose own filters pass."""
    policy = emission.policies.storage_policy.face_policy
    drafts = [draft for draft in emission.passing(policy.store_face, policy.filters) if draft.has_face]
    emission.keeping.faces += [(draft, _face(emission, draft)) for draft in drafts]


def traces_of(emission: Emission) -> Traces:
    """The ids of everything that was chosen, and of the events that will be saved with it."""
    keeping, policy = emission.keeping, emission.policies.storage_policy.event_policy
    images: dict[str, list[str]] = {}
    for image in keeping.images:
        images.setdefault(image.bucket, []).append(image.image_id)
    return Traces(
        account=emission.account,
        images=images,
        attributes=[kept.attribute_id for kept in keeping.attributes if kept.attribute_id],
        faces=[face.face_id for _, face in keeping.faces if face.face_id],
        events=[draft.event_id for draft in emission.passing(policy.store_event, policy.filters)],
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
