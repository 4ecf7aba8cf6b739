"""Raw events: events made elsewhere, in the form of the emission's answer. Section 12.1 of the wire contract."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError

from libs.common import clock
from libs.common.clock import Time
from libs.common.errors import Code, MienError
from libs.common.ids import Id, new_id
from libs.common.wire.base import Unit, Wire, fault
from libs.common.wire.estimations import BodyAttributes, Descriptor, FaceAttributes
from libs.common.wire.events import Event, EventDetection, Location, Tag, TopMatch, Word
from libs.common.wire.handlers import (
    AggregateEstimations,
    EmittedAttributes,
    EmittedDetection,
    EmittedFace,
    Sample,
)
from libs.common.wire.notices import ToldEvent
from services.handlers.filters import facts_of
from services.handlers.records import estimated, event_url, face_url

A = TypeVar("A", FaceAttributes, BodyAttributes)


class RawFace(Wire):
    """The face an event made; only its id and lists are kept."""

    face_id: Id
    lists: list[Id] = []
    url: str | None = None
    event_id: Id | None = None
    user_data: str | None = None
    external_id: str | None = None
    avatar: str | None = None
    account_id: Id | None = None
    create_time: Time | None = None


class RawCandidate(Wire):
    face: dict[str, Any] | None = None
    event: dict[str, Any] | None = None
    attribute: dict[str, Any] | None = None
    similarity: Unit


class RawMatch(Wire):
    label: str
    candidates: list[RawCandidate]


class RawEvent(Wire):
    """One ready event. ``event_id`` is our extension: sending the same id twice stores the event once."""

    event_id: Id | None = None
    event_create_time: Time | None = None
    event_end_time: Time | None = None
    external_id: Word | None = None
    user_data: Annotated[str, Field(max_length=128)] | None = None
    source: Annotated[str, Field(max_length=128)] | None = None
    stream_id: Word | None = None
    track_id: Word | None = None
    tags: Annotated[list[Tag], Field(max_length=100)] = []
    meta: dict[str, Any] | None = None
    location: Location = Location()
    face: RawFace | None = None
    face_attributes: EmittedAttributes | None = None
    body_attributes: EmittedAttributes | None = None
    detections: Annotated[list[EmittedDetection], Field(max_length=1000)] = []
    matches: Annotated[list[RawMatch], Field(max_length=100)] | None = None
    aggregate_estimations: AggregateEstimations = AggregateEstimations()
    face_descriptor: Descriptor | None = None
    body_descriptor: Descriptor | None = None


def event_of(account: Id, handler_id: Id, raw: RawEvent) -> Event:
    """The record to store. Raises BAD_BODY on a bad top match."""
    face, body = _attributes(raw, "face", FaceAttributes), _attributes(raw, "body", BodyAttributes)
    if raw.face_attributes and raw.face_attributes.basic_attributes:
        face = face.model_copy(update={"basic_attributes": raw.face_attributes.basic_attributes})
    return Event.model_validate(
        {
            **{name: getattr(raw, name) for name in _SAME_NAMES},
            "event_id": raw.event_id or new_id(),
            "account_id": account,
            "handler_id": handler_id,
            "create_time": raw.event_create_time or clock.now(),
            "end_time": raw.event_end_time,
            "face_id": raw.face.face_id if raw.face else None,
            "attach_result": raw.face.lists if raw.face else [],
            "face_detections": _detections(raw, "face"),
            "body_detections": _detections(raw, "body"),
            **estimated(facts_of(face), body),
            "match_result": [match.model_dump(mode="json", exclude_none=True) for match in raw.matches]
            if raw.matches is not None
            else None,
            "top_match": _top_match(raw),
        }
    )


def told_of(event: Event, raw: RawEvent) -> dict[str, Any]:
    """``event``, which was made of ``raw``, as others are told of it: plain JSON of ToldEvent."""
    return ToldEvent.model_validate(
        {
            **{name: getattr(raw, name) for name in _TOLD_AS_SENT},
            "event_id": event.event_id,
            "url": event_url(event.event_id),
            "account_id": event.account_id,
            "handler_id": event.handler_id,
            "event_create_time": event.create_time,
            "event_end_time": event.end_time,
            "face": _told_face(event, raw.face) if raw.face else None,
            "matches": event.match_result,
        }
    ).model_dump(mode="json")


def _told_face(event: Event, face: RawFace) -> EmittedFace:
    return EmittedFace(
        face_id=face.face_id,
        url=face_url(face.face_id),
        event_id=event.event_id,
        user_data=face.user_data or "",
        external_id=face.external_id,
        avatar=face.avatar,
        lists=face.lists,
        account_id=event.account_id,
        create_time=face.create_time or event.create_time,
    )


_TOLD_AS_SENT = (
    "external_id",
    "user_data",
    "source",
    "stream_id",
    "track_id",
    "tags",
    "meta",
    "location",
    "face_attributes",
    "body_attributes",
    "detections",
    "aggregate_estimations",
)
_SAME_NAMES = (
    "external_id",
    "user_data",
    "source",
    "stream_id",
    "track_id",
    "tags",
    "meta",
    "location",
    "face_descriptor",
    "body_descriptor",
)


def _attributes(raw: RawEvent, kind: str, model: type[A]) -> A:
    """Aggregated estimations of faces or bodies; without them those of the only detection."""
    if aggregate := getattr(raw.aggregate_estimations, kind):
        return aggregate.get("attributes", model())
    sample: Sample | None = getattr(raw.detections[0].samples, kind) if len(raw.detections) == 1 else None
    found = sample.detection.attributes if sample else None
    return found if isinstance(found, model) else model()


def _detections(raw: RawEvent, kind: str) -> list[EventDetection]:
    found: list[tuple[EmittedDetection, Sample | None]] = [
        (detection, getattr(detection.samples, kind)) for detection in raw.detections
    ]
    return [
        EventDetection.model_validate(
            {
                "sample_id": sample.sample_id,
                "detect_time": detection.detect_time,
                "detect_ts": detection.detect_ts,
                "image_origin": detection.image_origin,
                "detection": {"rect": sample.detection.rect},
            }
        )
        for detection, sample in found
        if sample
    ]


def _top_match(raw: RawEvent) -> TopMatch | None:
    tops = [
        (match.label, max(match.candidates, key=lambda one: one.similarity))
        for match in raw.matches or ()
        if match.candidates
    ]
    if not tops:
        return None
    label, best = max(tops, key=lambda top: top[1].similarity)
    for kind in ("face", "event", "attribute"):
        keys = getattr(best, kind) or {}
        if f"{kind}_id" in keys:
            top = {"label": label, "similarity": best.similarity, "object_type": kind}
            return _checked({**top, "object_id": keys[f"{kind}_id"], "external_id": keys.get("external_id")})
    raise MienError(Code.BAD_BODY, f"matches: the best candidate of {label!r} names no face, event or attribute id")


def _checked(top: dict[str, Any]) -> TopMatch:
    """A top match made of a candidate's keys, which may be anything."""
    try:
        return TopMatch.model_validate(top)
    except ValidationError as wrong:
        raise MienError(Code.BAD_BODY, fault(wrong, "matches.candidates")) from None
