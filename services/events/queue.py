"""Saves that nobody waits for: onto the bus, and from it into the same use case."""

from __future__ import annotations

import logging

from prometheus_client import Counter

from libs.common.bus.port import Bus, Consumer, Message
from libs.common.bus.topics import EVENTS_SAVE
from libs.common.errors import Code, MienError
from libs.common.event_rules import PORTION_BYTES
from libs.common.ids import Id
from libs.common.wire.base import portions
from libs.common.wire.events import Event
from libs.common.wire.notices import Save
from services.events.service import Events

log = logging.getLogger("mien.events")
REFUSED = Counter("mien_events_refused_total", "Events accepted with wait_saving=0 whose id another account uses")

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
    """A consumer that saves. A message may arrive twice: event ids make that harmless.

    An event under an id that another account uses can never be stored, however often it is tried: it is refused here,
    where a log and a metric say so, and those beside it are stored. As a dead letter it would stay, and whoever sends
    enough of them would fill the queue for everybody.
    """

    async def save(message: Message) -> None:
        batch = Save.model_validate(message.body)
        try:
            await events.save(message.account, batch.events, batch.notices)
        except MienError as error:
            if error.code is not Code.REQUEST_CONFLICT:
                raise
            await _save_each(events, message.account, batch)

    return save


async def _save_each(events: Events, account: Id, batch: Save) -> None:
    """What is to be told is about the last event, and told if that one is stored."""
    for number, event in enumerate(batch.events, start=1):
        try:
            await events.save(account, [event], batch.notices if number == len(batch.events) else [])
        except MienError as error:
            if error.code is not Code.REQUEST_CONFLICT:
                raise
            REFUSED.inc()
            log.warning("event %s of account %s is not saved: another account uses the id", event.event_id, account)
