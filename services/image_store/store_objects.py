"""Bytes in whatever obstore speaks: a folder, S3."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import obstore
from obstore.exceptions import GenericError
from obstore.store import LocalStore
from obstore.store import ObjectStore as Backend

LISTED = 1000
NO_SPACE = f"(os error {errno.ENOSPC})"
"""How obstore words it; it has no exception of its own for a full disk."""
REMEMBERED = 10_000
"""Folders known to be on the disk; with a folder per hour and byte, forgetting them now and then is cheap."""


class StoreObjects:
    """Satisfies :class:`services.image_store.ports.ObjectStore` over any obstore backend.

    A backend other than a folder (``S3Store``) is durable by itself once ``put`` has returned.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def put(self, key: str, data: bytes) -> None:
        await obstore.put_async(self._backend, key, data)

    async def get(self, key: str) -> bytes | None:
        try:
            answer = await obstore.get_async(self._backend, key)
            return bytes(await answer.bytes_async())
        except FileNotFoundError:
            return None

    async def delete(self, keys: list[str]) -> None:
        for key in keys:
            with suppress(FileNotFoundError):
                await obstore.delete_async(self._backend, key)

    async def keys(self, before: datetime) -> AsyncIterator[list[str]]:
        async for batch in obstore.list(self._backend, chunk_size=LISTED):
            yield [item["path"] for item in batch if item["last_modified"] < before]


class FolderObjects(StoreObjects):
    """A folder. ``durable`` waits for the disk, which obstore does not."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        super().__init__(LocalStore(folder, mkdir=True))
        self._folder = folder
        self._durable = durable
        self._synced: set[Path] = set()

    async def put(self, key: str, data: bytes) -> None:
        """Raises OSError (ENOSPC) when the disk is full."""
        try:
            await super().put(key, data)
        except GenericError as failure:
            if NO_SPACE in str(failure):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), key) from failure
            raise
        if self._durable:
            await asyncio.to_thread(self._sync, self._folder / key)

    def _sync(self, file: Path) -> None:
        """The file, its entry in its folder, and the entries of folders that may be new."""
        _fsync(file)
        _fsync(file.parent)
        if file.parent in self._synced:
            return
        for folder in file.parent.parents:
            _fsync(folder)
            if folder == self._folder.parent:
                break
        if len(self._synced) >= REMEMBERED:
            self._synced.clear()
        self._synced.add(file.parent)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
