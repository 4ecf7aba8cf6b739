"""The image store, wired: SQLite for what is stored, a folder for the bytes."""

from __future__ import annotations

from libs.common import ports
from libs.common.housekeeping import Housekeeping
from libs.common.part import Part
from libs.common.storage.storage import Storage
from services.image_store.routes import IMAGES, routes
from services.image_store.service import Images
from services.image_store.store_objects import FolderObjects
from services.image_store.store_sqlite import SqliteIndex

PURGE_EVERY_S = 60.0
SWEEP_EVERY_S = 6 * 3600.0


async def build(storage: Storage) -> Part:
    """The image store over ``storage``."""
    folder = storage.folder / "images"
    index = await SqliteIndex(folder / "images.sqlite", durable=storage.durable).open()
    images = Images(index, FolderObjects(folder / "bytes", durable=storage.durable))
    housekeeping = Housekeeping()

    async def start() -> None:
        housekeeping.repeat("image-store-purge", images.purge, PURGE_EVERY_S)
        housekeeping.repeat("image-store-sweep", images.sweep, SWEEP_EVERY_S)

    async def stop() -> None:
        await housekeeping.stop()
        await index.close()

    return Part("image_store", routes, IMAGES, images, ports=(ports.Images,), start=start, stop=stop)
