"""The outbox inside the events' documents: what is owed is a part of the last event of its save, written with it."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from libs.common import clock
from libs.common.ids import Id, new_id
from libs.common.storage.mongo import Document, reached
from services.events.documents import BARE, EVENTS, NOT_BARE, NOTHING_OWED, PENDING, owed_of
from services.events.model import NOTICES
from services.events.ports import LEASE_S, Backlog, Owed

COUNTED = 10_000
"""A larger backlog is said to have this size."""


class MongoOutbox:
    """Satisfies :class:`services.events.ports.Outbox`."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._events = database[EVENTS.name]

    async def take(self, limit: int) -> list[Owed]:
        """Two that take at the same moment find the same; each document goes to whose mark it then bears."""
        now_ms, mark = clock.now_ms(), new_id()
        with reached():
            free = {**PENDING, "due_ms": {"$lte": now_ms}}
            found = await self._events.find(free, {"_id": 1}).sort("saved_ms", 1).limit(limit).to_list()
            if not found:
                return []
            these = {"_id": {"$in": [one["_id"] for one in found]}}
            taken = {"due_ms": lease_end(now_ms), "taken_by": mark}
            await self._events.update_many({**these, "due_ms": {"$lte": now_ms}}, {"$set": taken})
            mine = self._events.find({**these, "taken_by": mark}, {"owner": 1, **dict.fromkeys(NOTHING_OWED, 1)})
            return [owed_of(one) for one in await mine.sort("saved_ms", 1).to_list()]

    async def clear(self, event_ids: list[Id]) -> None:
        with reached():
            await self._events.update_many({"_id": {"$in": event_ids}}, {"$set": NOTHING_OWED})
            await strip(self._events, event_ids)

    async def reduce(self, owed: Owed) -> None:
        notices = NOTICES.dump_json(owed.notices).decode()
        with reached():
            await self._events.update_one({"_id": owed.event_id, **PENDING}, {"$set": {"notices": notices}})

    async def backlog(self) -> Backlog:
        with reached():
            found = await self._events.find(PENDING, {"saved_ms": 1}).sort("saved_ms", 1).limit(COUNTED).to_list()
        return Backlog(len(found), found[0]["saved_ms"] if found else None)


async def strip(events: AsyncCollection[Document], event_ids: Sequence[Id]) -> None:
    """Leave no more than BARE of those that are deleted and that neither the feed nor the outbox needs."""
    await events.update_many({"_id": {"$in": list(event_ids)}, **BARE}, {"$unset": NOT_BARE})


def lease_end(now_ms: int) -> int:
    return now_ms + int(LEASE_S * 1000)
