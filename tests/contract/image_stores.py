"""The adapters the contract suite of the image store runs on; a new one is one more row of STORES."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property
from pathlib import Path

import pytest
from obstore.store import S3Store
from pydantic import SecretStr

from deploy.local.s3 import KEY, S3, SECRET
from libs.common.ids import new_id
from libs.common.settings import StorageSettings
from libs.common.storage import mongo
from libs.common.storage.sqlite import Database
from libs.common.storage.storage import Storage
from services.image_store.ports import ImageIndex, ObjectStore
from services.image_store.store_mongo import COLLECTIONS, MongoIndex
from services.image_store.store_objects import FolderObjects, StoreObjects
from services.image_store.store_sqlite import SCHEMA, SqliteIndex
from tests.contract import mongo_shim

Stores = tuple[ImageIndex, ObjectStore]


class Place:
    """Where one test's pictures are: a folder, a bucket and a database, each there from its first use on.

    Opening stores at the same place again finds what was stored.
    """

    def __init__(self, folder: Path, request: pytest.FixtureRequest) -> None:
        self.folder = folder
        self._request = request

    @cached_property
    def moto(self) -> S3Store:
        return self._bucket("moto_server")

    @cached_property
    def ceph(self) -> S3Store:
        return self._bucket("ceph_server")

    @cached_property
    def mongo_url(self) -> str:
        return self._request.getfixturevalue("mongo_url")

    def _bucket(self, kind: str) -> S3Store:
        server: S3 = self._request.getfixturevalue(kind)
        name = f"mien-{new_id()}"
        server.add_bucket(name)
        return bucket(server.url, name)


def bucket(url: str, name: str) -> S3Store:
    """A bucket as the settings open it."""
    settings = StorageSettings(s3_url=url, s3_bucket=name, s3_key=SecretStr(KEY), s3_secret=SecretStr(SECRET))
    opened = Storage(settings).objects
    assert opened is not None
    return opened


@asynccontextmanager
async def sqlite_index(place: Place) -> AsyncIterator[ImageIndex]:
    database = await Database(place.folder / "images.sqlite", SCHEMA).open()
    yield SqliteIndex(database)
    await database.close()


@asynccontextmanager
async def mongo_index(place: Place) -> AsyncIterator[ImageIndex]:
    async with mongo.connect(place.mongo_url) as client:
        database = client.get_default_database()
        await mongo.migrate(database, COLLECTIONS)
        yield MongoIndex(database)


@asynccontextmanager
async def files_and_sqlite(place: Place) -> AsyncIterator[Stores]:
    """What ``services.image_store.app`` builds when the settings name nothing else."""
    async with sqlite_index(place) as index:
        yield index, FolderObjects(place.folder / "bytes", durable=True)


@asynccontextmanager
async def moto_and_sqlite(place: Place) -> AsyncIterator[Stores]:
    async with sqlite_index(place) as index:
        yield index, StoreObjects(place.moto)


@asynccontextmanager
async def moto_and_mongo(place: Place) -> AsyncIterator[Stores]:
    async with mongo_index(place) as index:
        yield index, StoreObjects(place.moto, "images/")


@asynccontextmanager
async def ceph_and_mongo(place: Place) -> AsyncIterator[Stores]:
    async with mongo_index(place) as index:
        yield index, StoreObjects(place.ceph, "images/")


@asynccontextmanager
async def files_and_mongomock(place: Place) -> AsyncIterator[Stores]:
    """What the queries mean to another reading of MongoDB than the server's."""
    database = mongo_shim.database()
    await mongo.migrate(database, COLLECTIONS)
    yield MongoIndex(database), FolderObjects(place.folder / "bytes", durable=False)


OpenStores = Callable[[Place], AbstractAsyncContextManager[Stores]]
STORES: dict[str, OpenStores] = {
    "files and SQLite": files_and_sqlite,
    "moto and SQLite": moto_and_sqlite,
    "moto and Mongo": moto_and_mongo,
    "Ceph and Mongo": ceph_and_mongo,
    "files and mongomock": files_and_mongomock,
}
LASTING = [name for name in STORES if name != "files and mongomock"]
"""Those that outlive the process."""
