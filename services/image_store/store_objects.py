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

from libs.common.files import sync
from libs.common.storage.objects import bucket_reached, reached

LISTED = 1000
NO_SPACE = f"(os error {errno.ENOSPC})"
"""How obstore words it; it has no exception of its own for a full disk."""
NOTHING = "nothing/"
"""Nobody writes below it, so that listing it asks whether the bucket is there and costs no more."""
REMEMBERED = 10_000
"""Folders known to be on the disk; with a folder per hour and byte, forgetting them now and then is cheap."""


class StoreObjects:
    """Satisfies :class:`services.image_store.ports.ObjectStore` over any obstore backend, below ``prefix``.

    A backend other than a folder (``S3Store``) is durable by itself once ``put`` has returned. Every method raises
    STORE_UNAVAILABLE when it cannot be reached or refuses.

    Keys are written once and hold a random UUID, so writing one again writes the same bytes: that is what makes
    repeating a call harmless, and put-if-absent would only make the repetition fail. Callers get bytes, never a
    presigned address: whoever had one would need no account, and it would outlive the picture's deletion.
    """

    def __init__(self, backend: Backend, prefix: str = "") -> None:
        self._backend = backend
        self._prefix = prefix

    async def put(self, key: str, data: bytes) -> None:
        with bucket_reached():
            # in one request: a process that dies amid several leaves parts that no listing shows
            await obstore.put_async(self._backend, self._prefix + key, data, use_multipart=False)

    async def get(self, key: str) -> bytes | None:
        try:
            with reached():
                answer = await obstore.get_async(self._backend, self._prefix + key)
                return bytes(await answer.bytes_async())
        except FileNotFoundError:
            return None

    async def delete(self, keys: list[str]) -> None:
        with bucket_reached():
            await obstore.delete_async(self._backend, [self._prefix + key for key in keys])

    async def keys(self, before: datetime) -> AsyncIterator[list[str]]:
        with reached():
            async for batch in obstore.list(self._backend, self._prefix or None, chunk_size=LISTED):
                yield [item["path"].removeprefix(self._prefix) for item in batch if item["last_modified"] < before]

    async def check(self) -> None:
        with reached():
            async for _ in obstore.list(self._backend, NOTHING):
                return


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
            await obstore.put_async(self._backend, key, data)
        except GenericError as failure:
            if NO_SPACE in str(failure):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), key) from failure
            raise
        if self._durable:
            await asyncio.to_thread(self._sync, self._folder / key)

    async def delete(self, keys: list[str]) -> None:
        for key in keys:  # all at once would end at the first that is missing
            with suppress(FileNotFoundError):
                await obstore.delete_async(self._backend, key)

    def _sync(self, file: Path) -> None:
        """The file, its entry in its folder, and the entries of folders that may be new."""
        sync(file)
        sync(file.parent)
        if file.parent in self._synced:
            return
        for folder in file.parent.parents:
            sync(folder)
            if folder == self._folder.parent:
                break
        if len(self._synced) >= REMEMBERED:
            self._synced.clear()
        self._synced.add(file.parent)
