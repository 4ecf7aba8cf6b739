"""Lists in MongoDB: a document per list; which faces are in it, their own documents say.

Links name a list by its number, for a list made again under the id of a deleted one is another list. A deleted list
leaves a mark: its document, out of its place. Faces join no marked list, and those that are in it leave. Who writes a
link looks at the list again afterwards (:meth:`MongoLists.touch`) and takes the link back when the list is gone. So a
link to nothing is left only by a process that dies in between, and whoever goes over the marks finds it: they stay for
much longer than a write takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pymongo import DESCENDING, IndexModel, UpdateOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from libs.common.errors import Code, MienError
from libs.common.ids import Id, new_id
from libs.common.storage.mongo import Collection, Document, Owned, reached
from libs.common.wire.base import Page
from libs.common.wire.faces import FaceList, ListFilter
from services.faces.conditions_mongo import LIST_CONDITIONS, compiled
from services.faces.documents import Links, list_document, read_list

LISTS = Collection(
    "lists",
    (
        IndexModel([("place", 1)], unique=True),
        IndexModel([("account_id", 1), ("create_ms", DESCENDING), ("list_id", 1)]),
        IndexModel([("account_id", 1), ("list_id", 1)]),
        IndexModel([("deleted", 1), ("list_id", 1)]),
    ),
)
MARK_MS = 600_000
"""How long a mark is kept: much longer than a write takes from looking at the list to looking again."""

MARKED: Document = {"deleted": True}
NUMBER: Document = {"list_id": 1, "account_id": 1}
"""What is read of a list for its number."""


Marks = dict[str, str]
"""Deleted lists: the id each had, by its number."""


class MongoLists:
    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._documents = database[LISTS.name]

    async def add(self, drawn: FaceList) -> bool:
        """Store a list; one the account has already stays as it is. Whether it was stored. Raises REQUEST_CONFLICT."""
        with reached():
            try:
                await self._documents.insert_one(list_document(drawn, new_id()))
            except DuplicateKeyError:
                there = await self._documents.find_one({"place": drawn.list_id}, NUMBER)
                if there is not None and there["account_id"] != drawn.account_id:
                    raise MienError(Code.REQUEST_CONFLICT, f"list {drawn.list_id}: the id is in use") from None
                return False
        return True

    async def links(self, account: Id, list_ids: Iterable[Id]) -> Links:
        """To those that are there."""
        wanted = sorted(set(list_ids))
        if not wanted:
            return {}
        owned = self._of(account)
        with reached():
            found = await owned.collection.find(owned.where({"place": {"$in": wanted}}), NUMBER).to_list()
        return {one["list_id"]: one["_id"] for one in found}

    async def require(self, account: Id, list_ids: set[Id]) -> Links:
        """Raises LISTS_MISSING."""
        found = await self.links(account, list_ids)
        if missing := sorted(list_ids - found.keys()):
            raise MienError(Code.LISTS_MISSING, f"lists {', '.join(missing)} were not found")
        return found

    async def touch(self, account: Id, numbers: set[str], now_ms: int) -> set[str]:
        """Move the time of update of lists whose faces have changed; which numbers are of lists that are gone."""
        if not numbers:
            return set()
        owned = self._of(account)
        present = owned.where({"_id": {"$in": sorted(numbers)}, "deleted": False})
        with reached():
            touched = await owned.collection.update_many(present, {"$max": {"update_ms": now_ms}})
            if touched.matched_count == len(numbers):
                return set()
            return numbers - {one["_id"] async for one in owned.collection.find(present, {"_id": 1})}

    async def get(self, account: Id, list_ids: Sequence[Id]) -> list[FaceList]:
        owned = self._of(account)
        with reached():
            found = owned.collection.find(owned.where({"place": {"$in": list(list_ids)}})).sort("list_id", 1)
            return [read_list(document) async for document in found]

    async def find(self, account: Id, where: ListFilter, page: Page) -> list[FaceList]:
        by_id = where.list_id__gte is not None or where.list_id__lt is not None
        order = [("list_id", 1)] if by_id else [("create_ms", DESCENDING), ("list_id", 1)]
        owned = self._of(account)
        with reached():
            found = owned.collection.find(owned.where(_present(where))).sort(order)
            return [read_list(document) async for document in found.skip(page.offset).limit(page.page_size)]

    async def count(self, account: Id, where: ListFilter) -> int:
        owned = self._of(account)
        with reached():
            return await owned.collection.count_documents(owned.where(_present(where)))

    async def patch(self, account: Id, list_id: Id, user_data: str) -> bool:
        owned = self._of(account)
        with reached():
            done = await owned.collection.update_one(
                owned.where({"place": list_id}), {"$set": {"user_data": user_data}}
            )
        return done.matched_count == 1

    async def mark(self, account: Id, list_ids: Sequence[Id], now_ms: int) -> set[str]:
        """Those that exist are deleted from here on, and their places are free. Returns their numbers."""
        owned = self._of(account)
        numbers = {*(await self.links(account, list_ids)).values()}
        operations = [
            UpdateOne(
                owned.where({"_id": number, "deleted": False}),
                {"$set": {"place": number, "deleted": True, "deleted_ms": now_ms}},
            )
            for number in sorted(numbers)
        ]
        if operations:
            with reached():
                await owned.collection.bulk_write(operations, ordered=False)
        return numbers

    async def marks(self, account: Id, list_ids: Sequence[Id]) -> Marks:
        """Of lists that had these ids."""
        owned = self._of(account)
        with reached():
            found = owned.collection.find(owned.where({**MARKED, "list_id": {"$in": list(list_ids)}}), NUMBER)
            return {one["_id"]: one["list_id"] async for one in found}

    async def marks_of_all(self) -> dict[Id, Marks]:
        """By account."""
        found: dict[Id, Marks] = {}
        with reached():
            async for one in self._documents.find(MARKED, NUMBER):
                found.setdefault(one["account_id"], {})[one["_id"]] = one["list_id"]
        return found

    async def drop_marks(self, account: Id, numbers: Iterable[str], before_ms: int) -> None:
        """Forget lists that were deleted before a moment; no face may have them any more."""
        owned = self._of(account)
        condition = {"_id": {"$in": sorted(numbers)}, "deleted": True, "deleted_ms": {"$lt": before_ms}}
        with reached():
            await owned.collection.delete_many(owned.where(condition))

    def _of(self, account: Id) -> Owned:
        return Owned(self._documents, account)


def _present(where: ListFilter) -> Document:
    return {**compiled(where, LIST_CONDITIONS), "deleted": False}
