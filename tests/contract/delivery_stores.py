"""The adapters the contract suite of callbacks to be made runs on; a new one is one more row of STORES."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from libs.common.storage import mongo
from libs.common.storage.sqlite import Database
from services.sender.deliveries_mongo import COLLECTIONS, MongoDeliveries
from services.sender.deliveries_sqlite import SCHEMA, SqliteDeliveries
from services.sender.model import Keeping
from services.sender.ports import Deliveries
from tests.contract import mongo_shim

OpenStore = Callable[[Path, pytest.FixtureRequest, Keeping], AbstractAsyncContextManager[Deliveries]]


@asynccontextmanager
async def sqlite_store(folder: Path, _: pytest.FixtureRequest, keeping: Keeping) -> AsyncIterator[Deliveries]:
    database = await Database(folder / "callbacks.db", SCHEMA, durable=False).open()
    yield SqliteDeliveries(database, keeping)
    await database.close()


@asynccontextmanager
async def mongo_store(_: Path, request: pytest.FixtureRequest, keeping: Keeping) -> AsyncIterator[Deliveries]:
    async with mongo.connect(request.getfixturevalue("mongo_url")) as client:
        database = client.get_default_database()
        await mongo.migrate(database, COLLECTIONS)
        yield MongoDeliveries(database, keeping)


@asynccontextmanager
async def mongomock_store(_: Path, __: pytest.FixtureRequest, keeping: Keeping) -> AsyncIterator[Deliveries]:
    """What the queries mean to another reading of MongoDB than the server's."""
    yield MongoDeliveries(mongo_shim.database(), keeping)


STORES: dict[str, OpenStore] = {"sqlite": sqlite_store, "mongo": mongo_store, "mongomock": mongomock_store}
