"""When a callback is made, made again, left to others, or given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from libs.common.bus.port import Backoff
from libs.common.errors import Code, MienError
from libs.common.ids import new_id
from libs.common.storage.sqlite import Database
from libs.common.wire.policies import Callback
from services.sender.deliveries_sqlite import SCHEMA, SqliteDeliveries
from services.sender.dispatcher import Dispatcher, Rules
from services.sender.model import Claim, Delivery, Keeping

PATIENCE_S = 10
ACCOUNT = new_id()
LEASE_MS = 300


class Courier:
    """Somebody's server: ``receive`` is called with each delivery."""

    def __init__(self, receive: Callable[[Delivery], Awaitable[None]]) -> None:
        self._receive = receive
        self.calls: list[str] = []
        self.at_once = self.most_at_once = 0
        self.changed = asyncio.Condition()

    async def deliver(self, delivery: Delivery) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.calls.append(delivery.message_id)
        async with self.changed:
            self.changed.notify_all()
        try:
            await self._receive(delivery)
        finally:
            self.at_once -= 1

    async def called(self, times: int) -> list[str]:
        async with asyncio.timeout(PATIENCE_S), self.changed:
            await self.changed.wait_for(lambda: len(self.calls) >= times)
        return self.calls


class Cut(SqliteDeliveries):
    """A store that a process has lost sight of, as far as keeping its lanes goes."""

    async def extend(self, claim: Claim) -> bool:
        raise MienError(Code.STORE_UNAVAILABLE, "cut off")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database(tmp_path / "callbacks.db", SCHEMA, durable=False).open()
    yield database
    await database.close()


@pytest.fixture
def store(database: Database) -> SqliteDeliveries:
    return SqliteDeliveries(database, Keeping(lease_ms=LEASE_MS))


@asynccontextmanager
async def dispatching(store: SqliteDeliveries, courier: Courier, **rules: Any) -> AsyncIterator[Dispatcher]:
    usual = {"attempts": 3, "age_s": 60, "backoff": Backoff(0.01, 0.02), "lease_s": LEASE_MS / 1000}
    dispatcher = Dispatcher(store, courier, Rules(**{**usual, **rules}))
    await dispatcher.start()
    try:
        yield dispatcher
    finally:
        await dispatcher.stop()


async def added(store: SqliteDeliveries, count: int, source: str | None = None) -> list[str]:
    """Deliveries in lanes of their own, or all in that of ``source``."""
    ids = [new_id() for _ in range(count)]
    for number, message_id in enumerate(ids):
        callback = Callback(type="http", url="http://a.example/")
        lane = source if source is not None else str(number)
        await store.add(Delivery(message_id, ACCOUNT, callback, lane, number, time.time_ns(), b"{}"))
    return ids


async def reasons(store: SqliteDeliveries, count: int) -> list[str]:
    async with asyncio.timeout(PATIENCE_S):
        while len(dead := await store.dead(None, None, 100)) < count:  # noqa: ASYNC110 (a death is not announced)
            await asyncio.sleep(0.01)
    return [letter.reason for letter in dead]


async def test_an_unexpected_failure_counts_as_an_attempt_and_is_not_quoted(store: SqliteDeliveries) -> None:
    async def receive(_: Delivery) -> None:
        raise RuntimeError("secret")

    courier = Courier(receive)
    [one] = await added(store, 1)
    async with dispatching(store, courier):
        assert await reasons(store, 1) == ["unexpected RuntimeError"]
    assert courier.calls == [one] * 3


async def test_what_has_become_too_old_is_not_tried_again(store: SqliteDeliveries) -> None:
    async def receive(_: Delivery) -> None:
        raise MienError(Code.FETCH_FAILED, "the receiver answered 503")

    courier = Courier(receive)
    [one] = await added(store, 1)
    async with dispatching(store, courier, attempts=1000, age_s=0):
        await reasons(store, 1)
    assert courier.calls == [one]


async def test_no_more_calls_are_made_at_once_than_allowed(store: SqliteDeliveries) -> None:
    async def receive(_: Delivery) -> None:
        await asyncio.sleep(0.01)

    courier = Courier(receive)
    ids = await added(store, 20)
    async with dispatching(store, courier, at_once=3):
        assert sorted(await courier.called(20)) == sorted(ids)
    assert courier.most_at_once == 3


async def test_a_lane_that_cannot_be_kept_is_left_to_others_and_never_worked_on_by_two(
    database: Database, store: SqliteDeliveries
) -> None:
    over, taken = asyncio.Event(), list[str]()

    async def hang(_: Delivery) -> None:
        await over.wait()

    async def take(delivery: Delivery) -> None:
        taken.append(delivery.message_id)

    ids = await added(store, 3, source="gate-1")
    stuck, other = Courier(hang), Courier(take)
    async with dispatching(Cut(database, Keeping(lease_ms=LEASE_MS)), stuck, at_once=1):
        await stuck.called(1)
        async with dispatching(store, other):
            assert await other.called(3) == ids, "its lease has run out"
            over.set()
            await asyncio.sleep(LEASE_MS / 1000)
    assert (taken, stuck.calls) == (ids, ids[:1]), "who was stuck went on with nothing"


async def test_a_lease_is_kept_for_as_long_as_a_call_lasts(store: SqliteDeliveries) -> None:
    over = asyncio.Event()

    async def hang(_: Delivery) -> None:
        await over.wait()

    async def take(_: Delivery) -> None: ...

    [one] = await added(store, 1)
    slow, other = Courier(hang), Courier(take)
    async with dispatching(store, slow), dispatching(store, other):
        async with asyncio.timeout(PATIENCE_S):
            while not slow.calls + other.calls:  # noqa: ASYNC110 (either may be first)
                await asyncio.sleep(0.01)
        await asyncio.sleep(3 * LEASE_MS / 1000)
        over.set()
    assert slow.calls + other.calls == [one]
