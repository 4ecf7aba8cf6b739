"""Saves that nobody waits for: onto the bus, and from it into the same use case."""

from __future__ import annotations

from libs.common.bus.port import Bus, Consumer, Message
from libs.common.bus.topics import EVENTS_SAVE
from libs.common.event_rules import PORTION_BYTES
from libs.common.ids import Id
from libs.common.wire.base import portions
from libs.common.wire.events import Event
from libs.common.wire.notices import Save
from services.events.service import Events

AT_ONCE = 100
"""Messages that are saved at the same time: the store writes them together."""


class BusQueue:
    """Satisfies :class:`services.events.ports.SaveQueue`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def put(self, account: Id, events: list[Event]) -> None:
        """Events that are too many for one message travel in several; a failure leaves those before it on the bus."""
        for some in portions(events, _bytes_of, PORTION_BYTES):
            await self._bus.publish(Message(EVENTS_SAVE, account, Save(events=some).model_dump()))


def _bytes_of(event: Event) -> int:
    return len(event.model_dump_json())


def saving(events: Events) -> Consumer:
    """A consumer that saves. A message may arrive twice: event ids make that harmless."""

    async def save(message: Message) -> None:
        batch = Save.model_validate(message.body)
        await events.save(message.account, batch.events, batch.notices)

    return save
