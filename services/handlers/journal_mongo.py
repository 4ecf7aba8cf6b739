"""The journal of emissions in MongoDB: a document for each that is under way."""

from __future__ import annotations

from pymongo import IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from libs.common import clock
from libs.common.ids import Id, new_id
from libs.common.storage.mongo import Collection, Document, Owned, reached
from services.handlers.journal import LEASE_S, OVERDUE_S, Traces

UNFINISHED = Collection("unfinished_emissions", (IndexModel([("due_ms", 1)]),))


class MongoJournal:
    """Satisfies :class:`services.handlers.ports.Journal`. The clocks of its hosts should agree within a minute."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._unfinished = database[UNFINISHED.name]

    async def begin(self, traces: Traces) -> None:
        document = {
            "_id": traces.emission_id,
            "account_id": traces.account,
            "due_ms": clock.now_ms() + int(OVERDUE_S * 1000),
            "taken_by": None,
            "traces": traces.model_dump_json(),
        }
        with reached():
            try:
                await self._unfinished.insert_one(document)
            except DuplicateKeyError:
                return

    async def end(self, account: Id, emission_id: Id) -> bool:
        mine = Owned(self._unfinished, account).where({"_id": emission_id, "taken_by": None})
        with reached():
            return (await self._unfinished.delete_one(mine)).deleted_count == 1

    async def take(self, limit: int) -> list[Traces]:
        """Two that take at the same moment find the same; each document goes to whose mark it then bears."""
        now_ms, mark = clock.now_ms(), new_id()
        with reached():
            found = (
                await self._unfinished.find({"due_ms": {"$lte": now_ms}}, {"_id": 1})
                .sort("due_ms", 1)
                .limit(limit)
                .to_list()
            )
            if not found:
                return []
            these = {"_id": {"$in": [one["_id"] for one in found]}}
            taken = {"due_ms": now_ms + int(LEASE_S * 1000), "taken_by": mark}
            await self._unfinished.update_many({**these, "due_ms": {"$lte": now_ms}}, {"$set": taken})
            mine = await self._unfinished.find({**these, "taken_by": mark}, {"traces": 1}).to_list()
        traces = {one["_id"]: Traces.model_validate_json(one["traces"]) for one in mine}
        return [traces[one["_id"]] for one in found if one["_id"] in traces]

    async def settled(self, traces: Traces) -> None:
        owned = Owned(self._unfinished, traces.account)
        with reached():
            await self._unfinished.delete_one(owned.where({"_id": traces.emission_id}))
