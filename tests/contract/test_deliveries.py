"""What every store of callbacks to be made must do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common import clock
from libs.common.ids import new_id
from libs.common.wire.policies import Callback
from services.sender.deliveries_mongo import MongoDeliveries
from services.sender.model import Backlog, Claim, Delivery, Keeping
from services.sender.ports import Deliveries
from tests.contract import mongo_shim
from tests.contract.delivery_stores import STORES

ME, YOU = "me", "you"
ACCOUNT = new_id()
A, B = "https://a.example/hook?key=1", "https://b.example/hook"
PATIENCE_S = 15

Open = Callable[[Keeping], AbstractAsyncContextManager[Deliveries]]


@pytest.fixture(params=STORES)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    return partial(STORES[request.param], tmp_path, request)


@pytest.fixture
async def store(open_store: Open) -> AsyncIterator[Deliveries]:
    async with open_store(Keeping()) as opened:
        yield opened


def delivery(url: str = A, source: str = "gate-1", account: str = ACCOUNT, **changes: Any) -> Delivery:
    sign = {"type": "basic", "login": "me", "password": "pässword"}
    callback = Callback.model_validate({"type": "http", "url": url, "authorization": sign})
    usual = {
        "message_id": new_id(),
        "emitted_ms": clock.now_ms(),
        "arrived_ns": time.time_ns(),
        "body": b'{"events":[]}\x00\xff',
    }
    return Delivery(**{**usual, "account": account, "callback": callback, "source": source, **changes})


async def claimed(store: Deliveries, holder: str = ME) -> Claim:
    claim = await store.claim(holder)
    assert claim is not None
    return claim


async def soon_claimed(store: Deliveries, holder: str) -> Claim:
    async with asyncio.timeout(PATIENCE_S):
        while (claim := await store.claim(holder)) is None:  # noqa: ASYNC110 (only time makes a lane due)
            await asyncio.sleep(0.02)
    return claim


async def head(store: Deliveries, claim: Claim) -> Delivery | None:
    waiting = await store.head(claim)
    return waiting and waiting.delivery


async def drained(store: Deliveries) -> list[str]:
    """Everything that is due, delivered lane by lane."""
    done: list[str] = []
    while claim := await store.claim(ME):
        while one := await head(store, claim):
            await store.delivered(one.message_id)
            done.append(one.message_id)
    return done


async def test_what_was_added_comes_back_as_it_was(store: Deliveries) -> None:
    one = delivery()
    await store.add(one)
    assert await head(store, await claimed(store)) == one


async def test_a_lane_keeps_the_order_of_emission_not_of_arrival(store: Deliveries) -> None:
    now = clock.now_ms()
    late, first, second = (delivery(emitted_ms=now + after) for after in (5, 1, 1))
    for one in (late, first, second):
        await store.add(one)
    assert await drained(store) == [one.message_id for one in (first, second, late)]


async def test_every_receiver_source_and_account_has_a_lane_of_its_own(store: Deliveries) -> None:
    for one in (delivery(), delivery(B), delivery(source="gate-2"), delivery(source=""), delivery(account=new_id())):
        await store.add(one)
    await store.add(delivery())
    claims = [await store.claim(ME) for _ in range(6)]
    assert len({claim.lane for claim in claims if claim}) == 5
    assert claims[-1] is None


async def test_a_message_that_arrives_again_is_delivered_once_also_later(store: Deliveries) -> None:
    one = delivery()
    await asyncio.gather(*(store.add(one) for _ in range(5)))
    assert await drained(store) == [one.message_id]
    await store.add(one)
    assert await drained(store) == []
    assert await store.backlog() == Backlog(0, None, 0)


async def test_a_lane_has_one_holder_until_its_lease_runs_out(open_store: Open) -> None:
    async with open_store(Keeping(lease_ms=300)) as store:
        await store.add(delivery())
        mine = await claimed(store)
        assert await store.claim(YOU) is None
        assert await store.extend(mine)
        yours = await soon_claimed(store, YOU)
        assert not await store.extend(mine)
        await store.release(mine, failures=9, due_ms=clock.now_ms())
        assert await store.claim(ME) is None, "who has lost a lane cannot leave it"
        assert await store.extend(yours)


async def test_only_one_of_many_gets_a_lane(store: Deliveries) -> None:
    await store.add(delivery())
    claims = await asyncio.gather(*(store.claim(str(number)) for number in range(8)))
    assert len([claim for claim in claims if claim]) == 1


async def test_a_failed_delivery_stays_the_head_and_its_lane_is_due_when_said(store: Deliveries) -> None:
    first, second = delivery(), delivery()
    await store.add(first)
    claim = await claimed(store)
    await store.failed(first.message_id, 3, "no answer")
    await store.release(claim, failures=3, due_ms=clock.now_ms() + 400)
    await store.add(second)
    assert await store.claim(ME) is None, "what is added does not shorten the wait"
    again = await soon_claimed(store, YOU)
    waiting = await store.head(again)
    assert waiting is not None
    assert (again.failures, waiting.delivery, waiting.attempts) == (3, first, 3)


async def added_and_drained_at_once(store: Deliveries) -> tuple[list[str], list[str]]:
    """Messages added to one lane by two processes while two others work on it; and what those delivered."""
    added = [delivery() for _ in range(6)]
    done: list[str] = []

    async def add(some: list[Delivery]) -> None:
        for one in some:
            await store.add(one)

    async def work(holder: str) -> None:
        while len(done) < len(added):
            claim = await store.claim(holder)
            while claim and (one := await head(store, claim)):
                await store.delivered(one.message_id)
                done.append(one.message_id)

    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(add(added[:3]), add(added[3:]), work(ME), work(YOU))
    return [one.message_id for one in added], done


async def test_what_is_added_while_a_lane_is_being_given_up_is_not_forgotten(store: Deliveries) -> None:
    added, done = await added_and_drained_at_once(store)
    assert sorted(done) == sorted(added)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32))
async def test_nothing_is_forgotten_however_the_steps_of_several_processes_mix(seed: int) -> None:
    chance = Random(seed)

    async def turn() -> None:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)

    added, done = await added_and_drained_at_once(MongoDeliveries(mongo_shim.database(turn)))
    assert sorted(done) == sorted(added)


async def test_the_dead_step_aside_and_are_listed_with_their_reason(store: Deliveries) -> None:
    poison, after, other = delivery(), delivery(), delivery(B, account=new_id())
    for one in (poison, after, other):
        await store.add(one)
    await store.died(poison.message_id, 7, "answered 400")
    await store.died(other.message_id, 1, "not allowed")
    assert await drained(store) == [after.message_id]
    [mine] = await store.dead(ACCOUNT, None, 10)
    assert (mine.message_id, mine.subscriber, mine.source, mine.attempts, mine.reason) == (
        poison.message_id,
        A,
        "gate-1",
        7,
        "answered 400",
    )
    assert [dead.message_id for dead in await store.dead(None, B, 10)] == [other.message_id]
    assert len(await store.dead(None, None, 1)) == 1
    assert await store.backlog() == Backlog(0, None, 2)


async def test_the_dead_are_redriven_as_if_they_were_new(store: Deliveries) -> None:
    dead = [delivery(emitted_ms=number) for number in range(3)]
    for one in dead:
        await store.add(one)
        await store.died(one.message_id, 7, "answered 400")
    await drained(store)
    assert await store.redrive([dead[2].message_id, new_id()]) == 1
    waiting = await store.head(await claimed(store))
    assert waiting is not None
    assert (waiting.delivery, waiting.attempts) == (dead[2], 0)
    await store.delivered(dead[2].message_id)
    assert await store.redrive(None) == 2
    assert await store.redrive(None) == 0


async def test_the_dead_can_be_forgotten(store: Deliveries) -> None:
    dead, waiting = delivery(), delivery()
    for one in (dead, waiting):
        await store.add(one)
    await store.died(dead.message_id, 7, "answered 400")
    assert await store.purge([waiting.message_id]) == 0
    assert await store.purge(None) == 1
    assert await drained(store) == [waiting.message_id]


async def test_a_lane_that_is_full_refuses_to_grow_and_loses_nothing(open_store: Open) -> None:
    async with open_store(Keeping(lane_limit=2, dead_limit=3)) as store:
        added = [delivery(emitted_ms=number) for number in range(7)]
        for one in added:
            await store.add(one)
        other = delivery(source="gate-2")
        await store.add(other)
        assert set(await drained(store)) == {added[0].message_id, added[1].message_id, other.message_id}
        dead = await store.dead(None, None, 10)
        assert {one.message_id for one in dead} == {one.message_id for one in added[4:]}, "the oldest went"
        assert all("wait" in one.reason for one in dead)


async def test_the_backlog_counts_what_waits_and_since_when(store: Deliveries) -> None:
    before = clock.now_ms()
    for source in ("1", "2"):
        await store.add(delivery(source=source))
    backlog = await store.backlog()
    assert (backlog.waiting, backlog.dead) == (2, 0)
    assert backlog.oldest_ms is not None
    assert before <= backlog.oldest_ms <= clock.now_ms()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 5), st.integers(0, 2)),
        st.tuples(st.sampled_from(["deliver", "fail", "die", "redrive", "release", "crash"]), st.just(0), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_whatever_happens_nothing_is_lost_or_done_twice(
    open_store: Open, steps: list[tuple[str, int, int]]
) -> None:
    async with open_store(Keeping(lease_ms=0)) as store:  # a lease that is out at once: holders crash all the time
        await drained(store)
        await store.purge(None)
        ids = [new_id() for _ in range(6)]
        added, done, dead = set[str](), list[str](), set[str]()
        claim: Claim | None = None
        for step, number, lane in steps:
            if step == "add":
                await store.add(delivery(source=str(lane), message_id=ids[number], emitted_ms=number))
                added.add(ids[number])
                continue
            if step == "redrive":
                assert await store.redrive(None) == len(dead)
                dead.clear()
                continue
            claim = claim or await store.claim(ME)
            one = await head(store, claim) if claim else None
            if claim is None or one is None or step == "crash":
                claim = None
            elif step == "deliver":
                await store.delivered(one.message_id)
                done.append(one.message_id)
            elif step == "fail":
                await store.failed(one.message_id, 1, "no")
            elif step == "die":
                await store.died(one.message_id, 1, "no")
                dead.add(one.message_id)
            else:
                await store.release(claim, failures=0, due_ms=clock.now_ms())
                claim = None
        await store.redrive(None)
        done += await drained(store)
        assert sorted(done) == sorted(added)
