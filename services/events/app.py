"""The events service, put together on SQLite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from libs.common import ports
from libs.common.bus.port import Bus
from libs.common.bus.topics import EVENTS_SAVE
from libs.common.part import Part
from libs.common.storage.sqlite import Database
from services.events.queue import BusQueue, saving
from services.events.routes import EVENTS, routes
from services.events.service import Events
from services.events.store_sqlite import SCHEMA, SqliteEventStore


async def build(database: Path, durable: bool, bus: Bus) -> Part:
    """The service on the file ``database``; ``durable`` waits for the disk on every commit.

    ``bus`` must not have been started yet.
    """
    opened = await Database(database, SCHEMA, durable=durable).open()
    events = Events(SqliteEventStore(opened), BusQueue(bus))
    bus.subscribe(EVENTS_SAVE, "events", saving(events))

    async def health() -> dict[str, Any]:
        await opened.rows("SELECT 1 FROM event LIMIT 1")
        return {}

    return Part("events", routes, EVENTS, events, (ports.Events,), stop=opened.close, health=health)
