"""The image store, wired: SQLite for what is stored, a folder for the bytes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from libs.common import ports
from libs.common.part import Part
from services.image_store.routes import IMAGES, routes
from services.image_store.service import Images
from services.image_store.store_objects import FolderObjects
from services.image_store.store_sqlite import SqliteIndex

PURGE_EVERY_S = 60
SWEEP_EVERY_S = 6 * 3600

log = logging.getLogger("mien.image_store")


async def build(folder: Path, durable: bool) -> Part:
    """The image store in ``folder``; ``durable`` waits for the disk before a picture is acknowledged."""
    index = await SqliteIndex(folder / "images.sqlite", durable=durable).open()
    images = Images(index, FolderObjects(folder / "bytes", durable=durable))
    tasks: list[asyncio.Task[None]] = []

    async def start() -> None:
        tasks.append(asyncio.create_task(_repeat(images.purge, PURGE_EVERY_S), name="image-store-purge"))
        tasks.append(asyncio.create_task(_repeat(images.sweep, SWEEP_EVERY_S), name="image-store-sweep"))

    async def stop() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await index.close()

    return Part("image_store", routes, IMAGES, images, ports=(ports.Images,), start=start, stop=stop)


async def _repeat(work: Callable[[], Awaitable[int]], every_s: float) -> None:
    """Housekeeping, first at once: what the last process left behind. A failure is logged and tried again."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("housekeeping of the image store failed")
        await asyncio.sleep(every_s)
