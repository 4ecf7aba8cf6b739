"""The adapters the contract suites of the faces service run on; a new one is one more row of STORES."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis

from libs.common import clock
from libs.common.descriptors import DEFAULT_FACE
from libs.common.storage import mongo
from libs.common.storage.sqlite import Database
from libs.common.wire.faces import DescriptorDraft
from services.faces.ports import FaceStore, TemporaryAttributes
from services.faces.service import Faces
from services.faces.store_mongo import COLLECTIONS, MongoFaceStore
from services.faces.store_sqlite import SCHEMA, SqliteFaceStore
from services.faces.temporary_redis import RedisTemporary
from services.faces.temporary_sqlite import SCHEMA as TEMPORARY_SCHEMA
from services.faces.temporary_sqlite import SqliteTemporary
from tests.contract import mongo_shim


@dataclass(frozen=True)
class Stores:
    """What the service is built of. ``has_nul`` is whether text with NUL in it is found (docs/mongo.md)."""

    store: FaceStore
    temporary: TemporaryAttributes
    has_nul: bool = True

    def faces(self, now_ms: Callable[[], int] = clock.now_ms) -> Faces:
        return Faces(self.store, self.temporary, now_ms)


class Place:
    """Where one test's faces are. Opening stores at the same place again finds what was stored.

    A place for an example of a property is at a folder of its own, and wipes the servers' databases (``wiped``): they
    are the test's.
    """

    def __init__(self, folder: Path, request: pytest.FixtureRequest, *, wiped: bool = False) -> None:
        self.folder = folder
        self.wiped = wiped
        self._request = request

    @cached_property
    def mongo_url(self) -> str:
        return self._request.getfixturevalue("mongo_url")

    @cached_property
    def redis_url(self) -> str:
        return self._request.getfixturevalue("redis_url")

    @cached_property
    def mongomock(self) -> AsyncDatabase[mongo.Document]:
        return mongo_shim.database()


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[Stores]:
    """What ``services.faces.app`` builds when the settings name nothing else."""
    async with AsyncExitStack() as stack:
        store = SqliteFaceStore(await _opened(stack, folder / "faces.db", SCHEMA))
        yield Stores(store, await _sqlite_temporary(stack, folder))


@asynccontextmanager
async def mongo_and_redis(place: Place) -> AsyncIterator[Stores]:
    """Over the wire."""
    async with mongo.connect(place.mongo_url) as client, Redis.from_url(place.redis_url) as redis:
        database = client.get_default_database()
        await mongo.migrate(database, COLLECTIONS)
        if place.wiped:
            await redis.flushdb()
            for collection in COLLECTIONS:
                await database[collection.name].delete_many({})
        server = (await database.command("buildInfo")).get("process")
        yield Stores(MongoFaceStore(database), RedisTemporary(redis), has_nul=server != "nx_27017")


@asynccontextmanager
async def mongomock(place: Place) -> AsyncIterator[Stores]:
    """What the queries mean to another reading of MongoDB than the server's."""
    async with AsyncExitStack() as stack:
        await mongo.migrate(place.mongomock, COLLECTIONS)
        yield Stores(MongoFaceStore(place.mongomock), await _sqlite_temporary(stack, place.folder))


async def _sqlite_temporary(stack: AsyncExitStack, folder: Path) -> SqliteTemporary:
    return SqliteTemporary(await _opened(stack, folder / "attributes.db", TEMPORARY_SCHEMA))


async def _opened(stack: AsyncExitStack, path: Path, schema: str) -> Database:
    database = await Database(path, schema, durable=False).open()
    stack.push_async_callback(database.close)
    return database


OpenStores = Callable[[Place], AbstractAsyncContextManager[Stores]]
STORES: dict[str, OpenStores] = {
    "SQLite": lambda place: sqlite(place.folder),
    "Mongo and Redis": mongo_and_redis,
    "mongomock": mongomock,
}
EXAMPLES = {"Mongo and Redis": 0.2}
"""Which part of a property's examples a store is tried with, where it is not all: over the wire they take long."""

_counter = itertools.count(1)


def uid(number: int | None = None) -> str:
    """A UUID that is readable in a failure: number 7 is 00000000-0000-4000-8000-000000000007."""
    return f"00000000-0000-4000-8000-{next(_counter) + 0xA00000 if number is None else number:012x}"


def descriptor(seed: int = 0, version: int = DEFAULT_FACE, length: int = 128, score: float | None = None):
    """A raw descriptor of random values, with its version."""
    values = np.random.default_rng(seed).standard_normal(length).astype("<f4")
    return DescriptorDraft(descriptor=values.tobytes(), version=version, score=score)
