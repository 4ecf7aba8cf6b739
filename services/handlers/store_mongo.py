"""Handlers in MongoDB: one document each, the scalar fields that are searched and the policies as JSON text."""

from __future__ import annotations

from pymongo import DESCENDING, IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from libs.common.ids import Id
from libs.common.storage import mongo
from libs.common.storage.mongo import Collection, Document, Owned, literally, reached
from libs.common.wire.base import Page
from libs.common.wire.handlers import Handler, HandlerFilter
from services.handlers.journal_mongo import UNFINISHED
from services.handlers.stored import dump, folded, load

HANDLERS = "handlers"
COLLECTIONS = (
    Collection(HANDLERS, (IndexModel([("account_id", 1), ("create_ms", DESCENDING), ("handler_id", 1)]),)),
    UNFINISHED,
)


class MongoHandlers:
    """Satisfies :class:`services.handlers.ports.HandlerStore`."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._database = database

    async def check(self) -> None:
        await mongo.check(self._database)

    async def add(self, handler: Handler) -> None:
        owned = self._of(handler.account_id)
        with reached():
            try:
                await owned.collection.insert_one(_document(handler))
            except DuplicateKeyError:
                return

    async def get(self, account: Id, handler_id: Id) -> Handler | None:
        owned = self._of(account)
        with reached():
            found = await owned.collection.find_one(owned.where({"_id": _place(account, handler_id)}))
        return None if found is None else load(found)

    async def find(self, account: Id, where: HandlerFilter, page: Page) -> list[Handler]:
        owned = self._of(account)
        with reached():
            newest = owned.collection.find(owned.where(_condition(where))).sort(
                [("create_ms", DESCENDING), ("handler_id", 1)]
            )
            found = await newest.skip(page.offset).limit(page.page_size).to_list()
        return [load(document) for document in found]

    async def count(self, account: Id, where: HandlerFilter) -> int:
        owned = self._of(account)
        with reached():
            return await owned.collection.count_documents(owned.where(_condition(where)))

    async def replace(self, handler: Handler) -> bool:
        owned = self._of(handler.account_id)
        document = _document(handler)
        replaced = owned.where({"_id": document["_id"], "version": handler.version - 1})
        with reached():
            done = await owned.collection.replace_one(replaced, document)
        return done.matched_count == 1

    async def delete(self, account: Id, handler_id: Id) -> bool:
        owned = self._of(account)
        with reached():
            done = await owned.collection.delete_one(owned.where({"_id": _place(account, handler_id)}))
        return done.deleted_count == 1

    def _of(self, account: Id) -> Owned:
        return Owned(self._database[HANDLERS], account)


def _place(account: Id, handler_id: Id) -> str:
    return f"{account}/{handler_id}"


def _document(handler: Handler) -> Document:
    place = _place(handler.account_id, handler.handler_id)
    return {"_id": place, **dump(handler), "description_folded": folded(handler.description)}


def _condition(where: HandlerFilter) -> Document:
    condition: Document = {}
    if where.description is not None:
        condition["description_folded"] = {"$regex": literally(folded(where.description))}
    if where.handler_type is not None:
        condition["handler_type"] = where.handler_type
    return condition
