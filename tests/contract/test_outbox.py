"""What is to be told of events: owed exactly when they are stored, on every store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common import clock
from libs.common.bus.topics import EVENTS_NOTIFY
from libs.common.errors import Code, MienError
from libs.common.ids import new_id
from libs.common.wire.events import Event
from libs.common.wire.notices import Notice
from services.events.filters import All
from services.events.ports import LEASE_S, Backlog, Owed
from tests.clocks import Clock
from tests.contract.event_stores import NOON, STORES, Opened, descriptor, event

MINE, THEIRS = new_id(), new_id()


@pytest.fixture(params=STORES)
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Opened]:
    async with STORES[request.param](request) as opened:
        yield opened


def owed_for(events: list[Event], *, count: int = 1, saved_ms: int = 7) -> Owed:
    notices = [
        Notice(notice_id=new_id(), topic=EVENTS_NOTIFY, body={"events": [one.event_id for one in events], "ß": None})
        for _ in range(count)
    ]
    return Owed(events[-1].event_id, events[-1].account_id, notices, saved_ms=saved_ms, request_id="r-1")


async def test_what_is_saved_with_events_can_be_taken_once_the_saver_has_had_its_time(
    opened: Opened, service_clock: Clock
) -> None:
    events = [event(MINE), event(MINE, face_descriptor=descriptor())]
    owed = owed_for(events, count=2)
    assert await opened.store.add(MINE, events, NOON, owed)
    assert await opened.outbox.take(10) == []
    service_clock.advance(LEASE_S)
    assert await opened.outbox.take(10) == [owed]
    assert await opened.outbox.take(10) == []
    service_clock.advance(LEASE_S)
    assert await opened.outbox.take(10) == [owed]


async def test_events_that_are_saved_again_are_not_told_again(opened: Opened, service_clock: Clock) -> None:
    events = [event(MINE), event(MINE)]
    first = owed_for(events)
    assert await opened.store.add(MINE, events, NOON, first)
    assert not await opened.store.add(MINE, events, NOON, owed_for(events))
    assert not await opened.store.add(MINE, [event(MINE), events[-1]], NOON, owed_for(events))
    service_clock.advance(LEASE_S)
    assert await opened.outbox.take(10) == [first]


async def test_a_save_that_completes_a_broken_off_one_tells_of_it(opened: Opened, service_clock: Clock) -> None:
    begun, missing = event(MINE), event(MINE)
    await opened.store.add(MINE, [begun], NOON)
    owed = owed_for([begun, missing])
    assert await opened.store.add(MINE, [begun, missing], NOON, owed)
    service_clock.advance(LEASE_S)
    assert await opened.outbox.take(10) == [owed]


async def test_a_refused_save_tells_nobody(opened: Opened, service_clock: Clock) -> None:
    theirs = event(THEIRS)
    await opened.store.add(THEIRS, [theirs], NOON)
    events = [event(MINE, event_id=theirs.event_id), event(MINE)]
    with pytest.raises(MienError) as refusal:
        await opened.store.add(MINE, events, NOON, owed_for(events))
    assert refusal.value.code is Code.REQUEST_CONFLICT
    service_clock.advance(LEASE_S)
    assert await opened.outbox.take(10) == []


async def test_what_was_published_is_gone_and_what_was_not_stays(opened: Opened, service_clock: Clock) -> None:
    all_owed = [owed_for([event(MINE)], count=2, saved_ms=number) for number in (3, 1, 2)]
    for owed in all_owed:
        await opened.store.add(MINE, [event(MINE, event_id=owed.event_id)], NOON, owed)
    done, half, untouched = all_owed
    await opened.outbox.clear([done.event_id, new_id()])
    rest = replace(half, notices=half.notices[1:])
    await opened.outbox.reduce(rest)
    assert await opened.outbox.backlog() == Backlog(size=2, oldest_ms=1)
    service_clock.advance(LEASE_S)
    assert sorted(await opened.outbox.take(10), key=lambda owed: owed.saved_ms) == [rest, untouched]
    await opened.outbox.clear([half.event_id, untouched.event_id])
    assert await opened.outbox.backlog() == Backlog(size=0, oldest_ms=None)


async def test_the_oldest_is_taken_first_and_no_more_than_asked(opened: Opened, service_clock: Clock) -> None:
    all_owed = [owed_for([event(MINE)], saved_ms=number) for number in range(5)]
    for owed in all_owed:
        await opened.store.add(MINE, [event(MINE, event_id=owed.event_id)], NOON, owed)
    service_clock.advance(LEASE_S)
    assert await opened.outbox.take(2) == all_owed[:2]
    assert await opened.outbox.take(9) == all_owed[2:]


@pytest.mark.parametrize("with_face", [False, True])
async def test_an_event_that_is_deleted_before_it_was_told_of_is_still_told_of(
    opened: Opened, service_clock: Clock, with_face: bool
) -> None:
    saved = event(MINE, face_descriptor=descriptor() if with_face else None)
    owed = owed_for([saved])
    await opened.store.add(MINE, [saved], NOON, owed)
    for _ in range(2):
        await opened.store.delete(MINE, [saved.event_id])
    assert await opened.store.select(MINE, All(())) == []
    service_clock.advance(LEASE_S)
    assert await opened.outbox.take(10) == [owed]
    await opened.outbox.clear([saved.event_id])
    assert (await opened.outbox.backlog()).size == 0


saves = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True), max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(saves=saves)
async def test_a_save_is_told_of_exactly_if_it_stored_its_last_event(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, saves: list[list[int]]
) -> None:
    account = new_id()
    known = [event(account, create_time=NOON + timedelta(seconds=number)) for number in range(6)]
    stored: set[int] = set()
    expected: list[Owed] = []
    for numbers in saves:
        events = [known[number] for number in numbers]
        owed = owed_for(events, saved_ms=len(expected))
        is_new = numbers[-1] not in stored
        assert await opened.store.add(account, events, NOON, owed) is is_new
        expected += [owed] if is_new else []
        stored |= set(numbers)
    now_ms = clock.now_ms()
    with monkeypatch.context() as patched:
        patched.setattr(clock, "now_ms", lambda: now_ms + int(LEASE_S * 1000))
        assert await opened.outbox.take(100) == expected
    await opened.outbox.clear([owed.event_id for owed in expected])
