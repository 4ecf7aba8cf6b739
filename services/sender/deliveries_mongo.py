"""Callbacks to be made, in MongoDB, for any number of sender processes.

Two collections, and no transaction: a delivery is written before its lane is awakened, and a lane is given up only if
nothing was added to it since it was claimed. A process that dies between two writes leaves a message that the bus
delivers again, or a lease that runs out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from libs.common import clock
from libs.common.ids import Id
from libs.common.storage import mongo
from libs.common.storage.mongo import Collection, Document, reached
from libs.common.wire.base import chunks
from libs.common.wire.policies import Callback
from services.sender.model import Backlog, Claim, DeadDelivery, Delivery, Keeping, Waiting

DELIVERIES = Collection(
    "callback_delivery",
    (
        IndexModel([("lane", ASCENDING), ("state", ASCENDING), ("emitted_ms", ASCENDING), ("arrived_ns", ASCENDING)]),
        IndexModel([("state", ASCENDING), ("since_ms", ASCENDING)]),
        IndexModel([("state", ASCENDING), ("ended_ms", DESCENDING)]),
        IndexModel([("account_id", ASCENDING), ("subscriber", ASCENDING), ("state", ASCENDING)]),
        IndexModel([("expires", ASCENDING)], expireAfterSeconds=0),
    ),
)
LANES = Collection("callback_lane", (IndexModel([("due_ms", ASCENDING)]),))
COLLECTIONS = (DELIVERIES, LANES)

IDS = 500
"""Ids in one query."""
_NEXT = [("emitted_ms", ASCENDING), ("arrived_ns", ASCENDING)]


class MongoDeliveries:
    """Satisfies :class:`services.sender.ports.Deliveries`. The clocks of its hosts should agree within a second."""

    def __init__(self, database: AsyncDatabase[Document], keeping: Keeping = Keeping()) -> None:  # noqa: B008 (frozen)
        self._database = database
        self._deliveries = database[DELIVERIES.name]
        self._lanes = database[LANES.name]
        self._keeping = keeping

    async def check(self) -> None:
        await mongo.check(self._database)

    async def add(self, delivery: Delivery) -> None:
        now_ms = clock.now_ms()
        with reached():
            in_lane = {"lane": delivery.lane, "state": "waiting"}
            limit = self._keeping.lane_limit
            is_full = await self._deliveries.count_documents(in_lane, limit=limit) >= limit
            document = _document(delivery, now_ms)
            if is_full:
                document |= _ended("dead", self._keeping.dead_ms) | {"reason": self._keeping.full}
            await self._insert(document)
            if is_full:
                await self._trim(delivery.account, delivery.subscriber)
            else:
                await self._awaken(delivery.lane, now_ms)

    async def claim(self, holder: str) -> Claim | None:
        now_ms = clock.now_ms()
        with reached():
            lane = await self._lanes.find_one_and_update(
                {"due_ms": {"$lte": now_ms}, "until_ms": {"$lte": now_ms}},
                {"$set": {"holder": holder, "until_ms": now_ms + self._keeping.lease_ms}},
                sort=[("due_ms", ASCENDING)],
                return_document=ReturnDocument.AFTER,
            )
        return Claim(lane["_id"], holder, lane["version"], lane["failures"]) if lane else None

    async def extend(self, claim: Claim) -> bool:
        until_ms = clock.now_ms() + self._keeping.lease_ms
        with reached():
            result = await self._lanes.update_one(_held(claim), {"$set": {"until_ms": until_ms}})
        return result.matched_count > 0

    async def head(self, claim: Claim) -> Waiting | None:
        with reached():
            found = await self._deliveries.find_one({"lane": claim.lane, "state": "waiting"}, sort=_NEXT)
            if found is None:
                await self._leave_empty(claim)
                return None
        return Waiting(_delivery(found), found["attempts"], found["since_ms"])

    async def delivered(self, message_id: str) -> None:
        end = {**_ended("done", self._keeping.done_ms), "callback": None, "body": None}
        with reached():
            await self._deliveries.update_one({"_id": message_id, "state": "waiting"}, {"$set": end})

    async def failed(self, message_id: str, attempts: int, reason: str) -> None:
        with reached():
            await self._deliveries.update_one(
                {"_id": message_id, "state": "waiting"}, {"$set": {"attempts": attempts, "reason": reason}}
            )

    async def died(self, message_id: str, attempts: int, reason: str) -> None:
        end = {**_ended("dead", self._keeping.dead_ms), "attempts": attempts, "reason": reason}
        with reached():
            found = await self._deliveries.find_one_and_update(
                {"_id": message_id, "state": "waiting"}, {"$set": end}, {"account_id": 1, "subscriber": 1}
            )
            if found:
                await self._trim(found["account_id"], found["subscriber"])

    async def release(self, claim: Claim, *, failures: int, due_ms: int) -> None:
        left = {"due_ms": due_ms, "failures": failures, "until_ms": 0, "holder": ""}
        with reached():
            await self._lanes.update_one(_held(claim), {"$set": left})

    async def dead(self, account: Id | None, subscriber: str | None, limit: int) -> list[DeadDelivery]:
        asked = {"account_id": account, "subscriber": subscriber}
        where = {"state": "dead", **{name: value for name, value in asked.items() if value is not None}}
        with reached():
            found = self._deliveries.find(where, {"body": 0, "callback": 0}).sort("ended_ms", DESCENDING).limit(limit)
            return [_dead(document) async for document in found]

    async def redrive(self, message_ids: Sequence[str] | None) -> int:
        anew = {"state": "waiting", "attempts": 0, "since_ms": clock.now_ms(), "ended_ms": None, "expires": None}
        count = 0
        with reached():
            for some in chunks(await self._dead_ids(message_ids), IDS):
                those = {"_id": {"$in": some}, "state": "dead"}
                lanes = await self._deliveries.distinct("lane", those)
                count += (await self._deliveries.update_many(those, {"$set": anew})).modified_count
                for lane in lanes:
                    await self._awaken(lane, clock.now_ms())
        return count

    async def purge(self, message_ids: Sequence[str] | None) -> int:
        count = 0
        with reached():
            for some in chunks(await self._dead_ids(message_ids), IDS):
                count += (await self._deliveries.delete_many({"_id": {"$in": some}, "state": "dead"})).deleted_count
        return count

    async def backlog(self) -> Backlog:
        with reached():
            waiting = await self._deliveries.count_documents({"state": "waiting"})
            dead = await self._deliveries.count_documents({"state": "dead"})
            oldest = await self._deliveries.find_one(
                {"state": "waiting"}, {"since_ms": 1}, sort=[("since_ms", ASCENDING)]
            )
        return Backlog(waiting, oldest["since_ms"] if oldest else None, dead)

    async def sweep(self) -> None:
        """The server forgets what has expired; this awakens lanes whose redrive was broken off."""
        with reached():
            for lane in await self._deliveries.distinct("lane", {"state": "waiting"}):
                if await self._lanes.find_one({"_id": lane}, {"_id": 1}) is None:
                    await self._awaken(lane, clock.now_ms())

    async def _insert(self, document: Document) -> None:
        try:
            await self._deliveries.insert_one(document)
        except DuplicateKeyError:
            return  # its message arrives again

    async def _awaken(self, lane: str, due_ms: int) -> None:
        """Make the lane known, or say that something was added to it."""
        new = {"due_ms": due_ms, "until_ms": 0, "holder": "", "failures": 0}
        change = {"$inc": {"version": 1}, "$setOnInsert": new}
        try:
            await self._lanes.update_one({"_id": lane}, change, upsert=True)
        except DuplicateKeyError:  # another process made it at the same moment
            await self._lanes.update_one({"_id": lane}, change, upsert=True)

    async def _leave_empty(self, claim: Claim) -> None:
        """Give the lane up, unless something was added since it was claimed: then it is due at once."""
        gone = await self._lanes.delete_one({**_held(claim), "version": claim.version})
        if not gone.deleted_count:
            await self._lanes.update_one(_held(claim), {"$set": {"until_ms": 0, "holder": ""}})

    async def _trim(self, account: Id, subscriber: str) -> None:
        """Forget the oldest dead letters of a receiver that has too many."""
        where = {"account_id": account, "subscriber": subscriber, "state": "dead"}
        surplus = await self._deliveries.count_documents(where) - self._keeping.dead_limit
        if surplus > 0:
            oldest = self._deliveries.find(where, {"_id": 1}).sort("ended_ms", ASCENDING).limit(surplus)
            ids = [document["_id"] async for document in oldest]
            await self._deliveries.delete_many({"_id": {"$in": ids}, "state": "dead"})

    async def _dead_ids(self, message_ids: Sequence[str] | None) -> list[str]:
        if message_ids is not None:
            return list(message_ids)
        return [document["_id"] async for document in self._deliveries.find({"state": "dead"}, {"_id": 1})]


def _held(claim: Claim) -> Document:
    return {"_id": claim.lane, "holder": claim.holder}


def _document(delivery: Delivery, now_ms: int) -> Document:
    return {
        "_id": delivery.message_id,
        "account_id": delivery.account,
        "lane": delivery.lane,
        "subscriber": delivery.subscriber,
        "source": delivery.source,
        "state": "waiting",
        "emitted_ms": delivery.emitted_ms,
        "arrived_ns": delivery.arrived_ns,
        "since_ms": now_ms,
        "ended_ms": None,
        "expires": None,
        "attempts": 0,
        "reason": None,
        "callback": delivery.callback.model_dump_json(),
        "body": delivery.body,
    }


def _ended(state: str, kept_ms: int) -> dict[str, Any]:
    return {"state": state, "ended_ms": clock.now_ms(), "expires": clock.now() + timedelta(milliseconds=kept_ms)}


def _delivery(document: Document) -> Delivery:
    return Delivery(
        message_id=document["_id"],
        account=document["account_id"],
        callback=Callback.model_validate_json(document["callback"]),
        source=document["source"],
        emitted_ms=document["emitted_ms"],
        arrived_ns=document["arrived_ns"],
        body=document["body"],
    )


def _dead(document: Document) -> DeadDelivery:
    return DeadDelivery(
        message_id=document["_id"],
        account=document["account_id"],
        subscriber=document["subscriber"],
        source=document["source"],
        attempts=document["attempts"],
        reason=document["reason"],
        died=clock.from_ms(document["ended_ms"]),
    )
