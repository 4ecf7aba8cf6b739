"""The log of a MongoDB collection: who reads after a change was acknowledged sees it, in whatever order numbers come.

Writers and readers go step by step, and hypothesis says who is next, how long it took, and who dies on the way.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from libs.common.storage import revisions
from libs.common.storage.mongo import Document
from libs.common.storage.revisions import SETTLED_MS, WRITE_MS, Revisions, Stamp
from libs.common.wire.gallery import GalleryRow, Gap
from tests.clocks import Clock
from tests.contract import mongo_shim
from tests.contract.turns import Killed, Turns

LOG = "thing"
IDS = ["a", "b", "c", "d"]
ACCOUNT = "00000000-0000-4000-8000-000000000001"


@dataclass
class World:
    """``acknowledged`` is the newest revision of each object that its writer was told to be stored."""

    database: AsyncDatabase[Document]
    clock: Clock
    acknowledged: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    async def write(self, object_ids: list[str], dies_before: str = "") -> None:
        revisions = Revisions(self.database, LOG, self.clock)
        try:
            async with revisions.stamped(object_ids) as stamps:
                for one, stamp in stamps.items():
                    if one == dies_before:
                        raise Killed
                    await self._store(one, stamp)
        except Killed:
            return
        for one, stamp in stamps.items():
            self.acknowledged[one] = max(self.acknowledged[one], stamp.revision)

    async def _store(self, one: str, stamp: Stamp) -> None:
        condition = {"_id": one, "revision": {"$lt": stamp.revision}}
        try:
            await self.database[LOG].update_one(condition, {"$set": stamp.fields}, upsert=True)
        except DuplicateKeyError:
            return  # it has a newer revision already


class Reader:
    def __init__(self, world: World, limit: int) -> None:
        self._world = world
        self._log = Revisions(world.database, LOG, world.clock)
        self._limit = limit
        self._revision = 0
        self._late: list[Gap] = []
        self.seen: dict[str, int] = defaultdict(int)

    async def catch_up(self) -> None:
        """What was acknowledged before is seen after."""
        promised = dict(self._world.acknowledged)
        more = True
        while more:
            documents: list[Document] = []

            def row(document: Document, documents: list[Document] = documents) -> GalleryRow:
                documents.append(document)
                return GalleryRow(object_id=ACCOUNT, account_id=ACCOUNT)

            page = await self._log.page(self._revision, self._limit, self._late, (), row)
            assert len(page.rows) <= self._limit
            for document in documents:
                self.seen[document["_id"]] = max(self.seen[document["_id"]], document["revision"])
            self._revision, self._late, more = page.revision, page.late, page.more
        missed = {one: revision for one, revision in promised.items() if self.seen[one] < revision}
        assert not missed, f"acknowledged and not seen: {missed}"

    async def follow(self, rounds: int) -> None:
        for _ in range(rounds):
            await self.catch_up()

    @property
    def waits_for(self) -> int:
        return sum(gap.last - gap.first + 1 for gap in self._late)


batches = st.lists(st.sampled_from(IDS), min_size=1, max_size=3, unique=True)
writers = st.lists(st.lists(st.tuples(batches, st.sampled_from(["", "", *IDS])), max_size=4), min_size=1, max_size=4)


@settings(max_examples=250, deadline=None, database=None)
@given(writers=writers, limits=st.lists(st.integers(1, 3), min_size=1, max_size=2), chance=st.randoms())
def test_an_acknowledged_change_is_seen_by_every_reader_that_begins_later(
    writers: list[list[tuple[list[str], str]]], limits: list[int], chance: Random
) -> None:
    async def play() -> None:
        clock = Clock()
        turns = Turns(chance, clock)
        world = World(mongo_shim.database(turns), clock)
        readers = [Reader(world, limit) for limit in limits]

        async def writer(batches: list[tuple[list[str], str]]) -> None:
            for object_ids, dies_before in batches:
                await world.write(object_ids, dies_before)

        await turns.play(*(writer(batches) for batches in writers), *(reader.follow(5) for reader in readers))
        for reader in (*readers, Reader(world, 2)):
            await turns.play(reader.catch_up())
            clock.advance(SETTLED_MS / 1000)
            await turns.play(reader.catch_up())
            assert reader.waits_for == 0, "numbers that nobody wrote are waited for without end"

    asyncio.run(play())


class Ambush:
    """Rewrites an object just before some step of whoever reads."""

    def __init__(self) -> None:
        self.world = World(mongo_shim.database(self), Clock())
        self.steps_left = -1

    async def __call__(self) -> None:
        self.steps_left -= 1
        if self.steps_left == 0:
            await self.world.write(["a"])


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("news", [False, True], ids=["nothing newer", "something newer"])
async def test_an_object_that_is_rewritten_during_the_reading_is_met_on_its_way(step: int, news: bool) -> None:
    ambush = Ambush()
    world, reader = ambush.world, Reader(ambush.world, 10)
    async with Revisions(world.database, LOG, world.clock).stamped(["a"]) as stamps:
        await world.write(["b"])
        await reader.catch_up()
        await world.database[LOG].insert_one({"_id": "a", **stamps["a"].fields})
    world.acknowledged["a"] = stamps["a"].revision
    if news:
        await world.write(["c"])
    ambush.steps_left = step
    await reader.catch_up()
    assert ambush.steps_left <= 0, "the reading has fewer steps"


async def test_numbers_that_nobody_wrote_are_waited_for_a_minute_and_not_longer() -> None:
    clock = Clock()
    world = World(mongo_shim.database(), clock)
    reader = Reader(world, 100)
    await world.write(["a", "b", "c"], dies_before="b")
    await world.write(["d"])
    await reader.catch_up()
    assert reader.waits_for == 2
    for _ in range(59):
        clock.advance(1)
        await world.write(["d"])
        await reader.catch_up()
    assert reader.waits_for == 2, "a busy object above them does not make the wait longer"
    clock.advance(1)
    await reader.catch_up()
    assert reader.waits_for == 0


async def test_a_first_load_waits_for_nothing_that_is_old() -> None:
    clock = Clock()
    world = World(mongo_shim.database(), clock)
    for place in range(50):
        await world.write([f"{place}"])
        await world.write([f"{place // 2}"])
    clock.advance(SETTLED_MS / 1000)
    await world.write(["new"])
    reader = Reader(world, 7)
    await reader.catch_up()
    assert (len(reader.seen), reader.waits_for) == (51, 0)


async def test_a_write_that_took_too_long_is_numbered_again_before_it_is_acknowledged() -> None:
    clock = Clock()
    database = mongo_shim.database()
    log, reader = Revisions(database, LOG, clock), Reader(World(database, clock), 10)
    async with log.stamped(["slow"]) as stamps:
        await World(database, clock).write(["quick"])
        await reader.catch_up()
        clock.advance(SETTLED_MS / 1000 + WRITE_MS / 1000)
        await reader.catch_up()
        assert reader.waits_for == 0
        await database[LOG].update_one({"_id": "slow"}, {"$set": stamps["slow"].fields}, upsert=True)
    await reader.catch_up()
    assert reader.seen["slow"] > stamps["slow"].revision


async def test_gaps_of_any_width_are_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisions, "NUMBERS", 3)
    clock = Clock()
    world = World(mongo_shim.database(), clock)
    missing = [[f"{number}-{place}" for place in range(width)] for number, width in enumerate([2, 1, 7, 1, 3, 4, 1])]
    reader = Reader(world, 4)
    for object_ids in missing:
        await world.write(object_ids, dies_before=object_ids[0])
        await world.write(["a"])
        await reader.catch_up()
    assert reader.waits_for == 19
    revision = 0
    for object_ids in missing:
        for one in object_ids:
            revision += 1
            await world.database[LOG].insert_one({"_id": one, **Stamp(revision, clock()).fields})
            world.acknowledged[one] = revision
        revision += 1
    await reader.catch_up()
    assert reader.waits_for == 0


async def test_a_counter_older_than_its_documents_is_brought_up_to_them() -> None:
    clock = Clock()
    world = World(mongo_shim.database(), clock)
    await world.write(["a", "b", "c"])
    await world.database["counters"].delete_many({})
    async with Revisions(world.database, LOG, clock).stamped(["d"]) as stamps:
        assert stamps["d"].revision == 4


async def test_a_reader_is_told_that_the_log_is_an_older_copy() -> None:
    clock = Clock()
    world = World(mongo_shim.database(), clock)
    await world.write(["a", "b"])
    page = await Revisions(world.database, LOG, clock).page(3, 10, [Gap(first=1, last=1, until_ms=0)], (), _row)
    assert (page.revision, page.rows, page.more, page.late) == (2, [], False, [])


def _row(document: Document) -> GalleryRow:
    return GalleryRow(object_id=ACCOUNT, account_id=ACCOUNT)


async def test_readers_and_writers_of_several_processes_agree_over_the_wire(mongo_url: str) -> None:
    async with AsyncMongoClient[Document](mongo_url) as client:
        world = World(client.get_default_database(), Clock())
        chance = Random(7)
        readers = [Reader(world, limit) for limit in (1, 3, 100)]

        async def writer() -> None:
            for _ in range(15):
                await world.write(chance.sample(IDS, 2), chance.choice(["", "", *IDS]))

        writing = asyncio.gather(*(writer() for _ in range(6)))

        async def follow(reader: Reader) -> None:
            while not writing.done():
                await reader.catch_up()
            await reader.catch_up()

        following: list[Awaitable[None]] = [follow(reader) for reader in readers]
        await asyncio.gather(*following)
        stored = {one["_id"]: one["revision"] async for one in world.database[LOG].find()}
        assert [reader.seen for reader in readers] == [stored] * len(readers)
