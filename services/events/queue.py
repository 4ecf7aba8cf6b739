"""Saves that nobody waits for: onto the bus, and from it into the same use case."""

from __future__ import annotations

from pydantic import TypeAdapter

from libs.common.bus.port import Bus, Consumer, Message
from libs.common.bus.topics import EVENTS_SAVE
from libs.common.wire.events import Event
from services.events.service import Events

_EVENTS = TypeAdapter(list[Event])


class BusQueue:
    """Satisfies :class:`services.events.ports.SaveQueue`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def put(self, account: str, events: list[Event]) -> None:
        await self._bus.publish(Message(EVENTS_SAVE, account, {"events": _EVENTS.dump_python(events)}))


def saving(events: Events) -> Consumer:
    """A consumer that saves. A message may arrive twice: event ids make that harmless."""

    async def save(message: Message) -> None:
        await events.save(message.account, _EVENTS.validate_python(message.body["events"]))

    return save
