"""mongomock behind the face of PyMongo's asynchronous driver: what a query means, without a server.

Each call is one step that nothing interrupts, as one operation on one document is in MongoDB. What mongomock cannot do
fails the test that asks for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import mongomock
from pymongo import DeleteMany, DeleteOne, InsertOne, UpdateMany, UpdateOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError

Document = dict[str, Any]
Operation = InsertOne[Document] | UpdateOne | UpdateMany | DeleteOne | DeleteMany
Turn = Callable[[], Awaitable[None]]
"""Awaited before each step; a test decides by it who goes next."""


@dataclass
class Done:
    """What a bulk write did; named as in PyMongo's ``BulkWriteResult``."""

    inserted_count: int = 0
    matched_count: int = 0
    modified_count: int = 0
    upserted_count: int = 0
    deleted_count: int = 0


async def _soon() -> None:
    """As with a server, others go on meanwhile."""
    await asyncio.sleep(0)


def database(turn: Turn = _soon) -> AsyncDatabase[Document]:
    """An empty database in memory."""
    return cast("AsyncDatabase[Document]", _Database(mongomock.MongoClient()["mien"], turn))


class _Database:
    def __init__(self, inner: Any, turn: Turn) -> None:
        self._inner = inner
        self._turn = turn

    def __getitem__(self, name: str) -> _Collection:
        return _Collection(self._inner[name], self._turn)


class _Collection:
    """Every method that is not here is the inner one's, awaited."""

    def __init__(self, inner: Any, turn: Turn) -> None:
        self._inner = inner
        self._turn = turn
        self.name = inner.name

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._inner, name)

        async def step(*arguments: Any, **options: Any) -> Any:
            await self._turn()
            return method(*arguments, **options)

        return step

    def find(self, *arguments: Any, **options: Any) -> _Cursor:
        return _Cursor(lambda: self._inner.find(*arguments, **options), self._turn)

    async def aggregate(self, pipeline: Sequence[Document], **options: Any) -> _Cursor:
        return _Cursor(lambda: self._inner.aggregate(pipeline, **options), self._turn)

    async def bulk_write(self, operations: Sequence[Operation], *, ordered: bool = True) -> Done:
        """One by one: mongomock's own does not know the operations of PyMongo 4.20."""
        done = Done()
        errors: list[Document] = []
        for place, operation in enumerate(operations):
            await self._turn()
            try:
                _run(self._inner, operation, done)
            except DuplicateKeyError as taken:
                errors.append({"index": place, "code": 11000, "errmsg": str(taken)})
                if ordered:
                    break
        if errors:
            raise BulkWriteError({"writeErrors": errors, "writeConcernErrors": []})
        return done


class _Cursor:
    def __init__(self, open_inner: Callable[[], Any], turn: Turn) -> None:
        self._open = open_inner
        self._turn = turn
        self._calls: list[tuple[str, tuple[Any, ...]]] = []

    def sort(self, *arguments: Any) -> _Cursor:
        return self._then("sort", arguments)

    def limit(self, *arguments: Any) -> _Cursor:
        return self._then("limit", arguments)

    def skip(self, *arguments: Any) -> _Cursor:
        return self._then("skip", arguments)

    async def to_list(self, length: int | None = None) -> list[Document]:
        await self._turn()
        cursor = self._open()
        for name, arguments in self._calls:
            cursor = getattr(cursor, name)(*arguments)
        return list(cursor)[:length]

    async def __aiter__(self) -> AsyncIterator[Document]:
        for document in await self.to_list():
            yield document

    def _then(self, name: str, arguments: tuple[Any, ...]) -> _Cursor:
        self._calls.append((name, arguments))
        return self


def _run(inner: Any, operation: Any, done: Done) -> None:
    match operation:
        case InsertOne():
            inner.insert_one(operation._doc)
            done.inserted_count += 1
        case UpdateOne() | UpdateMany():
            update = inner.update_one if isinstance(operation, UpdateOne) else inner.update_many
            result = update(operation._filter, operation._doc, upsert=bool(operation._upsert))
            done.matched_count += result.matched_count
            done.modified_count += result.modified_count
            done.upserted_count += result.upserted_id is not None
        case DeleteOne():
            done.deleted_count += inner.delete_one(operation._filter).deleted_count
        case DeleteMany():
            done.deleted_count += inner.delete_many(operation._filter).deleted_count
        case _:
            raise NotImplementedError(type(operation).__name__)
