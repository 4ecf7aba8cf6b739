"""What the image store needs: a place for bytes, and an index that says which of them count."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from libs.common.errors import Code, MienError
from libs.common.ids import Id
from libs.common.wire.images import Bucket

Kind = Literal["image", "object"]

PLATFORM = ""
"""The account of buckets that everybody has."""


@dataclass(frozen=True)
class Record:
    """One stored item. ``key`` is where its bytes are: every write gets a fresh one, so bytes never change."""

    account: Id
    bucket: str
    kind: Kind
    item_id: Id
    key: str
    content_type: str
    size_bytes: int
    sha256: str
    create_ms: int
    expire_ms: int | None = None
    meta: dict[str, str] = field(default_factory=dict)


class ImageIndex(Protocol):
    """Metadata. What has no row here does not exist; every method sees one account's rows only."""

    async def check(self) -> None:
        """Whether the index can be used. Raises STORE_UNAVAILABLE, or what its database raises."""
        ...

    async def add_bucket(self, account: Id, name: str, create_ms: int) -> None:
        """Raises BUCKET_EXISTS, also for the name of a platform bucket."""
        ...

    async def buckets(self, account: Id) -> list[Bucket]:
        """The platform's and the account's own, by name."""
        ...

    async def bucket(self, account: Id, name: str) -> Bucket:
        """Raises BUCKET_MISSING."""
        ...

    async def delete_bucket(self, account: Id, name: str, now_ms: int) -> bool:
        """Whether there was one. What it held is gone at once, and reported by :meth:`purge`.

        Platform buckets stay.
        """
        ...

    async def put(self, records: list[Record]) -> list[str]:
        """Store or replace durably; returns the keys that were replaced. Raises BUCKET_MISSING, then storing none.

        After any other failure some of them may be stored; repeating it by id completes it.
        """
        ...

    async def get(self, account: Id, bucket: str, kind: Kind, item_id: Id, now_ms: int) -> Record | None:
        """None when there is none, or it has expired."""
        ...

    async def delete(self, account: Id, bucket: str, kind: Kind, item_ids: list[Id], now_ms: int) -> list[str]:
        """Delete those that exist; returns the keys of those that had not expired."""
        ...

    async def purge(self, now_ms: int, limit: int) -> list[str]:
        """Forget up to ``limit`` items that expired or whose bucket is gone, of every account; returns their keys.

        Several processes may do it at the same time, and may be told of the same keys.
        """
        ...

    async def known(self, keys: list[str]) -> set[str]:
        """Which of these keys any row, of any account, refers to."""
        ...

    async def take_turn(self, now_ms: int, every_ms: int) -> bool:
        """Whether a sweep is due, because none was begun for ``every_ms``. One of those who ask is told so."""
        ...


def bucket_exists(name: str) -> MienError:
    """What :meth:`ImageIndex.add_bucket` raises."""
    return MienError(Code.BUCKET_EXISTS, f"bucket {name}")


def bucket_missing(name: str) -> MienError:
    """What is raised of a bucket that an account does not have."""
    return MienError(Code.BUCKET_MISSING, f"bucket {name}")


class ObjectStore(Protocol):
    """Bytes by key. A key is written once, or again with the same bytes."""

    async def put(self, key: str, data: bytes) -> None:
        """Returns when the bytes are as durable as the store was asked to make them. Raises STORE_UNAVAILABLE when
        that is not known, and OSError (ENOSPC) when there is no room."""
        ...

    async def get(self, key: str) -> bytes | None: ...

    async def delete(self, keys: list[str]) -> None:
        """Delete those that exist."""
        ...

    def keys(self, before: datetime) -> AsyncIterator[list[str]]:
        """Every key written before a moment, in batches."""
        ...

    async def check(self) -> None:
        """Whether the store can be used. Raises STORE_UNAVAILABLE."""
        ...
