"""How the pictures of a long call go through a queue that others use as well."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import Code, MienError
from services.remote_sdk.turns import in_turn


class Queue:
    """Doubles numbers, one at a time in the order they came; so many may wait."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.waiting: list[tuple[int, asyncio.Future[int]]] = []
        self.most = 0
        self.calls: list[int] = []

    async def run(self, items: Sequence[int]) -> list[int]:
        self.calls.append(len(items))
        if len(self.waiting) + len(items) > self.room:
            raise MienError(Code.OVERLOADED, "full", retry_after_s=1)
        entered = [(item, asyncio.get_running_loop().create_future()) for item in items]
        self.waiting += entered
        self.most = max(self.most, len(self.waiting))
        return list(await asyncio.gather(*(outcome for _, outcome in entered)))

    async def work(self) -> None:
        while True:
            while not self.waiting:  # noqa: ASYNC110
                await asyncio.sleep(0)
            item, outcome = self.waiting.pop(0)
            if not outcome.done():
                outcome.set_result(2 * item)
            await asyncio.sleep(0)


async def through(queue: Queue, count: int, at_once: int) -> list[int]:
    worker = asyncio.create_task(queue.work())
    try:
        return await in_turn(range(count), queue.run, at_once)
    finally:
        worker.cancel()


@given(st.integers(0, 40), st.integers(1, 10), st.integers(10, 50))
def test_every_item_has_its_outcome_and_few_wait_at_a_time(count: int, at_once: int, room: int) -> None:
    queue = Queue(room)
    assert asyncio.run(through(queue, count, at_once)) == [2 * number for number in range(count)]
    assert queue.most <= at_once


@given(st.integers(9, 40), st.integers(1, 7))
def test_where_there_is_little_room_a_long_call_waits_for_itself(count: int, room: int) -> None:
    queue = Queue(room)
    assert asyncio.run(through(queue, count, 8)) == [2 * number for number in range(count)]
    assert queue.most <= room


async def test_what_comes_later_is_served_between() -> None:
    queue = Queue(100)
    long = asyncio.create_task(in_turn(range(50), queue.run, 4))
    while not queue.waiting:  # noqa: ASYNC110
        await asyncio.sleep(0)
    short = asyncio.create_task(queue.run([1000]))
    worker = asyncio.create_task(queue.work())
    assert await short == [2000]
    assert not long.done()
    assert len(await long) == 50
    worker.cancel()


async def test_a_call_without_any_room_is_refused_and_one_that_fits_is_let_in_at_once() -> None:
    full = Queue(0)
    for count in (3, 9):
        with pytest.raises(MienError) as refused:
            await in_turn(range(count), full.run, 8)
        assert (refused.value.code, refused.value.retry_after_s) == (Code.OVERLOADED, 1)
    assert full.calls == [3] + [1] * 8


async def test_a_failure_ends_the_call_and_takes_back_what_waits() -> None:
    entered, cancelled = [], []

    async def run(items: Sequence[int]) -> list[int]:
        entered.append(items[0])
        if items[0] == 3:
            raise MienError(Code.ENGINE_FAILED, "broken")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(items[0])
            raise
        return []

    with pytest.raises(MienError, match="broken"):
        await in_turn(range(20), run, 4)
    await asyncio.sleep(0)
    assert (entered, cancelled) == ([0, 1, 2, 3], [0, 1, 2])
