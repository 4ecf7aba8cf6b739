"""Handlers, wired: stored in MongoDB, read by way of Redis where there is one; or in SQLite."""

from __future__ import annotations

from typing import Any

from libs.common.http.fetch import Fetcher
from libs.common.http.inputs import Limits, Sources
from libs.common.part import Part
from libs.common.storage.storage import Storage
from services.handlers.ports import HandlerStore, Services
from services.handlers.routes import HANDLERS, LIMITS, SOURCES, routes
from services.handlers.service import Handlers
from services.handlers.store_cached import CachedHandlers
from services.handlers.store_mongo import MongoHandlers
from services.handlers.store_sqlite import SCHEMA, SqliteHandlers


async def build(
    storage: Storage,
    services: Services,
    fetcher: Fetcher,
    *,
    limits: Limits,
    callbacks_allowed: bool,
) -> Part:
    """Handlers over ``storage``. ``services`` are the other services, in process or remote."""
    handlers = Handlers(await _store(storage), services, storage.seal, callbacks_allowed=callbacks_allowed)
    sources = Sources(fetch=fetcher.get, stored=services.images.get)

    async def health() -> dict[str, Any]:
        await handlers.check()
        return {}

    return Part(
        name="handlers",
        routes=routes,
        key=HANDLERS,
        service=handlers,
        context={SOURCES: sources, LIMITS: limits},
        health=health,
    )


async def _store(storage: Storage) -> HandlerStore:
    if storage.mongo is not None:
        stored = MongoHandlers(storage.mongo)
        return stored if storage.redis is None else CachedHandlers(stored, storage.redis)
    return SqliteHandlers(await storage.sqlite("handlers.db", SCHEMA))
