"""MongoDB: one client for a process, majority writes, and an account in every query.

Documents are flat, their queries keep to operators that mean the same everywhere (docs/decisions/004), and a write that
was interrupted has an unknown end: repeating it by id is harmless.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pymongo import AsyncMongoClient, IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    ExecutionTimeout,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
    WTimeoutError,
)

from libs.common.errors import Code, MienError

Document = dict[str, Any]
Condition = Mapping[str, Any]

CALL_MS = 10_000
"""For one operation, retries included. What takes longer is not known to have been done."""
MAJORITY_MS = 8_000
DUPLICATE = 11_000
"""The server's code for a value that a unique index holds already."""
NOT_WRITABLE = {91, 189, 10107, 11600, 11602, 13435, 13436}
"""The server's codes for a node that is stepping down or is not the primary."""
OUT_OF_ORDER = {13, 18, 43, 133, 134, 262, 14031}
"""And for what an operator mends or time does, and is no fault of what was asked: a user who may not (any more), a
cursor that a failover lost, no member to read from, no majority yet, too long, a full disk."""
PASSING = NOT_WRITABLE | OUT_OF_ORDER


@dataclass(frozen=True)
class Collection:
    """A collection as the code declares it: its name and indexes. ``mien migrate`` makes it so."""

    name: str
    indexes: Sequence[IndexModel] = ()


def connect(url: str) -> AsyncMongoClient[Document]:
    """A client for ``mongodb://.../database``. Every write waits for a majority's journals; nothing connects yet.

    Raises MienError BAD_URL when the address cannot be read or names no database.
    """
    try:
        client: AsyncMongoClient[Document] = AsyncMongoClient(
            url,
            w="majority",
            journal=True,
            wTimeoutMS=MAJORITY_MS,
            readConcernLevel="majority",
            timeoutMS=CALL_MS,
            serverSelectionTimeoutMS=CALL_MS // 2,
            appname="mien",
        )
        client.get_default_database()
    except (InvalidURI, PyMongoError) as wrong:
        raise MienError(Code.BAD_URL, f"MIEN_MONGO_URL: {type(wrong).__name__}; like mongodb://host/mien") from None
    return client


async def migrate(database: AsyncDatabase[Document], collections: Sequence[Collection]) -> None:
    """Create what is missing. Running it again changes nothing. Raises STORE_UNAVAILABLE."""
    with reached():
        for collection in collections:
            if collection.indexes:
                await database[collection.name].create_indexes(list(collection.indexes))


async def check(database: AsyncDatabase[Document]) -> None:
    """Whether the server answers. Raises STORE_UNAVAILABLE."""
    with reached():
        await database.command("ping")


@contextmanager
def reached() -> Iterator[None]:
    """Trouble on the way to the server, or in it, leaves as STORE_UNAVAILABLE; any other failure as it is."""
    try:
        yield
    except PyMongoError as failure:
        if not _is_passing(failure):
            raise
        detail = f"MongoDB: {type(failure).__name__}; whether the write was made is not known, repeating it is safe"
        raise MienError(Code.STORE_UNAVAILABLE, detail, retry_after_s=1) from None  # it quotes documents


def _is_passing(failure: PyMongoError) -> bool:
    if isinstance(failure, ConnectionFailure | ExecutionTimeout | WTimeoutError | WriteConcernError) or failure.timeout:
        return True
    if isinstance(failure, BulkWriteError):
        details = failure.details or {}
        refused = {error["code"] for error in details.get("writeErrors", [])} - {DUPLICATE}
        return refused <= PASSING and bool(refused or details.get("writeConcernErrors"))
    return isinstance(failure, OperationFailure) and failure.code in PASSING


def literally(text: str) -> str:
    """A pattern of ``$regex`` for ``text`` as it stands. A pattern may hold no NUL itself."""
    return re.escape(text).replace("\0", r"\x00")


class Owned:
    """One account's documents of a collection. Its queries can name no other account."""

    def __init__(self, collection: AsyncCollection[Document], account: str) -> None:
        self.collection = collection
        self._account = account

    def where(self, condition: Condition | None = None) -> Document:
        """``condition``, for this account only."""
        return {**(condition or {}), "account_id": self._account}
