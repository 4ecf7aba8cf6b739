"""Events in MongoDB: one document holds all that must change together (``documents.py``), and no transaction is needed.

Calls of one process that wait at the same moment are written together. Of a call with something to tell first every
event but the last, then the last with what is owed: when that is there, all are. A crash between leaves events that a
repeated call completes, and nothing told of them. The same is left by the one conflict that cannot be seen before
writing, two accounts that use one id at the same moment. A deleted event leaves its id in use: the bus delivers again
what it has delivered, and an acknowledged deletion is final.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo import UpdateOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, OperationFailure

from libs.common import clock
from libs.common.errors import Code, MienError
from libs.common.ids import Id
from libs.common.storage import revisions
from libs.common.storage.mongo import DUPLICATE, Condition, Document, Owned, reached
from libs.common.storage.revisions import Revisions
from libs.common.wire.base import chunks
from libs.common.wire.events import Event
from libs.common.wire.gallery import GalleryPage, GalleryRow, Gap
from services.events.documents import (
    BARE,
    EMPTY,
    EVENTS,
    PARTS_OF_DESCRIPTORS,
    document,
    event_of,
    is_live,
    owing,
    searchable,
    whole_event_of,
)
from services.events.filters import Predicate
from services.events.group import GROUP, Group
from services.events.mongo_query import ORDERS, counts, selection
from services.events.outbox_mongo import lease_end, strip
from services.events.ports import Order, Owed
from services.events.stats import Counting, Row

COLLECTIONS = (EVENTS, revisions.COUNTERS)

IDS = 5_000
"""Ids in one question."""


class MongoEventStore:
    """Satisfies :class:`services.events.ports.EventStore`. ``mien migrate`` makes its COLLECTIONS."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._events = database[EVENTS.name]
        self._revisions = Revisions(database, EVENTS.name)
        self._group = Group(self._write)

    async def close(self) -> None:
        """Finish what was begun."""
        await self._group.close()

    # Writing

    async def add(self, account: Id, events: list[Event], now: datetime, owed: Owed | None = None) -> bool:
        if not events:
            return False
        documents = [document(event.model_copy(update={"insert_time": now})) for event in events]
        if owed is not None:
            documents[-1] |= owing(owed, lease_end(clock.now_ms()))
        save = _Save(account, documents)
        await self._group.add(save, len(documents))
        if save.taken:
            raise MienError(Code.REQUEST_CONFLICT, f"events {', '.join(save.taken)}: the id is in use")
        return save.is_told

    async def _write(self, saves: list[_Save]) -> None:
        while saves:
            together, saves = _disjoint(saves)
            with reached():
                await self._write_together(together)

    async def _write_together(self, saves: list[_Save]) -> None:
        """``saves`` have no id in common."""
        known = await self._known([one["_id"] for save in saves for one in save.documents])
        for save in saves:
            save.look_at(known)
        new = [one for save in saves for one in save.new]
        listed = [one for one in new if searchable(one)]
        async with self._revisions.stamped([one["_id"] for one in listed]) as stamps:
            for one in listed:
                one |= stamps[one["_id"]].fields
            await self._put([one for save in saves for one in save.before], saves, known)
            await self._put([one for save in saves for one in save.after], saves, known)

    async def _put(self, documents: list[Document], saves: list[_Save], known: dict[Id, Document]) -> None:
        """Store new documents. Whose id somebody else was quicker to use is not new any more."""
        if late := await self._insert(documents):
            known |= await self._known(late)
            for save in saves:
                save.look_at(known)

    async def _insert(self, documents: list[Document]) -> list[Id]:
        """The ids that are in use by now."""
        in_use: list[Id] = []
        for some in chunks(documents, GROUP):
            try:
                await self._events.insert_many(some, ordered=False)
            except BulkWriteError as failure:
                details = failure.details or {}
                errors: list[dict[str, Any]] = details.get("writeErrors", [])
                if refused := {error["code"] for error in errors} - {DUPLICATE}:
                    # not as it is: it quotes the documents, and they hold descriptors
                    raise OperationFailure(f"events were refused: codes {sorted(refused)}", min(refused)) from None
                if details.get("writeConcernErrors"):
                    raise
                in_use += [some[error["index"]]["_id"] for error in errors]
        return in_use

    async def _known(self, ids: Sequence[Id]) -> dict[Id, Document]:
        """Who uses each id, if anybody, also for an event that was deleted."""
        known: dict[Id, Document] = {}
        for some in chunks(list(ids), IDS):
            found = self._events.find({"_id": {"$in": some}}, {"owner": 1})
            known |= {one["_id"]: one for one in await found.to_list()}
        return known

    async def delete(self, account: Id, event_ids: list[Id]) -> None:
        """Every id keeps a document. Broken off in between, repeating it completes."""
        for some in chunks(event_ids, IDS):
            left = list(some)
            while left:
                with reached():
                    left = await self._delete(account, left)

    async def _delete(self, account: Id, event_ids: list[Id]) -> list[Id]:
        """The ids that came into use meanwhile, and so have to be deleted again."""
        these = Owned(self._events, account).where({"_id": {"$in": event_ids}})
        await self._retire(these)
        await self._events.update_many({**these, "revision": None}, {"$set": EMPTY})
        await strip(self._events, event_ids)
        known = await self._known(event_ids)
        unused = dict.fromkeys(event_id for event_id in event_ids if event_id not in known)
        return await self._insert([{"_id": event_id, "owner": account, **BARE} for event_id in unused])

    async def _retire(self, these: Condition) -> None:
        """Delete those that the feed has shown."""
        listed = await self._events.find({**these, "revision": {"$gt": 0}}, {"_id": 1}).to_list()
        if not listed:
            return
        async with self._revisions.stamped([one["_id"] for one in listed]) as stamps:
            changes = [
                UpdateOne(
                    {**these, "_id": event_id, "revision": {"$lt": stamp.revision}}, {"$set": {**EMPTY, **stamp.fields}}
                )
                for event_id, stamp in stamps.items()
            ]
            await self._events.bulk_write(changes, ordered=False)

    # Reading

    async def find(self, account: Id, where: Predicate, order: Order, offset: int, limit: int) -> list[Event]:
        matching = Owned(self._events, account).where(selection(where))
        with reached():
            query = self._events.find(matching, {"payload": 1}).sort(ORDERS[order]).skip(offset).limit(limit)
            return [event_of(one) for one in await query.to_list()]

    async def select(self, account: Id, where: Predicate) -> list[Id]:
        matching = Owned(self._events, account).where(selection(where))
        with reached():
            found = await self._events.find(matching, {"event_id": 1, "_id": 0}).to_list()
        return sorted(one["event_id"] for one in found)

    async def with_descriptors(self, account: Id, event_ids: list[Id]) -> list[Event]:
        owned, found = Owned(self._events, account), list[Document]()
        for some in chunks(sorted(set(event_ids)), IDS):
            with reached():
                query = self._events.find(owned.where({"_id": {"$in": some}}), {"payload": 1, **PARTS_OF_DESCRIPTORS})
                found += await query.to_list()
        return [whole_event_of(one) for one in sorted(found, key=lambda one: one["_id"])]

    async def count(self, account: Id, what: Counting, limit: int) -> list[Row]:
        matching = Owned(self._events, account).where(selection(what.where))
        with reached():
            found = await (await self._events.aggregate(counts(matching, what, limit))).to_list()
        names = [f"g{place}" for place in range(len(what.groups))] + [f"c{place}" for place in range(len(what.targets))]
        if not found and not what.groups:
            found = [dict.fromkeys(names, 0)]
        return [tuple(one[name] for name in names) for one in found]

    async def changes(self, after: int, limit: int, late: list[Gap]) -> GalleryPage:
        return await self._revisions.page(after, limit, late, _ROW_FIELDS, _row)


@dataclass(eq=False)
class _Save:
    """One call's events on their way. ``new`` are those that are to be written; with ``taken``, ids of others, none."""

    account: Id
    documents: list[Document]

    def __post_init__(self) -> None:
        self.new: list[Document] = []
        self.taken: list[Id] = []

    @property
    def last(self) -> Document:
        return self.documents[-1]

    @property
    def is_last_new(self) -> bool:
        return bool(self.new) and self.new[-1] is self.last

    @property
    def before(self) -> list[Document]:
        """What must be there before the event that carries what is owed."""
        return [one for one in self.new if one is not self.last] if self.is_owing else []

    @property
    def after(self) -> list[Document]:
        if not self.is_owing:
            return self.new
        return [self.last] if self.is_last_new else []

    @property
    def is_owing(self) -> bool:
        return self.last["saved_ms"] is not None

    @property
    def is_told(self) -> bool:
        """Whether something is owed since this call wrote the last event."""
        return self.is_last_new and self.is_owing

    def look_at(self, known: dict[Id, Document]) -> None:
        """Decide what is new by what is known of the ids."""
        self.taken = [one["_id"] for one in self.documents if known.get(one["_id"], one)["owner"] != self.account]
        self.new = [] if self.taken else [one for one in self.documents if one["_id"] not in known]


def _disjoint(saves: Iterable[_Save]) -> tuple[list[_Save], list[_Save]]:
    """Those that have no id in common with one before them, and the others."""
    together: list[_Save] = []
    others: list[_Save] = []
    seen: set[Id] = set()
    for save in saves:
        ids = {one["_id"] for one in save.documents}
        (others if ids & seen else together).append(save)
        seen |= ids
    return together, others


_ROW_FIELDS = ("owner", "account_id", "face_data", "face_version", "body_data", "body_version")


def _row(found: Document) -> GalleryRow:
    descriptors = searchable(found) if is_live(found) else {}
    return GalleryRow.model_construct(  # it was valid when it was stored; a page without checking is a third cheaper
        object_id=found["_id"],
        account_id=found["owner"],
        deleted=not descriptors,
        descriptors=descriptors,
    )
