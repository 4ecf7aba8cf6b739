"""The events service, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from libs.common import ports
from libs.common.bus.port import Bus
from libs.common.bus.topics import EVENTS_SAVE
from libs.common.part import Part
from libs.common.storage import mongo
from libs.common.storage.mongo import Document
from libs.common.storage.storage import Storage
from services.events.outbox_mongo import MongoOutbox
from services.events.outbox_sqlite import SqliteOutbox
from services.events.ports import EventStore, Outbox
from services.events.queue import AT_ONCE, BusQueue, saving
from services.events.relay import Relay
from services.events.routes import EVENTS, routes
from services.events.service import Events
from services.events.store_mongo import MongoEventStore
from services.events.store_sqlite import SCHEMA, SqliteEventStore


async def build(storage: Storage, bus: Bus) -> Part:
    """The service over ``storage``: MongoDB where it has one, else a file. ``bus`` must not have been started yet."""
    kept = _in_mongo(storage.mongo) if storage.mongo is not None else await _in_sqlite(storage)
    relay = Relay(kept.outbox, bus)
    events = Events(kept.store, BusQueue(bus), relay.hand)
    bus.subscribe(EVENTS_SAVE, "events", saving(events), at_once=AT_ONCE)

    async def health() -> dict[str, Any]:
        await kept.check()
        return {}

    async def stop() -> None:
        await relay.stop()
        await kept.close()

    return Part("events", routes, EVENTS, events, (ports.Events,), start=relay.start, stop=stop, health=health)


@dataclass(frozen=True)
class _Kept:
    """Where events are. ``check`` raises when that cannot be reached."""

    store: EventStore
    outbox: Outbox
    check: Callable[[], Awaitable[Any]]
    close: Callable[[], Awaitable[None]]


async def _in_sqlite(storage: Storage) -> _Kept:
    opened = await storage.sqlite("events.db", SCHEMA)
    check = partial(opened.rows, "SELECT 1 FROM event LIMIT 1")
    return _Kept(SqliteEventStore(opened), SqliteOutbox(opened), check, opened.close)


def _in_mongo(database: AsyncDatabase[Document]) -> _Kept:
    store = MongoEventStore(database)
    return _Kept(store, MongoOutbox(database), partial(mongo.check, database), store.close)
