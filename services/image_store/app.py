"""The image store, wired: what is stored in MongoDB or SQLite, the bytes in S3 or a folder."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

from libs.common import ports
from libs.common.housekeeping import Housekeeping
from libs.common.part import Part
from libs.common.storage.storage import Storage
from services.image_store.ports import ImageIndex, ObjectStore
from services.image_store.routes import IMAGES, routes
from services.image_store.service import Images
from services.image_store.store_mongo import MongoIndex
from services.image_store.store_objects import FolderObjects, StoreObjects
from services.image_store.store_sqlite import SCHEMA, SqliteIndex

PURGE_EVERY_S = 60.0
SWEEP_EVERY = timedelta(hours=6)
ASK_EVERY_S = 600.0
"""Whether it is time to sweep, and this process's turn."""
PREFIX = "images/"
"""Of the bucket, which holds more than pictures; the sweep sees what lies below it, and nothing else."""


async def build(storage: Storage) -> Part:
    """The image store over ``storage``."""
    images = Images(await _index(storage), _objects(storage))
    housekeeping = Housekeeping()

    async def start() -> None:
        housekeeping.repeat("purging what has expired", images.purge, PURGE_EVERY_S)
        housekeeping.repeat("sweeping bytes without a row", partial(images.sweep_in_turn, SWEEP_EVERY), ASK_EVERY_S)

    async def health() -> dict[str, Any]:
        await images.check()
        return {}

    return Part(
        "image_store",
        routes,
        IMAGES,
        images,
        ports=(ports.Images,),
        start=start,
        stop=housekeeping.stop,
        health=health,
    )


async def _index(storage: Storage) -> ImageIndex:
    if storage.mongo is not None:
        return MongoIndex(storage.mongo)
    return SqliteIndex(await storage.sqlite("images/images.sqlite", SCHEMA))


def _objects(storage: Storage) -> ObjectStore:
    if storage.objects is not None:
        return StoreObjects(storage.objects, PREFIX)
    return FolderObjects(storage.folder / "images" / "bytes", durable=storage.durable)
