"""Batches of many callers: when work starts, who gets what, who is refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from libs.common.errors import Code, MienError
from services.remote_sdk.batcher import Batcher, Pool


class Doubling:
    """Doubles numbers, and says which batches it got. While ``gate`` is closed it keeps its thread busy."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.busy = threading.Semaphore(0)

    def __call__(self, items: list[int]) -> list[int | Exception]:
        self.batches.append(items)
        self.busy.release()
        assert self.gate.wait(10)
        if -13 in items:
            raise RuntimeError("thirteen")
        return [MienError(Code.BROKEN_IMAGE, "negative") if item < 0 else 2 * item for item in items]

    async def until_busy(self) -> None:
        assert await asyncio.to_thread(self.busy.acquire, timeout=10)


Build = Callable[..., tuple[Doubling, Batcher[int, int]]]


@pytest.fixture
async def build() -> AsyncIterator[Build]:
    """Makes a started batcher around a :class:`Doubling`; stops its pool in the end."""
    made: list[tuple[Pool, Doubling]] = []

    def make(threads: int = 1, max_batch: int = 8, **options: Any) -> tuple[Doubling, Batcher[int, int]]:
        pool, double = Pool(threads), Doubling()
        batcher = Batcher(pool, "test", double, max_batch, **options)
        pool.start()
        made.append((pool, double))
        return double, batcher

    yield make
    for pool, double in made:
        double.gate.set()
        await pool.stop()


async def held(double: Doubling, batcher: Batcher[int, int], first: int = 0) -> asyncio.Task[list[int | BaseException]]:
    """A call whose item is being computed and does not end before the gate opens."""
    double.gate.clear()
    running = asyncio.create_task(batcher.submit([first]))
    await double.until_busy()
    return running


def entered(*calls: Awaitable[object]) -> list[asyncio.Future[object]]:
    return [asyncio.ensure_future(call) for call in calls]


async def test_an_idle_thread_starts_at_once_with_what_is_there(build: Build) -> None:
    double, batcher = build()
    assert await batcher.submit([1]) == [2]
    assert double.batches == [[1]]


async def test_items_of_several_callers_gather_while_every_thread_is_busy(build: Build) -> None:
    double, batcher = build(max_batch=3)
    running = await held(double, batcher)
    calls = entered(batcher.submit([1, 2]), batcher.submit([3]), batcher.submit([4]))
    await asyncio.sleep(0)

    double.gate.set()

    assert await asyncio.gather(running, *calls) == [[0], [2, 4], [6], [8]]
    assert double.batches == [[0], [1, 2, 3], [4]]


async def test_callers_of_one_batch_may_come_again_together_but_nobody_waits_for_them_long(build: Build) -> None:
    now_s = 100.0
    double, batcher = build(clock=lambda: now_s)

    async def two_take_two_seconds() -> None:
        nonlocal now_s
        double.gate.clear()
        both = asyncio.create_task(batcher.submit([1, 2]))
        await double.until_busy()
        now_s += 2.0
        double.gate.set()
        await both

    await two_take_two_seconds()
    first = asyncio.create_task(batcher.submit([3]))
    assert not await asyncio.to_thread(double.busy.acquire, timeout=0.02)
    assert await asyncio.gather(first, batcher.submit([4])) == [[6], [8]]
    await double.until_busy()
    assert double.batches == [[1, 2], [3, 4]]

    await two_take_two_seconds()
    alone = asyncio.create_task(batcher.submit([5]))
    assert not await asyncio.to_thread(double.busy.acquire, timeout=0.02)
    now_s += 0.11
    assert await alone == [10]


async def test_idle_threads_share_what_comes_at_once(build: Build) -> None:
    double, batcher = build(threads=2, max_batch=8)
    double.gate.clear()
    call = asyncio.create_task(batcher.submit([1, 2, 3, 4]))
    await double.until_busy()
    await double.until_busy()
    double.gate.set()

    assert await call == [2, 4, 6, 8]
    assert sorted(map(len, double.batches)) in ([2, 2], [1, 1, 2])


async def test_a_bad_item_fails_alone(build: Build) -> None:
    double, batcher = build()
    running = await held(double, batcher)
    calls = entered(batcher.submit([1]), batcher.submit([-1, 2]))
    await asyncio.sleep(0)
    double.gate.set()
    await running

    good, mixed = await asyncio.gather(*calls)

    assert double.batches[1] == [1, -1, 2]
    assert good == [2]
    assert isinstance(mixed[0], MienError)
    assert mixed[1] == 4


async def test_a_function_that_raises_fails_its_batch_and_not_the_thread(build: Build) -> None:
    _, batcher = build()
    [error] = await batcher.submit([-13])
    assert isinstance(error, MienError)
    assert error.code is Code.ENGINE_FAILED
    assert await batcher.submit([1]) == [2]


async def test_a_full_queue_refuses_a_whole_call_and_says_when_to_retry(build: Build) -> None:
    double, batcher = build(queue_limit=2)
    running = await held(double, batcher)
    waiting = entered(batcher.submit([1]))
    await asyncio.sleep(0)

    with pytest.raises(MienError) as refused:
        await batcher.submit([2, 3])

    assert (refused.value.code, refused.value.status) == (Code.OVERLOADED, 503)
    assert refused.value.retry_after_s == 1
    double.gate.set()
    assert await asyncio.gather(running, *waiting) == [[0], [2]]


async def test_who_is_refused_may_retry_when_what_waits_will_be_done(build: Build) -> None:
    now = [0.0]
    double, batcher = build(max_batch=1, queue_limit=4, clock=lambda: now[0])
    running = await held(double, batcher)
    now[0] = 3.0  # so long did the first one take
    double.gate.set()
    await running
    running = await held(double, batcher)
    waiting = entered(batcher.submit([1, 2, 3, 4]))
    await asyncio.sleep(0)

    with pytest.raises(MienError) as refused:
        await batcher.submit([5])

    assert refused.value.retry_after_s == 12
    double.gate.set()
    assert await asyncio.gather(running, *waiting) == [[0], [2, 4, 6, 8]]


async def test_a_call_larger_than_the_queue_is_let_in_when_nothing_waits(build: Build) -> None:
    _, batcher = build(queue_limit=2)
    assert await batcher.submit([1, 2, 3]) == [2, 4, 6]


async def test_an_item_that_waited_too_long_is_given_up_uncomputed(build: Build) -> None:
    now_s = 100.0
    double, batcher = build(queue_age_s=2.0, clock=lambda: now_s)
    running = await held(double, batcher)
    waiting = entered(batcher.submit([1]))
    await asyncio.sleep(0)
    now_s += 2.5
    double.gate.set()

    [[error]] = await asyncio.gather(*waiting)
    await running

    assert isinstance(error, MienError)
    assert (error.code, error.retry_after_s) == (Code.OVERLOADED, 3)
    assert double.batches == [[0]]


async def test_a_cancelled_call_takes_back_what_is_not_begun(build: Build) -> None:
    double, batcher = build()
    running = await held(double, batcher)
    cancelled, other = entered(batcher.submit([1, 2]), batcher.submit([3]))
    await asyncio.sleep(0)

    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    double.gate.set()

    assert await asyncio.gather(running, other) == [[0], [6]]
    assert double.batches == [[0], [3]]


async def test_a_call_cancelled_while_it_is_computed_harms_nobody(build: Build) -> None:
    double, batcher = build()
    running = await held(double, batcher)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    double.gate.set()
    assert await batcher.submit([4]) == [8]


async def test_the_batcher_added_first_is_served_first() -> None:
    pool, order = Pool(1), list[str]()
    late: Batcher[int, int] = Batcher(pool, "late", lambda items: order.append("late") or list(items), 8)
    early: Batcher[int, int] = Batcher(pool, "early", lambda items: order.append("early") or list(items), 8)
    calls = []
    with pool.changed:  # the threads start with both queues filled
        pool.start()
        calls = entered(early.submit([1]), late.submit([2]))
        await asyncio.sleep(0)
    await asyncio.gather(*calls)
    await pool.stop()
    assert order == ["late", "early"]


async def test_stopping_finishes_what_is_begun_and_refuses_the_rest() -> None:
    pool, double = Pool(1), Doubling()
    batcher = Batcher(pool, "test", double, 8)
    pool.start()
    running = await held(double, batcher)
    waiting = entered(batcher.submit([1]))
    await asyncio.sleep(0)

    stopping = asyncio.create_task(pool.stop())
    [[refused]] = await asyncio.gather(*waiting)
    double.gate.set()
    await stopping

    assert await running == [0]
    assert isinstance(refused, MienError)
    assert refused.code is Code.OVERLOADED
    with pytest.raises(MienError, match="stopping"):
        await batcher.submit([2])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("compute-")]


async def test_every_item_of_many_callers_gets_its_own_outcome(build: Build) -> None:
    double, batcher = build(threads=4, max_batch=5)
    calls = [batcher.submit(list(range(start, start + 7))) for start in range(0, 700, 7)]
    outcomes = [outcome for call in await asyncio.gather(*calls) for outcome in call]
    assert outcomes == [2 * item for item in range(700)]
    assert max(map(len, double.batches)) <= 5


async def test_cheap_items_go_before_dear_ones_that_wait_but_not_for_longer_than_these_cost(build: Build) -> None:
    now = [0.0]
    double, batcher = build(max_batch=1, cost_s=lambda item: 2.0 if item >= 100 else 0.0, clock=lambda: now[0])
    running = await held(double, batcher)
    calls = []
    for now[0], item in ((0.0, 100), (0.1, 101), (1.0, 1), (1.9, 2), (2.05, 3), (3.0, 4)):
        calls += entered(batcher.submit([item]))
        await asyncio.sleep(0)
    double.gate.set()
    await asyncio.gather(running, *calls)
    assert double.batches == [[0], [1], [2], [100], [3], [101], [4]]
