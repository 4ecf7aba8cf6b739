"""The journal of emissions: what every adapter promises. A new adapter is one more row of JOURNALS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from libs.common.ids import new_id
from libs.common.storage import mongo
from libs.common.storage.sqlite import Database
from services.handlers.journal import LEASE_S, OVERDUE_S, Traces
from services.handlers.journal_mongo import UNFINISHED, MongoJournal
from services.handlers.journal_sqlite import SCHEMA, SqliteJournal
from services.handlers.ports import Journal
from tests.clocks import Clock
from tests.contract import mongo_shim

MINE, THEIRS = new_id(), new_id()
OpenJournal = Callable[[Path, pytest.FixtureRequest], AbstractAsyncContextManager[Journal]]


@asynccontextmanager
async def in_sqlite(folder: Path, _: pytest.FixtureRequest) -> AsyncIterator[Journal]:
    database = await Database(folder / "handlers.db", SCHEMA, durable=False).open()
    yield SqliteJournal(database)
    await database.close()


@asynccontextmanager
async def in_mongo(_: Path, request: pytest.FixtureRequest) -> AsyncIterator[Journal]:
    async with mongo.connect(request.getfixturevalue("mongo_url")) as client:
        database = client.get_default_database()
        await mongo.migrate(database, [UNFINISHED])
        yield MongoJournal(database)


@asynccontextmanager
async def in_mongomock(_: Path, __: pytest.FixtureRequest) -> AsyncIterator[Journal]:
    yield MongoJournal(mongo_shim.database())


JOURNALS: dict[str, OpenJournal] = {"sqlite": in_sqlite, "mongo": in_mongo, "mongomock": in_mongomock}


@pytest.fixture(params=JOURNALS)
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Journal]:
    async with JOURNALS[request.param](tmp_path, request) as opened:
        yield opened


def traces(account: str = MINE) -> Traces:
    return Traces(account=account, images={"a-bucket": [new_id(), new_id()]}, faces=[new_id()], events=[new_id()])


async def test_only_what_is_overdue_is_taken_whole_and_the_oldest_first(journal: Journal, service_clock: Clock) -> None:
    first, second, third = traces(), traces(THEIRS), traces()
    for one in (first, second):
        await journal.begin(one)
        service_clock.advance(1)
    service_clock.advance(OVERDUE_S - 1)
    await journal.begin(third)
    assert await journal.take(1) == [first]
    assert await journal.take(9) == [second]
    assert await journal.take(9) == []


async def test_what_ended_is_never_taken(journal: Journal, service_clock: Clock) -> None:
    ended = traces()
    await journal.begin(ended)
    await journal.begin(ended)
    assert not await journal.end(THEIRS, ended.emission_id)
    assert await journal.end(MINE, ended.emission_id)
    assert not await journal.end(MINE, ended.emission_id)
    service_clock.advance(OVERDUE_S)
    assert await journal.take(9) == []


async def test_what_was_taken_cannot_be_ended_and_is_taken_again_until_it_is_settled(
    journal: Journal, service_clock: Clock
) -> None:
    one = traces()
    await journal.begin(one)
    service_clock.advance(OVERDUE_S)
    assert await journal.take(9) == [one]
    assert not await journal.end(MINE, one.emission_id)
    service_clock.advance(LEASE_S)
    assert await journal.take(9) == [one]
    await journal.settled(one.model_copy(update={"account": THEIRS}))
    service_clock.advance(LEASE_S)
    assert await journal.take(9) == [one]
    await journal.settled(one)
    service_clock.advance(LEASE_S)
    assert await journal.take(9) == []


async def test_two_that_take_at_the_same_moment_never_take_the_same(journal: Journal, service_clock: Clock) -> None:
    begun = [traces() for _ in range(20)]
    await asyncio.gather(*(journal.begin(one) for one in begun))
    service_clock.advance(OVERDUE_S)
    pages = await asyncio.gather(*(journal.take(8) for _ in range(6)))
    while more := await journal.take(8):
        pages.append(more)
    taken = [one.emission_id for page in pages for one in page]
    assert sorted(taken) == sorted(one.emission_id for one in begun)
