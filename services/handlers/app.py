"""Handlers, wired: stored in MongoDB, read by way of Redis where there is one; or in SQLite."""

from __future__ import annotations

from typing import Any

from libs.common.housekeeping import Housekeeping
from libs.common.http.fetch import Fetcher
from libs.common.http.inputs import Limits, Sources
from libs.common.part import Part
from libs.common.storage.storage import Storage
from services.handlers.journal_mongo import MongoJournal
from services.handlers.journal_sqlite import SCHEMA as JOURNAL_SCHEMA
from services.handlers.journal_sqlite import SqliteJournal
from services.handlers.ports import HandlerStore, Journal, Services
from services.handlers.routes import HANDLERS, LIMITS, SOURCES, routes
from services.handlers.service import Handlers
from services.handlers.store_cached import CachedHandlers
from services.handlers.store_mongo import MongoHandlers
from services.handlers.store_sqlite import SCHEMA, SqliteHandlers
from services.handlers.unfinished import SWEEP_S, Unfinished


async def build(
    storage: Storage,
    services: Services,
    fetcher: Fetcher,
    *,
    limits: Limits,
    callbacks_allowed: bool,
) -> Part:
    """Handlers over ``storage``. ``services`` are the other services, in process or remote."""
    store, journal = await _stores(storage)
    handlers = Handlers(store, journal, services, storage.seal, callbacks_allowed=callbacks_allowed)
    unfinished, housekeeping = Unfinished(journal, services), Housekeeping()
    sources = Sources(fetch=fetcher.get, stored=services.images.get)

    async def start() -> None:
        housekeeping.repeat("settling unfinished emissions", unfinished.sweep, SWEEP_S)

    async def health() -> dict[str, Any]:
        await handlers.check()
        return {}

    return Part(
        name="handlers",
        routes=routes,
        key=HANDLERS,
        service=handlers,
        context={SOURCES: sources, LIMITS: limits},
        start=start,
        stop=housekeeping.stop,
        health=health,
    )


async def _stores(storage: Storage) -> tuple[HandlerStore, Journal]:
    if storage.mongo is not None:
        stored, journal = MongoHandlers(storage.mongo), MongoJournal(storage.mongo)
        return stored if storage.redis is None else CachedHandlers(stored, storage.redis), journal
    database = await storage.sqlite("handlers.db", SCHEMA + JOURNAL_SCHEMA)
    return SqliteHandlers(database), SqliteJournal(database)
