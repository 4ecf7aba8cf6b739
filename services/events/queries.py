"""What the routes take in their query strings and bodies and answer with, where that is not an event itself."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from libs.common.errors import Code, MienError
from libs.common.ids import Id
from libs.common.wire.base import Blob, Commas, Flag, Wire
from libs.common.wire.events import EVENT_TARGETS, Event, EventFilter, EventPage
from services.events.model import EventDraft
from services.events.service import DescriptorType


class Targets(Wire):
    """Keys of the record to answer with; all by default."""

    targets: Annotated[list[str], Commas, Field(max_length=50)] | None = None


class EventQuery(EventFilter, EventPage, Targets):
    """Query of GET /events."""


class SaveQuery(Wire):
    """``wait_events_saving=0`` answers as soon as it is certain that the events will be saved."""

    wait_events_saving: Flag = 1


class DescriptorQuery(Wire):
    """Which descriptor; the one the event has, whatever its version, when none is named."""

    descriptor_version: int | None = None
    descriptor_type: DescriptorType = "face"


class EventBatch(Wire):
    """Events to save: an object with ``events``, or the bare array."""

    events: Annotated[list[EventDraft], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _accept_array(cls, value: Any) -> Any:
        return {"events": value} if isinstance(value, list) else value


class SavedEvent(Wire):
    event_id: Id
    url: str


class EventsSaved(Wire):
    """In the order of the request."""

    events: list[SavedEvent]


class EventsFound(Wire):
    events: list[Event]


class DescriptorAnswer(Wire):
    """``descriptor`` is the raw form: little-endian float32 of the length its version has."""

    descriptor: Blob
    version: int


def check_targets(targets: list[str] | None) -> None:
    """Raises BAD_QUERY naming the targets that an event does not have."""
    if unknown := sorted(set(targets or []) - set(EVENT_TARGETS)):
        raise MienError(Code.BAD_QUERY, f"targets: {', '.join(unknown)}; known are {', '.join(EVENT_TARGETS)}")


def event_answer(event: Event, targets: list[str] | None) -> dict[str, Any]:
    """The asked keys of the record; never its descriptors, which have a route of their own."""
    return event.model_dump(include=set(targets or EVENT_TARGETS))
