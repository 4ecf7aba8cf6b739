"""Saving events from several callers and processes at once, and saves that are broken off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest

from libs.common import clock
from libs.common.bus.topics import EVENTS_NOTIFY
from libs.common.errors import Code, MienError
from libs.common.ids import new_id
from libs.common.storage import mongo
from libs.common.wire.events import Event
from libs.common.wire.notices import Notice
from services.events.filters import All
from services.events.outbox_mongo import MongoOutbox
from services.events.ports import LEASE_S, Owed
from services.events.store_mongo import COLLECTIONS, MongoEventStore
from tests.contract import mongo_shim
from tests.contract.event_stores import NOON, STORES, Opened, descriptor, event

MINE, THEIRS = new_id(), new_id()
EVERYTHING = All(())


@pytest.fixture(params=STORES)
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Opened]:
    async with STORES[request.param](request) as opened:
        yield opened


def owed_for(events: list[Event]) -> Owed:
    notice = Notice(notice_id=new_id(), topic=EVENTS_NOTIFY, body={})
    return Owed(events[-1].event_id, events[-1].account_id, [notice], saved_ms=1)


def with_faces(account: str, number: int) -> list[Event]:
    return [event(account, face_descriptor=descriptor(seed)) for seed in range(number)]


async def test_calls_that_are_made_together_have_each_their_own_end(opened: Opened) -> None:
    theirs, mine = event(THEIRS), event(MINE)
    await opened.store.add(THEIRS, [theirs], NOON)
    stolen = event(MINE, event_id=theirs.event_id)
    fresh = [event(MINE) for _ in range(3)]
    ends = await asyncio.gather(
        opened.store.add(MINE, [mine], NOON, owed_for([mine])),
        opened.store.add(MINE, [mine], NOON, owed_for([mine])),
        opened.store.add(MINE, [event(MINE), stolen], NOON),
        opened.store.add(MINE, [mine, *fresh], NOON, owed_for(fresh)),
        return_exceptions=True,
    )
    assert ends[:2] == [True, False]
    assert isinstance(ends[2], MienError)
    assert ends[2].code is Code.REQUEST_CONFLICT
    assert ends[3] is True
    assert await opened.store.select(MINE, EVERYTHING) == sorted(one.event_id for one in [mine, *fresh])


async def test_of_two_processes_that_save_the_same_events_one_stores_and_tells(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [with_faces(MINE, 3) for _ in range(5)]
    ends = await asyncio.gather(
        *(store.add(MINE, batch, NOON, owed_for(batch)) for batch in batches for store in (opened.store, opened.second))
    )
    assert sum(ends) == len(batches)
    all_ids = sorted(one.event_id for batch in batches for one in batch)
    assert await opened.store.select(MINE, EVERYTHING) == all_ids
    page = await opened.store.changes(0, 100, [])
    assert sorted(row.object_id for row in page.rows) == all_ids
    later_ms = clock.now_ms() + int(LEASE_S * 1000)
    monkeypatch.setattr(clock, "now_ms", lambda: later_ms)
    taken = await asyncio.gather(opened.outbox.take(100), opened.outbox.take(100))
    assert sorted(owed.event_id for some in taken for owed in some) == sorted(batch[-1].event_id for batch in batches)


class BrokenOff(Exception):
    """The process dies here."""


@pytest.mark.parametrize("dies_at", range(7))
async def test_a_save_in_mongodb_that_is_broken_off_anywhere_tells_nobody_until_it_is_repeated(
    dies_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, is_mortal = count(), False

    async def turn() -> None:
        if is_mortal and next(steps) == dies_at:
            raise BrokenOff

    database = mongo_shim.database(turn)
    await mongo.migrate(database, COLLECTIONS)
    events = with_faces(MINE, 3)
    first, again = owed_for(events), owed_for(events)
    is_mortal = True
    try:
        told = await MongoEventStore(database).add(MINE, events, NOON, first)
    except BrokenOff:
        told = False
    is_mortal = False

    store, outbox = MongoEventStore(database), MongoOutbox(database)
    begun = await store.select(MINE, EVERYTHING)
    assert told == (events[-1].event_id in begun)
    assert set(begun) in (set(), {one.event_id for one in events[:-1]}, {one.event_id for one in events})
    assert await store.add(MINE, events, NOON, again) is not told
    assert await store.select(MINE, EVERYTHING) == sorted(one.event_id for one in events)
    later_ms = clock.now_ms() + int(LEASE_S * 1000)
    monkeypatch.setattr(clock, "now_ms", lambda: later_ms)
    assert await outbox.take(10) == [first if told else again]


@pytest.mark.parametrize("dies_at", range(7))
async def test_a_deletion_in_mongodb_that_is_broken_off_anywhere_is_completed_by_repeating_it(dies_at: int) -> None:
    steps, is_mortal = count(), False

    async def turn() -> None:
        if is_mortal and next(steps) == dies_at:
            raise BrokenOff

    database = mongo_shim.database(turn)
    await mongo.migrate(database, COLLECTIONS)
    store = MongoEventStore(database)
    events = [*with_faces(MINE, 2), event(MINE)]
    await store.add(MINE, events, NOON, owed_for(events))
    ids = [one.event_id for one in events]
    is_mortal = True
    try:
        await store.delete(MINE, ids)
    except BrokenOff:
        is_mortal = False
        await store.delete(MINE, ids)
    is_mortal = False
    assert await store.select(MINE, EVERYTHING) == []
    rows = {row.object_id: row.deleted for row in (await store.changes(0, 100, [])).rows}
    assert rows == dict.fromkeys(ids[:2], True)


@pytest.mark.parametrize("waits_before", range(4))
@pytest.mark.parametrize("with_face", [False, True])
async def test_a_save_in_mongodb_that_its_twin_and_a_deletion_overtake_brings_nothing_back(
    waits_before: int, with_face: bool
) -> None:
    steps, stands_still, may_go_on = count(), asyncio.Event(), asyncio.Event()

    async def turn() -> None:
        if not stands_still.is_set() and next(steps) == waits_before:
            stands_still.set()
            await may_go_on.wait()

    database = mongo_shim.database(turn)
    saved = event(MINE, face_descriptor=descriptor() if with_face else None)
    late = asyncio.create_task(MongoEventStore(database).add(MINE, [saved], NOON, owed_for([saved])))
    await asyncio.wait([asyncio.create_task(stands_still.wait()), late], return_when=asyncio.FIRST_COMPLETED)
    stands_still.set()
    store = MongoEventStore(database)
    await store.add(MINE, [saved], NOON)
    await store.delete(MINE, [saved.event_id])
    may_go_on.set()
    await late
    assert await store.select(MINE, EVERYTHING) == []
    assert {row.deleted for row in (await store.changes(0, 100, [])).rows} <= {True}


async def test_of_a_deleted_event_mongodb_keeps_the_id_alone_once_it_was_told_of() -> None:
    database = mongo_shim.database()
    store, outbox = MongoEventStore(database), MongoOutbox(database)
    untold, told = event(MINE, tags=["a"]), event(MINE)
    await store.add(MINE, [untold], NOON, owed_for([untold]))
    await store.add(MINE, [told], NOON)
    await store.delete(MINE, [untold.event_id, told.event_id])
    await outbox.clear([untold.event_id])
    left = await database["events"].find({}).to_list()
    bare = {"owner": MINE, "account_id": None, "revision": None, "saved_ms": None}
    assert {one.pop("_id") for one in left} == {untold.event_id, told.event_id}
    assert left == [bare, bare]
