"""Claim-checks: what is too large for the broker lies in an object store, and a reference to it crosses instead.

A claim lives as long as one call, whose caller drops it, the answer's too. What callers that died left behind is
swept by its age.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

import obstore
from obstore.store import ObjectStore

from libs.common import clock
from libs.common.ids import new_id
from libs.common.storage.objects import bucket_reached, reached

PREFIX = "claims/"
SWEPT_S = 3600.0
"""Longer than any call may take."""


class Claims(Protocol):
    async def put(self, content: bytes) -> str:
        """Keep ``content`` for a while; its reference. Raises STORE_UNAVAILABLE."""
        ...

    async def get(self, reference: str) -> bytes | None:
        """None when it was dropped or swept. Raises STORE_UNAVAILABLE."""
        ...

    async def drop(self, reference: str) -> None:
        """Forget it, if it is there. Raises STORE_UNAVAILABLE."""
        ...


class ObjectClaims:
    """Satisfies :class:`Claims` over any obstore backend. It need not be durable: a lost claim is a lost call."""

    def __init__(self, store: ObjectStore, prefix: str = PREFIX) -> None:
        self._store = store
        self._prefix = prefix

    async def put(self, content: bytes) -> str:
        reference = new_id()
        with bucket_reached():
            # in one request: a process that dies amid several leaves parts that no listing shows
            await obstore.put_async(self._store, self._prefix + reference, content, use_multipart=False)
        return reference

    async def get(self, reference: str) -> bytes | None:
        try:
            with reached():
                answer = await obstore.get_async(self._store, self._prefix + reference)
                return bytes(await answer.bytes_async())
        except FileNotFoundError:
            return None

    async def drop(self, reference: str) -> None:
        await self._delete(self._prefix + reference)

    async def sweep(self, older_than_s: float = SWEPT_S) -> int:
        """Delete what is older than any call; how many it were. To be repeated by whoever serves work."""
        before, swept = clock.now() - timedelta(seconds=older_than_s), 0
        with reached():
            async for batch in obstore.list(self._store, self._prefix):
                for item in batch:
                    if item["last_modified"] < before:
                        await self._delete(item["path"])
                        swept += 1
        return swept

    async def _delete(self, path: str) -> None:
        try:
            with reached():
                await obstore.delete_async(self._store, path)
        except FileNotFoundError:
            return
