"""The index of pictures and objects in MongoDB: a document per bucket and one per item.

Every change is one document's, and atomic by that. A bucket deleted and made again under its name is another one, and
items hold the number of theirs; a deleted one's document stays until no write into it can be under way. Several items
stored together are no transaction: whoever dies in between has stored some of them, and storing them again by id
completes it.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta

from pymongo import IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError

from libs.common import clock
from libs.common.errors import Code, MienError
from libs.common.ids import Id, new_id
from libs.common.storage import mongo
from libs.common.storage.mongo import DUPLICATE, Collection, Document, Owned, reached
from libs.common.wire.images import PLATFORM_BUCKETS, Bucket
from services.image_store.ports import PLATFORM, Kind, Record, bucket_exists, bucket_missing

BUCKETS, ITEMS, TURNS = "image_buckets", "image_items", "image_turns"
SETTLED_MS = int(timedelta(minutes=10) / timedelta(milliseconds=1))
"""No write that found a bucket alive is under way this long after its deletion: one takes ``mongo.CALL_MS`` at most."""
DROPPED = 1000
"""Deleted buckets that one purge looks into, the oldest first."""
TRIES = 5
"""Of replacing an item that others store or delete at the same moment."""
FATE = {"key": 1, "expire_ms": 1}

COLLECTIONS = (
    Collection(BUCKETS, (IndexModel("place", unique=True), IndexModel("account_id"), IndexModel("dropped_ms"))),
    Collection(ITEMS, (IndexModel("key", unique=True), IndexModel("number"), IndexModel("expire_ms"))),
    Collection(TURNS),
)


class MongoIndex:
    """Satisfies :class:`services.image_store.ports.ImageIndex`."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._database = database
        self._platform: list[Bucket] = []

    async def check(self) -> None:
        await mongo.check(self._database)

    async def add_bucket(self, account: Id, name: str, create_ms: int) -> None:
        if name in PLATFORM_BUCKETS:
            raise bucket_exists(name)
        try:
            with reached():
                await self._database[BUCKETS].insert_one(_bucket_document(account, name, new_id(), create_ms))
        except DuplicateKeyError:
            raise bucket_exists(name) from None

    async def buckets(self, account: Id) -> list[Bucket]:
        owned = Owned(self._database[BUCKETS], account)
        with reached():
            own = await owned.collection.find(owned.where({"dropped_ms": None})).to_list()
            found = await self._platform_buckets() + [_bucket(document) for document in own]
        return sorted(found, key=lambda bucket: bucket.bucket)

    async def bucket(self, account: Id, name: str) -> Bucket:
        with reached():
            if name in PLATFORM_BUCKETS:
                return next(bucket for bucket in await self._platform_buckets() if bucket.bucket == name)
            found = await self._own_bucket(account, name)
        if found is None:
            raise bucket_missing(name)
        return _bucket(found)

    async def delete_bucket(self, account: Id, name: str, now_ms: int) -> bool:
        owned = Owned(self._database[BUCKETS], account)
        with reached():
            number = await self._number(account, name)
            # its place is free for another bucket from here on
            leaving = {"$set": {"place": number, "dropped_ms": now_ms}}
            done = await owned.collection.update_one(owned.where({"_id": number, "dropped_ms": None}), leaving)
        return done.modified_count == 1

    async def put(self, records: list[Record]) -> list[str]:
        with reached():
            documents = [await self._item(record) for record in records]
            taken = await self._insert(documents)
            replaced = [await self._replace(document) for document in taken]
        return [key for key in replaced if key]

    async def get(self, account: Id, bucket: str, kind: Kind, item_id: Id, now_ms: int) -> Record | None:
        owned = Owned(self._database[ITEMS], account)
        with reached():
            place = _item_place(account, await self._number(account, bucket), kind, item_id)
            found = await owned.collection.find_one(owned.where({"_id": place}))
        return None if found is None or _has_expired(found, now_ms) else _record(found)

    async def delete(self, account: Id, bucket: str, kind: Kind, item_ids: list[Id], now_ms: int) -> list[str]:
        owned = Owned(self._database[ITEMS], account)
        with reached():
            number = await self._number(account, bucket)
            places = [_item_place(account, number, kind, item_id) for item_id in item_ids]
            found = await owned.collection.find(owned.where({"_id": {"$in": places}}), FATE).to_list()
            keys = [item["key"] for item in found if not _has_expired(item, now_ms)]
            await owned.collection.delete_many(owned.where({"key": {"$in": keys}}))
        return keys

    async def purge(self, now_ms: int, limit: int) -> list[str]:
        buckets, items = self._database[BUCKETS], self._database[ITEMS]
        with reached():
            oldest = buckets.find({"dropped_ms": {"$gt": 0}}, {"_id": 1}).sort("dropped_ms").limit(DROPPED)
            dropped = [bucket["_id"] async for bucket in oldest]
            gone = await items.find({"expire_ms": {"$lte": now_ms}}, {"key": 1}).limit(limit).to_list()
            if len(gone) < limit:
                gone += await items.find({"number": {"$in": dropped}}, {"key": 1}).limit(limit - len(gone)).to_list()
            keys = [item["key"] for item in gone]
            # by key: an item stored again since then has another one, and stays
            await items.delete_many({"key": {"$in": keys}})
            if len(keys) < limit:
                settled = {"_id": {"$in": dropped}, "dropped_ms": {"$lte": now_ms - SETTLED_MS}}
                await buckets.delete_many(settled)
        return keys

    async def known(self, keys: list[str]) -> set[str]:
        with reached():
            return {item["key"] async for item in self._database[ITEMS].find({"key": {"$in": keys}}, {"key": 1})}

    async def take_turn(self, now_ms: int, every_ms: int) -> bool:
        due = {"_id": "sweep", "due_ms": {"$lte": now_ms}}
        try:
            with reached():
                done = await self._database[TURNS].update_one(due, {"$set": {"due_ms": now_ms + every_ms}}, upsert=True)
        except DuplicateKeyError:  # it is there, and not due
            return False
        return done.modified_count == 1 or done.upserted_id is not None

    async def _platform_buckets(self) -> list[Bucket]:
        """They never change once they are there; whoever asks first makes them."""
        if not self._platform:
            buckets = self._database[BUCKETS]
            for name in PLATFORM_BUCKETS:
                made = _bucket_document(PLATFORM, name, name, clock.now_ms())
                await buckets.update_one({"_id": name}, {"$setOnInsert": made}, upsert=True)
            self._platform = [_bucket(found) async for found in buckets.find({"_id": {"$in": list(PLATFORM_BUCKETS)}})]
        return self._platform

    async def _own_bucket(self, account: Id, name: str) -> Document | None:
        owned = Owned(self._database[BUCKETS], account)
        return await owned.collection.find_one(owned.where({"place": _place(account, name)}))

    async def _number(self, account: Id, name: str) -> str | None:
        """None, which no item has, when there is no such bucket."""
        if name in PLATFORM_BUCKETS:
            return name
        found = await self._own_bucket(account, name)
        return None if found is None else found["_id"]

    async def _item(self, record: Record) -> Document:
        """Raises BUCKET_MISSING."""
        number = await self._number(record.account, record.bucket)
        if number is None:
            raise bucket_missing(record.bucket)
        place = _item_place(record.account, number, record.kind, record.item_id)
        own = {name: value for name, value in vars(record).items() if name != "account"}
        return {"_id": place, "account_id": record.account, "number": number, **own}

    async def _insert(self, documents: list[Document]) -> list[Document]:
        """Store the items that are new, in one round trip; returns those whose place is taken."""
        try:
            await self._database[ITEMS].insert_many(documents, ordered=False)
        except BulkWriteError as failure:
            details: Document = dict(failure.details or {})
            if details.get("writeConcernErrors") or any(one["code"] != DUPLICATE for one in details["writeErrors"]):
                raise
            return [documents[one["index"]] for one in details["writeErrors"]]
        return []

    async def _replace(self, document: Document) -> str | None:
        """Put an item into a place that was taken; returns the key of the one it replaced."""
        owned = Owned(self._database[ITEMS], document["account_id"])
        where = owned.where({"_id": document["_id"]})
        for _ in range(TRIES):
            try:
                before = await owned.collection.find_one_and_replace(where, document, FATE, upsert=True)
            except DuplicateKeyError:  # deleted, and stored by another since: there is one to replace again
                continue
            # the same key is this very item, stored by a try whose answer was lost; its bytes are not to go
            return before["key"] if before and before["key"] != document["key"] else None
        detail = f"{document['kind']} {document['item_id']} is written too often at once"
        raise MienError(Code.STORE_UNAVAILABLE, detail, retry_after_s=1)


def _place(account: Id, name: str) -> str:
    return f"{account}/{name}"


def _item_place(account: Id, number: str | None, kind: Kind, item_id: Id) -> str:
    return f"{account}/{number}/{kind}/{item_id}"


def _bucket_document(account: Id, name: str, number: str, create_ms: int) -> Document:
    """``place`` is unique: a bucket of that name until it is dropped, its number afterwards."""
    own = {"account_id": account, "bucket": name, "create_ms": create_ms}
    return {"_id": number, "place": _place(account, name), "dropped_ms": None, **own}


def _bucket(document: Document) -> Bucket:
    return Bucket(bucket=document["bucket"], create_time=clock.from_ms(document["create_ms"]))


def _record(document: Document) -> Record:
    own = {field.name: document[field.name] for field in dataclasses.fields(Record) if field.name != "account"}
    return Record(account=document["account_id"], **own)


def _has_expired(item: Document, now_ms: int) -> bool:
    return item["expire_ms"] is not None and item["expire_ms"] <= now_ms
