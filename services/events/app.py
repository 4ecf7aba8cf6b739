"""The events service, put together."""

from __future__ import annotations

from typing import Any

from libs.common import ports
from libs.common.bus.port import Bus
from libs.common.bus.topics import EVENTS_SAVE
from libs.common.part import Part
from libs.common.storage.storage import Storage
from services.events.outbox_sqlite import SqliteOutbox
from services.events.queue import AT_ONCE, BusQueue, saving
from services.events.relay import Relay
from services.events.routes import EVENTS, routes
from services.events.service import Events
from services.events.store_sqlite import SCHEMA, SqliteEventStore


async def build(storage: Storage, bus: Bus) -> Part:
    """The service over ``storage``. ``bus`` must not have been started yet."""
    opened = await storage.sqlite("events.db", SCHEMA)
    relay = Relay(SqliteOutbox(opened), bus)
    events = Events(SqliteEventStore(opened), BusQueue(bus), relay.hand)
    bus.subscribe(EVENTS_SAVE, "events", saving(events), at_once=AT_ONCE)

    async def health() -> dict[str, Any]:
        await opened.rows("SELECT 1 FROM event LIMIT 1")
        return {}

    async def stop() -> None:
        await relay.stop()
        await opened.close()

    return Part("events", routes, EVENTS, events, (ports.Events,), start=relay.start, stop=stop, health=health)
