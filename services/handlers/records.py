"""What an emission leaves behind: the answer's form of an event, and the form that is stored."""

from __future__ import annotations

from typing import Any

from libs.common.wire.estimations import BodyAttributes
from libs.common.wire.events import DetectionBox, Event, EventDetection
from libs.common.wire.handlers import (
    AggregateEstimations,
    DetectionAttributes,
    DetectionSamples,
    EmittedAttributes,
    EmittedDetection,
    EmittedEvent,
    EmittedFace,
    EmittedMatch,
    Sample,
)
from libs.common.wire.images import BODY_SAMPLES, FACE_SAMPLES, image_path
from libs.common.wire.matcher import Match
from libs.common.wire.notices import ToldEvent
from libs.common.wire.policies import MatchPolicy
from services.handlers.emission import Draft, Emission, Seen
from services.handlers.filters import Facts
from services.handlers.requirements import targets_of


def event_url(event_id: str) -> str:
    """The service-level path of a stored event."""
    return f"/2/events/{event_id}"


def face_url(face_id: str) -> str:
    """Likewise of a stored face."""
    return f"/3/faces/{face_id}"


def emitted(emission: Emission, draft: Draft) -> EmittedEvent:
    """The event as the caller of generate-events sees it. Section 11.3 of the wire contract."""
    query = emission.query
    return EmittedEvent(
        event_id=draft.event_id,
        url=event_url(draft.event_id) if draft.stored else None,
        external_id=query.external_id,
        user_data=query.user_data,
        source=query.source,
        stream_id=query.stream_id,
        track_id=query.track_id,
        tags=draft.tags,
        meta=emission.meta,
        location=emission.location,
        face=_face(draft),
        face_attributes=_face_attributes(draft),
        body_attributes=_body_attributes(draft) if draft.has_body else None,
        detections=[_detection(emission, seen) for seen in draft.seen],
        matches=_matches(emission, draft),
        aggregate_estimations=AggregateEstimations(
            face={"attributes": draft.attributes} if draft.has_face else None,
            body={"attributes": draft.body_attributes} if draft.body_attributes else None,
        ),
    )


def told(emission: Emission, draft: Draft) -> dict[str, Any]:
    """The event as others are told of it, as plain JSON."""
    whose = {
        "account_id": emission.account,
        "handler_id": emission.handler_id,
        "event_create_time": emission.created,
        "event_end_time": emission.ended,
    }
    return ToldEvent.model_validate({**dict(emitted(emission, draft)), **whose}).model_dump(mode="json")


def _face(draft: Draft) -> EmittedFace | None:
    face = draft.face
    if face is None:
        return None
    return EmittedFace(
        face_id=face.face_id,
        url=face_url(face.face_id),
        event_id=draft.event_id,
        user_data=face.user_data,
        external_id=face.external_id,
        avatar=face.avatar,
        lists=face.lists,
        account_id=face.account_id,
        create_time=face.create_time,
    )


def _face_attributes(draft: Draft) -> EmittedAttributes | None:
    basic = draft.attributes.basic_attributes
    if draft.descriptor is None and basic is None and draft.attribute_id is None:
        return None
    return EmittedAttributes(
        attribute_id=draft.attribute_id,
        url=f"/3/attributes/{draft.attribute_id}" if draft.attribute_id else None,
        score=draft.descriptor.score if draft.descriptor else None,
        basic_attributes=basic,
        samples=draft.face_samples,
    )


def _body_attributes(draft: Draft) -> EmittedAttributes:
    descriptor = draft.body_descriptor
    return EmittedAttributes(score=descriptor.score if descriptor else None, samples=draft.body_samples)


def _detection(emission: Emission, seen: Seen) -> EmittedDetection:
    face, body = seen.person.face, seen.person.body
    return EmittedDetection(
        filename=seen.picture.filename,
        detect_time=seen.picture.detect_time or emission.created,
        detect_ts=seen.picture.detect_ts,
        image_origin=seen.picture.image_origin,
        samples=DetectionSamples(
            face=_sample(seen.face_sample, FACE_SAMPLES, face) if face else None,
            body=_sample(seen.body_sample, BODY_SAMPLES, body) if body else None,
        ),
    )


def _sample(sample_id: str | None, bucket: str, found: Any) -> Sample:
    return Sample(
        sample_id=sample_id,
        url=image_path(bucket, sample_id) if sample_id else None,
        detection=DetectionAttributes(
            rect=found.rect,
            landmarks5=getattr(found, "landmarks5", None),
            landmarks68=getattr(found, "landmarks68", None),
            attributes=found.attributes,
        ),
    )


def _matches(emission: Emission, draft: Draft) -> list[EmittedMatch] | None:
    """Every executed search in the order of the policy, also those that found nobody; null without a policy."""
    policies = emission.policies.match_policy
    if not policies:
        return None
    return [
        EmittedMatch(
            label=policy.label, candidates=[_candidate(policy, match) for match in draft.matches[policy.label]]
        )
        for policy in policies
        if policy.label in draft.matches
    ]


def _candidate(policy: MatchPolicy, match: Match) -> dict[str, Any]:
    """One candidate, with the asked targets only."""
    kind = policy.candidates.origin.removesuffix("s")
    keys: dict[str, Any] = getattr(match, kind) or {}
    wanted = targets_of(policy)
    return {kind: {name: value for name, value in keys.items() if name in wanted}, "similarity": match.similarity}


def stored_event(emission: Emission, draft: Draft) -> Event:
    """The event as it is kept. Section 14.1 of the wire contract."""
    query, facts, matches = emission.query, draft.facts(), _matches(emission, draft)
    return Event.model_validate(
        {
            "event_id": draft.event_id,
            "account_id": emission.account,
            "handler_id": emission.handler_id,
            "create_time": emission.created,
            "end_time": emission.ended,
            "external_id": query.external_id,
            "user_data": query.user_data,
            "source": query.source,
            "stream_id": query.stream_id,
            "track_id": query.track_id,
            "tags": draft.tags,
            "location": emission.location,
            "meta": emission.meta,
            "face_id": draft.face.face_id if draft.face else None,
            "attach_result": draft.face.lists if draft.face else [],
            "face_detections": [_stored(emission, seen, "face") for seen in draft.seen if seen.person.face],
            "body_detections": [_stored(emission, seen, "body") for seen in draft.seen if seen.person.body],
            **estimated(facts, draft.body_attributes or BodyAttributes()),
            "match_result": [match.model_dump(mode="json") for match in matches] if matches is not None else None,
            "top_match": draft.top_match(),
            "face_descriptor": draft.descriptor,
            "body_descriptor": draft.body_descriptor,
        }
    )


def estimated(facts: Facts, body: BodyAttributes) -> dict[str, Any]:
    """The columns of an event that say how somebody looked."""
    return {
        "gender": facts.gender,
        "age": facts.age,
        "ethnic_group": facts.ethnicity,
        "emotion": facts.emotion,
        "mask": facts.mask,
        "liveness": facts.liveness,
        "deepfake": facts.deepfake,
        "body_basic_attributes": body.basic_attributes,
        "upper_body": body.upper_body,
        "lower_body": body.lower_body,
        "accessories": body.accessories,
    }


def _stored(emission: Emission, seen: Seen, kind: str) -> EventDetection:
    found = getattr(seen.person, kind)
    return EventDetection(
        sample_id=seen.face_sample if kind == "face" else seen.body_sample,
        detect_time=seen.picture.detect_time or emission.created,
        detect_ts=seen.picture.detect_ts,
        image_origin=seen.picture.image_origin,
        detection=DetectionBox(rect=found.rect),
    )
