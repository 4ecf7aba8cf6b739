"""Handlers, wired."""

from __future__ import annotations

from libs.common.bus.topics import CALLBACKS
from libs.common.http.fetch import Fetcher
from libs.common.http.inputs import Limits, Sources
from libs.common.part import Part
from libs.common.storage.storage import Storage
from services.handlers.callbacks import Callbacks
from services.handlers.ports import Services
from services.handlers.routes import HANDLERS, LIMITS, SOURCES, routes
from services.handlers.service import Handlers
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
    db = await storage.sqlite("handlers.db", SCHEMA)
    services.bus.subscribe(CALLBACKS, "http", Callbacks(fetcher), at_once=CALLBACKS_AT_ONCE)
    handlers = Handlers(SqliteHandlers(db), services, callbacks_allowed=callbacks_allowed)
    sources = Sources(fetch=fetcher.get, stored=services.images.get)
    return Part(
        name="handlers",
        routes=routes,
        key=HANDLERS,
        service=handlers,
        context={SOURCES: sources, LIMITS: limits},
        stop=db.close,
    )
