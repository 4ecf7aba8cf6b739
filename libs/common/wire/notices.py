"""What others are to be told of events once those are stored."""

from __future__ import annotations

from typing import Any

from libs.common.clock import Time
from libs.common.ids import Id
from libs.common.wire.base import Wire
from libs.common.wire.events import Event
from libs.common.wire.handlers import EmittedEvent


class Notice(Wire):
    """A message to be published once the events it is about are stored.

    ``notice_id`` becomes the id of the message, so that a notice that is published twice is known to be one. ``topic``
    and ``body`` are as in ``libs.common.bus.topics``; the body is plain JSON. ``headers`` become the message's: the
    trace of the emission, which is over by the time it is published.
    """

    notice_id: Id
    topic: str
    body: dict[str, Any]
    headers: dict[str, str] = {}


class ToldEvent(EmittedEvent):
    """An event in a notice: as its emitter was answered, and whose it is. Sections 11.3 and 20.3 of the contract."""

    account_id: Id
    handler_id: Id
    event_create_time: Time
    event_end_time: Time | None


class Save(Wire):
    """Body of EVENTS_SAVE: events to be stored together, and what is to be told of them then."""

    events: list[Event]
    notices: list[Notice] = []
