"""The bus port: what every adapter promises. A further adapter is one more parameter of ``open_bus``."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from libs.common.bus import local
from libs.common.bus.local import SCHEMA, LocalBus
from libs.common.bus.port import Bus, Message
from libs.common.errors import Code, MienError
from libs.common.storage.sqlite import Database

OpenBus = Callable[..., AbstractAsyncContextManager[Bus]]
PATIENCE_S = 10


@pytest.fixture(params=["local"])
def open_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenBus:
    """Opens the same bus again and again, as a process that restarts does."""
    monkeypatch.setattr(local, "backoff_ms", lambda attempt: 1)

    @asynccontextmanager
    async def opened(**options: Any) -> AsyncIterator[Bus]:
        database = await Database(tmp_path / "bus.db", SCHEMA).open()
        bus = LocalBus(database, **options)
        try:
            yield bus
        finally:
            await bus.stop()
            await database.close()

    return opened


class Inbox:
    """A consumer that keeps what it got; the first ``failures`` deliveries of each message raise ``failure``."""

    def __init__(self, failures: int = 0, failure: type[Exception] = ValueError) -> None:
        self.messages: list[Message] = []
        self._failures = failures
        self._failure = failure
        self._changed = asyncio.Condition()

    async def __call__(self, message: Message) -> None:
        async with self._changed:
            self.messages.append(message)
            self._changed.notify_all()
        if message.attempt <= self._failures:
            raise self._failure("not yet")

    async def holds(self, count: int) -> list[Message]:
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: len(self.messages) >= count)
        return self.messages


def message(number: int) -> Message:
    return Message("facts", "account", {"number": number, "bytes": b"\x00\xff"})


async def test_every_subscriber_gets_every_message_as_it_was_published(open_bus: OpenBus) -> None:
    first, second = Inbox(), Inbox()
    async with open_bus() as bus:
        bus.subscribe("facts", "first", first)
        bus.subscribe("facts", "second", second)
        await bus.start()
        sent = [message(number) for number in range(50)]
        await asyncio.gather(*(bus.publish(one) for one in sent))
        for inbox in (first, second):
            got = await inbox.holds(50)
            assert sorted(got, key=lambda one: one.body["number"]) == sent


async def test_what_was_published_before_a_crash_is_delivered_after_it(open_bus: OpenBus) -> None:
    async with open_bus() as bus:
        bus.subscribe("facts", "reader", Inbox())
        await bus.publish(message(1))  # never started: the process died before delivery
    inbox = Inbox()
    async with open_bus() as bus:
        bus.subscribe("facts", "reader", inbox)
        await bus.start()
        assert [one.body["number"] for one in await inbox.holds(1)] == [1]


async def test_what_was_acknowledged_is_not_delivered_again(open_bus: OpenBus) -> None:
    first, second = Inbox(), Inbox()
    async with open_bus() as bus:
        bus.subscribe("facts", "reader", first)
        await bus.start()
        await bus.publish(message(1))
        await first.holds(1)
        await bus.publish(message(2))
        await first.holds(2)
    async with open_bus() as bus:
        bus.subscribe("facts", "reader", second)
        await bus.start()
        await bus.publish(message(3))
        assert (await second.holds(1))[-1].body["number"] in (2, 3)
        assert 1 not in [one.body["number"] for one in second.messages]


async def test_a_failing_delivery_is_tried_again(open_bus: OpenBus) -> None:
    inbox = Inbox(failures=2)
    async with open_bus() as bus:
        bus.subscribe("facts", "reader", inbox)
        await bus.start()
        await bus.publish(message(1))
        assert [one.attempt for one in await inbox.holds(3)] == [1, 2, 3]


async def test_a_message_that_keeps_failing_does_not_stop_the_others(open_bus: OpenBus) -> None:
    inbox = Inbox()

    async def poisoned(one: Message) -> None:
        if one.body["number"] == 0:
            raise ValueError("poison")
        await inbox(one)

    async with open_bus(attempts=2) as bus:
        bus.subscribe("facts", "reader", poisoned)
        await bus.start()
        for number in range(3):
            await bus.publish(message(number))
        assert [one.body["number"] for one in await inbox.holds(2)] == [1, 2]


async def test_a_store_that_fails_for_long_costs_no_message(open_bus: OpenBus) -> None:
    inbox = Inbox(failures=5, failure=sqlite3.OperationalError)
    async with open_bus(attempts=2) as bus:
        bus.subscribe("facts", "store", inbox)
        await bus.start()
        await bus.publish(message(1))
        assert [one.attempt for one in await inbox.holds(6)] == [1, 2, 3, 4, 5, 6]


async def test_publishing_the_same_message_twice_delivers_it_once(open_bus: OpenBus) -> None:
    inbox, twice = Inbox(), message(1)
    async with open_bus() as bus:
        bus.subscribe("facts", "reader", inbox)
        await bus.publish(twice)
        await bus.publish(twice)
        await bus.publish(message(2))
        await bus.start()
        assert [one.body["number"] for one in await inbox.holds(2)] == [1, 2]


async def test_a_full_queue_refuses_instead_of_growing(open_bus: OpenBus) -> None:
    async with open_bus(capacity=3) as bus:
        bus.subscribe("facts", "reader", Inbox())
        for number in range(3):
            await bus.publish(message(number))
        with pytest.raises(MienError) as refused:
            await bus.publish(message(3))
        assert (refused.value.code, refused.value.status) == (Code.OVERLOADED, 503)


async def test_a_dead_letter_keeps_its_reason(tmp_path: Path, open_bus: OpenBus) -> None:
    inbox = Inbox(failures=99)
    async with open_bus(attempts=2) as bus:
        bus.subscribe("facts", "reader", inbox)
        await bus.start()
        await bus.publish(message(1))
        await inbox.holds(2)
        database = await Database(tmp_path / "bus.db", SCHEMA).open()
        async with asyncio.timeout(PATIENCE_S):
            while not (rows := await database.rows("SELECT queue, reason FROM dead_letter")):  # noqa: ASYNC110 (a burial is not announced)
                await asyncio.sleep(0.01)
        await database.close()
        assert [tuple(row) for row in rows] == [("facts.reader", "ValueError: not yet")]


async def test_dead_letters_do_not_grow_without_bound(
    tmp_path: Path, open_bus: OpenBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "DEAD_LETTERS", 2)
    inbox = Inbox(failures=99)
    async with open_bus(attempts=1) as bus:
        bus.subscribe("facts", "reader", inbox)
        await bus.start()
        for number in range(5):
            await bus.publish(message(number))
        await inbox.holds(5)
    database = await Database(tmp_path / "bus.db", SCHEMA).open()
    [[dead, left]] = await database.rows("SELECT (SELECT count(*) FROM dead_letter), (SELECT count(*) FROM message)")
    await database.close()
    assert (dead <= 2, left <= 1) == (True, True)


async def test_a_message_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path, open_bus: OpenBus) -> None:
    inbox = Inbox()
    async with open_bus(attempts=2) as bus:
        bus.subscribe("facts", "reader", inbox)
        await bus.publish(message(1))
        await bus.publish(message(2))
        database = await Database(tmp_path / "bus.db", SCHEMA).open()
        await database.write(lambda db: db.execute("UPDATE message SET envelope = x'c1' WHERE seq = 1"))
        await database.close()
        await bus.start()
        assert [one.body["number"] for one in await inbox.holds(1)] == [2]
