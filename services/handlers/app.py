"""Handlers, wired: stored in MongoDB or SQLite."""

from __future__ import annotations

from typing import Any

from libs.common.bus.topics import CALLBACKS
from libs.common.http.fetch import Fetcher
from libs.common.http.inputs import Limits, Sources
from libs.common.part import Part
from libs.common.storage.storage import Storage
from services.handlers.callbacks import Callbacks
from services.handlers.ports import HandlerStore, Services
from services.handlers.routes import HANDLERS, LIMITS, SOURCES, routes
from services.handlers.service import Handlers
from services.handlers.store_mongo import MongoHandlers
from services.handlers.store_sqlite import SCHEMA, SqliteHandlers

CALLBACKS_AT_ONCE = 16
"""One slow receiver must not hold up the others."""


async def build(
    storage: Storage,
    services: Services,
    fetcher: Fetcher,
    *,
    limits: Limits,
    callbacks_allowed: bool,
) -> Part:
    """Handlers over ``storage``. ``services`` are the other services, in process or remote."""
    services.bus.subscribe(CALLBACKS, "http", Callbacks(fetcher), at_once=CALLBACKS_AT_ONCE)
    handlers = Handlers(await _store(storage), services, callbacks_allowed=callbacks_allowed)
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
        return MongoHandlers(storage.mongo)
    return SqliteHandlers(await storage.sqlite("handlers.db", SCHEMA))
