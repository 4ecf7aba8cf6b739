"""What every log of notices must do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.local.redis import Redis as RedisServer
from libs.common.errors import Code, MienError
from libs.common.ids import Id, new_id
from services.sender.model import Bounds, Entry, Notice
from services.sender.ports import NoticeLog
from tests.contract.notice_logs import BOUNDS, LOGS, OpenLog, Place, redis_log

PATIENCE_S = 15


def notices(count: int, size: int = 10) -> list[Notice]:
    return [Notice(new_id(), str(number).encode().ljust(size)) for number in range(count)]


def contents(entries: list[Entry]) -> list[bytes]:
    return [entry.content for entry in entries]


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    return Place(tmp_path, request)


@pytest.fixture(params=LOGS)
def open_log(request: pytest.FixtureRequest) -> OpenLog:
    return LOGS[request.param]


@pytest.fixture
async def log(open_log: OpenLog, place: Place) -> AsyncIterator[NoticeLog]:
    async with open_log(place, BOUNDS) as opened:
        yield opened


async def is_gone(log: NoticeLog, account: Id, cursor: str) -> bool:
    try:
        await log.read(account, cursor, 10)
    except MienError as refusal:
        return refusal.code is Code.CURSOR_GONE
    return False


async def test_what_is_appended_follows_the_cursor_in_order(log: NoticeLog) -> None:
    account, sent = new_id(), notices(5)
    begin = await log.newest(account)
    assert await log.read(account, begin, 10) == []
    await log.append(account, sent[:2])
    await log.append(account, sent[2:])
    entries = await log.read(account, begin, 10)
    assert contents(entries) == [notice.content for notice in sent]
    assert contents(await log.read(account, entries[1].cursor, 2)) == [b"2".ljust(10), b"3".ljust(10)]
    assert await log.newest(account) == entries[-1].cursor


async def test_a_message_that_arrives_again_changes_nothing_not_even_at_once(log: NoticeLog) -> None:
    account, sent = new_id(), notices(3)
    begin = await log.newest(account)
    await asyncio.gather(*(log.append(account, sent) for _ in range(5)))
    await log.append(account, [*sent[1:], Notice(new_id(), b"new")])
    assert contents(await log.read(account, begin, 100)) == [*(notice.content for notice in sent), b"new"]


async def test_accounts_see_only_their_own(log: NoticeLog) -> None:
    mine, theirs = new_id(), new_id()
    begin, foreign = await log.newest(mine), await log.newest(theirs)
    await log.append(theirs, notices(3))
    assert await log.read(mine, begin, 10) == []
    assert await is_gone(log, mine, foreign)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "1",
        "0" * 64,
        "-1",
        "aaaaaaaaaaaa-1-",
        "aaaaaaaaaaaa--1",
        "*",
        "+",
        "aaaaaaaaaaaa-\u0663",
        "aaaaaaaaaaaa-\u0663-\u0663",
    ],
)
async def test_what_is_no_cursor_is_refused(log: NoticeLog, cursor: str) -> None:
    with pytest.raises(MienError) as refused:
        await log.read(new_id(), cursor, 10)
    assert refused.value.code is Code.BAD_QUERY


@pytest.mark.parametrize("bounds", [Bounds(3, 1 << 30, 3_600_000), Bounds(1000, 50_000, 3_600_000)])
async def test_a_log_keeps_within_its_bounds_and_says_what_it_no_longer_has(
    open_log: OpenLog, place: Place, bounds: Bounds
) -> None:
    account = new_id()
    async with open_log(place, bounds) as log:
        begin = await log.newest(account)
        for notice in notices(10, size=10_000):
            await log.append(account, [notice])
        assert await is_gone(log, account, begin)
        last = await log.newest(account)
        assert await log.read(account, last, 10) == []
        await log.append(account, notices(1))
        assert len(await log.read(account, last, 10)) == 1


async def test_what_is_too_old_is_gone_also_where_nothing_follows(open_log: OpenLog, place: Place) -> None:
    account = new_id()
    async with open_log(place, Bounds(1000, 1 << 30, age_ms=200)) as log:
        begin = await log.newest(account)
        await log.append(account, notices(2))
        last = await log.newest(account)
        async with asyncio.timeout(PATIENCE_S):
            while not await is_gone(log, account, begin):
                await log.append(new_id(), notices(1))  # life elsewhere
        assert await log.read(account, last, 10) == [], "nothing was missed by who has seen everything"


async def test_a_listener_is_woken_by_what_is_appended_for_its_account(log: NoticeLog) -> None:
    account = new_id()
    begin = await log.newest(account)
    with log.listening(account) as bell:
        assert bell.is_set(), "there may be something already"
        for count in (1, 2, 3):
            bell.clear()
            await log.append(account, notices(1))
            async with asyncio.timeout(PATIENCE_S):
                await bell.wait()
            assert len(await log.read(account, begin, 10)) == count


async def test_what_was_appended_outlives_the_process(open_log: OpenLog, place: Place) -> None:
    account = new_id()
    async with open_log(place, BOUNDS) as log:
        begin = await log.newest(account)
        await log.append(account, notices(2))
    async with open_log(place, BOUNDS) as log:
        await log.append(account, notices(1))
        assert len(await log.read(account, begin, 10)) == 3


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(st.lists(st.integers(0, 30), max_size=6), max_size=12),
    pages=st.lists(st.integers(1, 5), min_size=1, max_size=5),
)
async def test_a_reader_who_resumes_anywhere_sees_everything_once(
    log: NoticeLog, batches: list[list[int]], pages: list[int]
) -> None:
    account = new_id()
    ids = {number: new_id() for number in range(31)}
    cursor = await log.newest(account)
    seen: list[bytes] = []
    for place, batch in enumerate(batches):
        await log.append(account, [Notice(ids[number], b"%d" % number) for number in batch])
        page = await log.read(account, cursor, pages[place % len(pages)])
        seen += contents(page)
        cursor = page[-1].cursor if page else cursor
    seen += contents(await log.read(account, cursor, 1000))
    assert seen == list(dict.fromkeys(b"%d" % number for batch in batches for number in batch))


async def test_several_processes_share_a_redis_log(place: Place) -> None:
    account, sent = new_id(), notices(20)
    async with redis_log(place) as one, redis_log(place) as other:
        begin = await one.newest(account)
        with other.listening(account) as bell:
            await other.append(new_id(), notices(1))
            bell.clear()
            async with asyncio.timeout(PATIENCE_S):
                while not bell.is_set():  # the other process may not listen to its channel yet
                    await asyncio.gather(*(log.append(account, sent) for log in (one, other)))
                    await asyncio.sleep(0.01)
        assert len(await other.read(account, begin, 100)) == 20


async def test_listeners_are_woken_when_a_redis_that_was_away_is_back(redis_server: RedisServer, place: Place) -> None:
    account = new_id()
    async with redis_log(place) as log:
        begin = await log.newest(account)
        with log.listening(account) as bell:
            redis_server.stop()
            with pytest.raises(MienError) as refused:
                await log.append(account, notices(1))
            assert (refused.value.code, refused.value.status) == (Code.STORE_UNAVAILABLE, 503)
            bell.clear()
            redis_server.start()
            async with asyncio.timeout(PATIENCE_S):
                await bell.wait()
        await log.append(account, notices(1))
        assert len(await log.read(account, begin, 10)) == 1
