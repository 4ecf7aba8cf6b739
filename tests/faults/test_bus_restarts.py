"""The bus while RabbitMQ stops, dies and comes back, and while consumers die."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import pytest

from deploy.local.rabbit import Rabbit
from libs.common.bus import rabbit
from libs.common.bus.port import Backoff, Message
from libs.common.bus.rabbit import RabbitBus, RabbitDeadLetters
from libs.common.bus.topics import Topic
from libs.common.bus.topology import work_queue
from libs.common.errors import Code, MienError
from tests.running import ROOT

TOPICS = {"notes": Topic("notes", subscribers=("reader",))}
PATIENCE_S = 60
MESSAGES = 300
POISON = 5
"""The number of a note that kills who consumes it."""
FEW_LIVES = 2
SETTLED_S = 1.0
"""RabbitMQ 3.10 writes down which quorum queues there are every half second. One that was made just before a SIGKILL
never gets a leader again, and whoever publishes to it waits in vain."""


@pytest.fixture
def broker(rabbit_server: Rabbit, rabbit_url: str) -> Iterator[Rabbit]:
    """The server of ``rabbit_url``, left running."""
    yield rabbit_server
    rabbit_server.start()


@asynccontextmanager
async def running(url: str, **options: Any) -> AsyncIterator[RabbitBus]:
    bus = RabbitBus(url, **{"topics": TOPICS, **options})
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop()


def note(number: int) -> Message:
    return Message("notes", "account", {"number": number})


async def until_published(bus: RabbitBus, message: Message) -> None:
    """As a caller does that is told to try again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await bus.publish(message)
            except MienError as refusal:
                if refusal.code is not Code.STORE_UNAVAILABLE:
                    raise
                await asyncio.sleep(refusal.retry_after_s or PATIENCE_S)


async def until_healthy(bus: RabbitBus) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await bus.health()
            except MienError:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_what_was_acknowledged_is_delivered_across_a_restart_of_the_broker(
    broker: Rabbit, rabbit_url: str, end: str
) -> None:
    got: Counter[int] = Counter()
    everything = asyncio.Event()

    async def consume(message: Message) -> None:
        got[message.body["number"]] += 1
        if len(got) == MESSAGES:
            everything.set()

    bus = RabbitBus(rabbit_url, topics=TOPICS, patience_s=1)
    bus.subscribe("notes", "reader", consume, at_once=8)
    await bus.start()
    try:
        await until_healthy(bus)
        await asyncio.sleep(SETTLED_S)
        broken = asyncio.Event()

        async def publish() -> None:
            for number in range(MESSAGES):
                if number == MESSAGES // 3:
                    broken.set()
                await until_published(bus, note(number))

        publishing = asyncio.create_task(publish())
        await broken.wait()
        await asyncio.to_thread(getattr(broker, end))
        await asyncio.to_thread(broker.start)
        began = time.monotonic()
        await publishing
        assert time.monotonic() - began < 10
        await asyncio.wait_for(everything.wait(), PATIENCE_S)
        assert sorted(got) == list(range(MESSAGES))
    finally:
        await bus.stop()


async def test_a_bus_that_starts_before_its_broker_says_so_and_recovers(broker: Rabbit, rabbit_url: str) -> None:
    broker.stop()
    async with running(rabbit_url, patience_s=0.5) as bus:
        with pytest.raises(MienError) as unwell:
            await bus.health()
        assert (unwell.value.code, unwell.value.status) == (Code.STORE_UNAVAILABLE, 503)
        began = time.monotonic()
        with pytest.raises(MienError) as refused:
            await bus.publish(note(1))
        assert (refused.value.code, refused.value.retry_after_s) == (Code.STORE_UNAVAILABLE, 1)
        assert time.monotonic() - began < 2
        assert "guest" not in str(refused.value)
        await asyncio.to_thread(broker.start)
        await until_healthy(bus)
        await bus.publish(note(1))


async def test_queues_that_somebody_deleted_are_declared_anew(rabbit_url: str) -> None:
    got: asyncio.Queue[int] = asyncio.Queue()

    async def consume(message: Message) -> None:
        await got.put(message.body["number"])

    bus = RabbitBus(rabbit_url, topics=TOPICS)
    bus.subscribe("notes", "reader", consume)
    await bus.start()
    try:
        await bus.publish(note(1))
        assert await asyncio.wait_for(got.get(), PATIENCE_S) == 1
        async with await aio_pika.connect(rabbit_url) as connection:
            channel = await (await connection.channel()).get_underlay_channel()
            await channel.queue_delete(work_queue("notes.reader"))
        await until_published(bus, note(2))
        assert await asyncio.wait_for(got.get(), PATIENCE_S) == 2
    finally:
        await bus.stop()


async def test_another_capacity_than_was_declared_is_told_by_the_health_check(rabbit_url: str) -> None:
    async with running(rabbit_url, capacity=10) as bus:
        await until_healthy(bus)
    async with running(rabbit_url, capacity=20) as bus:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with pytest.raises(MienError) as unwell:
                    await bus.health()
                if "x-max-length" in unwell.value.detail:
                    break
                await asyncio.sleep(0.05)


async def test_of_all_that_is_in_hand_when_consumers_are_killed_only_what_kills_is_given_up(
    rabbit_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbit, "LIVES", FEW_LIVES)
    got: Counter[int] = Counter()

    async def consume(message: Message) -> None:
        got[message.body["number"]] += 1

    async with running(rabbit_url) as bus:
        for number in range(POISON * 2):
            await bus.publish(note(number))
    for _ in range(1 + FEW_LIVES):
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, rabbit_url), env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        assert await asyncio.wait_for(child.wait(), PATIENCE_S) == 9
    letters, bus = RabbitDeadLetters(rabbit_url, topics=TOPICS), RabbitBus(rabbit_url, topics=TOPICS)
    bus.subscribe("notes", "reader", consume, at_once=8)
    await letters.start()
    await bus.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (found := await letters.list("notes.reader", 9)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            while set(got) != set(range(POISON * 2)) - {POISON}:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        killing = f"Killing: {FEW_LIVES} consumers ended while they worked on it and on nothing else"
        assert [letter.reason for letter in found] == [killing]
    finally:
        await bus.stop()
        await letters.stop()


async def test_a_subscriber_in_trouble_holds_few_messages_and_goes_on_as_soon_as_it_is_over(rabbit_url: str) -> None:
    in_trouble, held, done = True, Counter[int](), asyncio.Event()

    async def consume(message: Message) -> None:
        held[message.body["number"]] += 1
        if in_trouble:
            raise MienError(Code.STORE_UNAVAILABLE, "the store is away")
        if len(held) == 20:
            done.set()

    bus = RabbitBus(rabbit_url, topics=TOPICS, backoff=Backoff(first_s=0.01, trouble_s=0.05))
    bus.subscribe("notes", "reader", consume, at_once=3)
    await bus.start()
    try:
        for number in range(20):
            await bus.publish(note(number))
        async with asyncio.timeout(PATIENCE_S):
            while sum(held.values()) < 15:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert sorted(held) == [0, 1, 2]
        in_trouble = False
        await asyncio.wait_for(done.wait(), PATIENCE_S)
    finally:
        await bus.stop()


async def _die_of(url: str) -> None:
    """Cannot do anything but die of the poison."""

    async def die(message: Message) -> None:
        if message.body["number"] == POISON:
            os._exit(9)
        raise MienError(Code.STORE_UNAVAILABLE, "the store is away")

    rabbit.LIVES = FEW_LIVES
    bus = RabbitBus(url, topics=TOPICS)
    bus.subscribe("notes", "reader", die, at_once=100)
    await bus.start()
    await asyncio.sleep(PATIENCE_S)


if __name__ == "__main__":
    asyncio.run(_die_of(sys.argv[1]))
