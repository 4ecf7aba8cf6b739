"""The adapters the contract suite of the image store runs on; a new one is one more row of STORES."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from obstore.store import MemoryStore

from services.image_store.ports import ImageIndex, ObjectStore
from services.image_store.store_objects import FolderObjects, StoreObjects
from services.image_store.store_sqlite import SqliteIndex

Stores = tuple[ImageIndex, ObjectStore]
OpenStores = Callable[[Path], AbstractAsyncContextManager[Stores]]


@asynccontextmanager
async def folder(path: Path) -> AsyncIterator[Stores]:
    """What ``services.image_store.app`` builds; opening the same path again finds what was stored."""
    index = await SqliteIndex(path / "images.sqlite").open()
    yield index, FolderObjects(path / "bytes", durable=True)
    await index.close()


@asynccontextmanager
async def objects_elsewhere(path: Path) -> AsyncIterator[Stores]:
    """Bytes in another obstore backend, as S3 would be."""
    index = await SqliteIndex(path / "images.sqlite", durable=False).open()
    yield index, StoreObjects(MemoryStore())
    await index.close()


STORES: dict[str, OpenStores] = {"folder": folder, "memory": objects_elsewhere}
