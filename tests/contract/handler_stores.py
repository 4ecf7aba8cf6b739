"""The adapters the contract suite of stored handlers runs on; a new one is one more row of STORES."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from libs.common.storage import mongo
from libs.common.storage.sqlite import Database
from services.handlers.ports import HandlerStore
from services.handlers.store_cached import CachedHandlers
from services.handlers.store_mongo import COLLECTIONS, MongoHandlers
from services.handlers.store_sqlite import SCHEMA, SqliteHandlers
from tests.contract import mongo_shim

OpenStore = Callable[[Path, pytest.FixtureRequest], AbstractAsyncContextManager[HandlerStore]]


@asynccontextmanager
async def sqlite_store(folder: Path, _: pytest.FixtureRequest) -> AsyncIterator[HandlerStore]:
    database = await Database(folder / "handlers.db", SCHEMA, durable=False).open()
    yield SqliteHandlers(database)
    await database.close()


@asynccontextmanager
async def mongo_store(_: Path, request: pytest.FixtureRequest) -> AsyncIterator[HandlerStore]:
    async with mongo.connect(request.getfixturevalue("mongo_url")) as client:
        database = client.get_default_database()
        await mongo.migrate(database, COLLECTIONS)
        yield MongoHandlers(database)


@asynccontextmanager
async def mongomock_store(_: Path, __: pytest.FixtureRequest) -> AsyncIterator[HandlerStore]:
    """What the queries mean to another reading of MongoDB than the server's."""
    yield MongoHandlers(mongo_shim.database())


@asynccontextmanager
async def cached_store(folder: Path, request: pytest.FixtureRequest) -> AsyncIterator[HandlerStore]:
    async with (
        sqlite_store(folder, request) as stored,
        Redis.from_url(request.getfixturevalue("redis_url")) as redis,
    ):
        yield CachedHandlers(stored, redis)


STORES: dict[str, OpenStore] = {
    "sqlite": sqlite_store,
    "mongo": mongo_store,
    "mongomock": mongomock_store,
    "cached": cached_store,
}
READ_NUL = [name for name in STORES if name != "mongo"]
"""nx-27017, which stands in for MongoDB, finds no NUL by a pattern; not yet seen on MongoDB itself."""
