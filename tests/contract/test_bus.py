"""The bus port: what every adapter promises. A further adapter is one more parameter of ``place``."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aio_pika
import pytest

from libs.common import clock, observability
from libs.common.bus import local, rabbit, topology
from libs.common.bus.local import SCHEMA, LocalBus, LocalDeadLetters
from libs.common.bus.port import MAX_MESSAGE_BYTES, Backoff, Bus, DeadLetters, Message
from libs.common.bus.rabbit import RabbitBus, RabbitDeadLetters
from libs.common.bus.topics import Topic
from libs.common.errors import Code, MienError
from libs.common.storage.sqlite import Database
from tests.running import ROOT

PATIENCE_S = 20
QUICK = Backoff(first_s=0.001, longest_s=0.01, trouble_s=0.01)
TOPICS = {
    "facts": Topic("facts", subscribers=("first", "second")),
    "notes": Topic("notes", subscribers=("reader",)),
    "gossip": Topic("gossip", subscribers=()),
}


class Place(ABC):
    """Where messages are: opened again and again, as by processes that restart."""

    def __init__(self, address: str) -> None:
        self.address = address

    @abstractmethod
    def bus(self, **options: Any) -> AbstractAsyncContextManager[Bus]: ...

    @abstractmethod
    def dead_letters(self) -> AbstractAsyncContextManager[DeadLetters]: ...

    @abstractmethod
    async def spoil(self, queue: str) -> None:
        """Put something into a queue that is no message."""


class LocalPlace(Place):
    @asynccontextmanager
    async def bus(self, **options: Any) -> AsyncIterator[Bus]:
        async with self._database() as database:
            bus = LocalBus(database, **{"topics": TOPICS, "backoff": QUICK, **options})
            try:
                yield bus
            finally:
                await bus.stop()

    @asynccontextmanager
    async def dead_letters(self) -> AsyncIterator[DeadLetters]:
        async with self._database() as database:
            yield LocalDeadLetters(database, topics=TOPICS)

    async def spoil(self, queue: str) -> None:
        async with self._database() as database:
            await database.write(
                lambda db: db.execute("INSERT INTO message VALUES (NULL, ?, 'spoilt', 0, 1, x'c1')", (queue,))
            )

    @asynccontextmanager
    async def _database(self) -> AsyncIterator[Database]:
        database = await Database(Path(self.address), SCHEMA).open()
        try:
            yield database
        finally:
            await database.close()


class RabbitPlace(Place):
    @asynccontextmanager
    async def bus(self, **options: Any) -> AsyncIterator[Bus]:
        bus = RabbitBus(self.address, **{"topics": TOPICS, "backoff": QUICK, **options})
        try:
            yield bus
        finally:
            await bus.stop()

    @asynccontextmanager
    async def dead_letters(self) -> AsyncIterator[DeadLetters]:
        letters = RabbitDeadLetters(self.address, topics=TOPICS)
        await letters.start()
        try:
            yield letters
        finally:
            await letters.stop()

    async def spoil(self, queue: str) -> None:
        async with await aio_pika.connect(self.address) as connection:
            channel = await connection.channel()
            await channel.default_exchange.publish(aio_pika.Message(b"\xc1"), topology.work_queue(queue))


PLACES: dict[str, type[Place]] = {"local": LocalPlace, "rabbit": RabbitPlace}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(local, "UNTOLD_S", 0.05)
    address = str(tmp_path / "bus.db") if request.param == "local" else request.getfixturevalue("rabbit_url")
    return PLACES[request.param](address)


class Inbox:
    """A consumer that keeps what it got; the first ``failures`` deliveries of each message raise ``failure``."""

    def __init__(self, failures: int = 0, failure: Exception | None = None) -> None:
        self.messages: list[Message] = []
        self._failures = failures
        self._failure = failure or ValueError("not yet")
        self._deliveries: Counter[str] = Counter()
        self._changed = asyncio.Condition()

    async def __call__(self, message: Message) -> None:
        self._deliveries[message.message_id] += 1
        async with self._changed:
            self.messages.append(message)
            self._changed.notify_all()
        if self._deliveries[message.message_id] <= self._failures:
            raise self._failure

    async def holds(self, count: int) -> list[Message]:
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: len(self.messages) >= count)
        return self.messages

    @property
    def numbers(self) -> list[int]:
        return [one.body["number"] for one in self.messages]


def note(number: int, **fields: Any) -> Message:
    return Message("notes", "account", {"number": number, "bytes": b"\x00\xff"}, **fields)


async def deaths(letters: DeadLetters, queue: str, count: int) -> list[tuple[str, str]]:
    """Id and reason of each dead letter, once there are ``count``: a burial is not announced."""
    async with asyncio.timeout(PATIENCE_S):
        while len(found := await letters.list(queue, 100)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return [(letter.message_id, letter.reason) for letter in found]


async def test_every_subscriber_gets_every_message_as_it_was_published(place: Place) -> None:
    first, second = Inbox(), Inbox()
    async with place.bus() as bus:
        bus.subscribe("facts", "first", first)
        bus.subscribe("facts", "second", second)
        await bus.start()
        trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
        sent = [
            Message("facts", "account", {"number": number, "bytes": b"\x00\xff"}, request_id="request", headers=trace)
            for number in range(50)
        ]
        await asyncio.gather(*(bus.publish(one) for one in sent))
        for inbox in (first, second):
            got = await inbox.holds(50)
            assert sorted(got, key=lambda one: one.body["number"]) == sent


async def test_a_message_carries_the_request_it_came_from(place: Place) -> None:
    requests: asyncio.Queue[str | None] = asyncio.Queue()

    async def consume(_: Message) -> None:
        await requests.put(observability.REQUEST.get())

    async with place.bus() as bus:
        bus.subscribe("notes", "reader", consume)
        await bus.start()
        with observability.request("the-request"):
            await bus.publish(note(1))
        assert await asyncio.wait_for(requests.get(), PATIENCE_S) == "the-request"


async def test_what_was_published_before_its_subscriber_ever_ran_is_delivered(place: Place) -> None:
    async with place.bus() as bus:
        await bus.start()
        await bus.publish(note(1))
    inbox = Inbox()
    async with place.bus() as bus:
        bus.subscribe("notes", "reader", inbox)
        await bus.start()
        assert [one.body["number"] for one in await inbox.holds(1)] == [1]


async def test_a_topic_without_subscribers_takes_messages_and_keeps_none(place: Place) -> None:
    async with place.bus(capacity=1) as bus:
        await bus.start()
        for _ in range(3):
            await bus.publish(Message("gossip", "account", {}))


async def test_what_was_acknowledged_is_not_delivered_again(place: Place) -> None:
    first, second = Inbox(), Inbox()
    async with place.bus() as bus:
        bus.subscribe("notes", "reader", first)
        await bus.start()
        await bus.publish(note(1))
        await first.holds(1)
        await bus.publish(note(2))
        await first.holds(2)
    async with place.bus() as bus:
        bus.subscribe("notes", "reader", second)
        await bus.start()
        await bus.publish(note(3))
        assert (await second.holds(1))[-1].body["number"] in (2, 3)
        assert 1 not in second.numbers


async def test_as_many_are_delivered_at_once_as_the_subscriber_asked_for(place: Place) -> None:
    running, most, gate = 0, 0, asyncio.Event()
    inbox = Inbox()

    async def consume(message: Message) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            gate.set()
        await gate.wait()
        await inbox(message)
        running -= 1

    async with place.bus() as bus:
        bus.subscribe("notes", "reader", consume, at_once=3)
        await bus.start()
        await asyncio.gather(*(bus.publish(note(number)) for number in range(9)))
        await inbox.holds(9)
        assert most == 3


async def test_one_at_a_time_keeps_the_order(place: Place) -> None:
    inbox = Inbox()
    async with place.bus() as bus:
        bus.subscribe("notes", "reader", inbox)
        await bus.start()
        for number in range(20):
            await bus.publish(note(number))
        await inbox.holds(20)
        assert inbox.numbers == list(range(20))


async def test_a_failing_delivery_is_tried_again(place: Place) -> None:
    inbox = Inbox(failures=2)
    async with place.bus() as bus:
        bus.subscribe("notes", "reader", inbox)
        await bus.start()
        await bus.publish(note(1))
        assert [one.attempt for one in await inbox.holds(3)] == [1, 2, 3]


async def test_a_message_that_keeps_failing_does_not_stop_the_others(place: Place) -> None:
    inbox = Inbox()

    async def poisoned(one: Message) -> None:
        if one.body["number"] == 0:
            raise ValueError("poison")
        await inbox(one)

    async with place.bus(attempts=2) as bus:
        bus.subscribe("notes", "reader", poisoned)
        await bus.start()
        for number in range(3):
            await bus.publish(note(number))
        assert [one.body["number"] for one in await inbox.holds(2)] == [1, 2]


@pytest.mark.parametrize(
    "trouble",
    [
        sqlite3.OperationalError("disk I/O error"),
        ConnectionRefusedError("refused"),
        MienError(Code.STORE_UNAVAILABLE, "mongo"),
        MienError(Code.STORAGE_FULL, "disk"),
        MienError(Code.CONNECTION, "faces"),
    ],
    ids=lambda trouble: type(trouble).__name__ + str(getattr(trouble, "status", "")),
)
async def test_a_store_that_fails_for_long_costs_no_attempt(place: Place, trouble: Exception) -> None:
    inbox = Inbox(failures=5, failure=trouble)
    async with place.bus(attempts=2) as bus:
        bus.subscribe("notes", "reader", inbox)
        await bus.start()
        await bus.publish(note(1))
        assert [one.attempt for one in await inbox.holds(6)] == [1] * 6
    async with place.dead_letters() as letters:
        assert await letters.list(None, 10) == []


async def fill(bus: Bus, tries: int) -> list[MienError]:
    """Publish notes 0, 1, 2... until ``tries`` were made; what was refused. Those before the first refusal are in."""
    outcomes = [(await asyncio.gather(bus.publish(note(number)), return_exceptions=True))[0] for number in range(tries)]
    return [outcome for outcome in outcomes if isinstance(outcome, MienError)]


async def test_a_full_queue_refuses_instead_of_growing(place: Place) -> None:
    async with place.bus(capacity=3) as bus:
        await bus.start()
        refusals = await fill(bus, 9)
        assert 9 - len(refusals) in (3, 4)  # RabbitMQ takes one more than it was told
        assert {(each.code, each.status, each.retry_after_s) for each in refusals} == {(Code.OVERLOADED, 503, 1)}


async def test_consumers_of_a_full_queue_go_on_although_every_message_fails_at_first(place: Place) -> None:
    inbox = Inbox(failures=1)
    async with place.bus(capacity=2) as bus:
        await bus.start()
        taken = 9 - len(await fill(bus, 9))
    async with place.bus(capacity=2) as bus:
        bus.subscribe("notes", "reader", inbox, at_once=2)
        await bus.start()
        await inbox.holds(2 * taken)
        assert Counter(inbox.numbers) == Counter(list(range(taken)) * 2)


async def test_what_is_too_large_is_refused(place: Place) -> None:
    async with place.bus() as bus:
        await bus.start()
        with pytest.raises(MienError) as refused:
            await bus.publish(Message("notes", "account", {"bytes": bytes(MAX_MESSAGE_BYTES)}))
        assert refused.value.code is Code.BODY_TOO_LARGE


async def test_topics_and_subscribers_that_the_table_does_not_name_are_refused(place: Place) -> None:
    async with place.bus() as bus:
        with pytest.raises(ValueError, match="rumours"):
            await bus.publish(Message("rumours", "account", {}))
        with pytest.raises(ValueError, match="nobody"):
            bus.subscribe("notes", "nobody", Inbox())
    async with place.dead_letters() as letters:
        with pytest.raises(ValueError, match="no queue is named"):
            await letters.redrive("notes.nobody", None)


async def test_a_dead_letter_keeps_its_reason_until_it_is_redriven(place: Place) -> None:
    inbox, sent, before = Inbox(failures=2), note(1), clock.now()
    async with place.bus(attempts=2) as bus, place.dead_letters() as letters:
        bus.subscribe("notes", "reader", inbox)
        await bus.start()
        await bus.publish(sent)
        await deaths(letters, "notes.reader", 1)
        [letter] = await letters.list(None, 10)
        assert before <= letter.died <= clock.now()
        assert (letter.queue, letter.message_id, letter.topic, letter.account, letter.attempts, letter.reason) == (
            *("notes.reader", sent.message_id, "notes", "account", 2, "ValueError: not yet"),
        )
        assert await letters.redrive("notes.reader", [sent.message_id]) == 1
        assert [one.attempt for one in await inbox.holds(3)] == [1, 2, 1]
        assert await letters.list(None, 10) == []
        assert inbox.messages[-1].body == sent.body


async def test_dead_letters_are_listed_in_order_and_purged_one_by_one(place: Place) -> None:
    sent = [note(number) for number in range(4)]
    async with place.bus(attempts=1) as bus, place.dead_letters() as letters:
        bus.subscribe("notes", "reader", Inbox(failures=9))
        await bus.start()
        for count, one in enumerate(sent, start=1):
            await bus.publish(one)
            await deaths(letters, "notes.reader", count)
        ids = [one.message_id for one in sent]
        assert [letter.message_id for letter in await letters.list(None, 9)] == ids
        assert [letter.message_id for letter in await letters.list("notes.reader", 2)] == ids[:2]
        assert await letters.purge("notes.reader", [ids[1], ids[3], "unknown"]) == 2
        assert [letter.message_id for letter in await letters.list("notes.reader", 9)] == [ids[0], ids[2]]
        assert await letters.purge("notes.reader", None) == 2
        assert await letters.list(None, 9) == []


@pytest.mark.parametrize(("letters_shown", "bytes_shown"), [(2, 10**9), (10**9, 1)])
async def test_a_list_looks_at_a_part_of_very_many_dead_letters_and_leaves_them_all(
    place: Place, monkeypatch: pytest.MonkeyPatch, letters_shown: int, bytes_shown: int
) -> None:
    sent = [note(number) for number in range(5)]
    async with place.bus(attempts=1) as bus, place.dead_letters() as letters:
        bus.subscribe("notes", "reader", Inbox(failures=9))
        await bus.start()
        for one in sent:
            await bus.publish(one)
        await deaths(letters, "notes.reader", 5)
        monkeypatch.setattr(rabbit, "SHOWN", letters_shown)
        monkeypatch.setattr(rabbit, "SHOWN_BYTES", bytes_shown)
        for _ in range(3):
            [shown] = await letters.list("notes.reader", 1)
            assert shown.message_id in {one.message_id for one in sent}
        assert await letters.redrive("notes.reader", [sent[4].message_id]) == 1
        await deaths(letters, "notes.reader", 1)
        assert await letters.purge("notes.reader", [one.message_id for one in sent[:4]]) == 4


async def test_what_there_are_too_many_dead_letters_for_waits_until_there_is_room_and_holds_up_nobody(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(local, "DEAD_LETTERS", 2)
    monkeypatch.setattr(topology, "DEAD_LETTERS", 2)
    inbox, doomed = Inbox(), [note(number) for number in range(6)]

    async def consume(message: Message) -> None:
        if message.body["number"] < len(doomed):
            raise ValueError("poison")
        await inbox(message)

    buried: set[str] = set()
    async with place.bus(attempts=1) as bus, place.dead_letters() as letters:
        bus.subscribe("notes", "reader", consume)
        await bus.start()
        for one in doomed:
            await bus.publish(one)
        await bus.publish(note(len(doomed)))
        await inbox.holds(1)
        assert "there are too many dead letters" in caplog.text
        while len(buried) < len(doomed):
            some = [message_id for message_id, _ in await deaths(letters, "notes.reader", 1)]
            buried.update(some)
            await letters.purge("notes.reader", some)
    assert buried == {one.message_id for one in doomed}


async def test_a_message_of_a_newer_schema_is_dead_at_once(place: Place) -> None:
    inbox, newer = Inbox(), note(1, version=2)
    async with place.bus() as bus, place.dead_letters() as letters:
        bus.subscribe("notes", "reader", inbox)
        await bus.start()
        await bus.publish(newer)
        [(message_id, why)] = await deaths(letters, "notes.reader", 1)
        assert (message_id, why) == (*(newer.message_id, "Unreadable: version 2 of notes; this release reads up to 1"),)
        assert inbox.messages == []


async def test_what_is_no_message_at_all_is_dead_at_once_and_does_not_stop_the_others(place: Place) -> None:
    inbox = Inbox()
    async with place.bus() as bus:
        await bus.start()
        await bus.publish(note(1))
    await place.spoil("notes.reader")
    async with place.bus() as bus, place.dead_letters() as letters:
        bus.subscribe("notes", "reader", inbox)
        await bus.start()
        await bus.publish(note(2))
        [(_, why)] = await deaths(letters, "notes.reader", 1)
        assert why.startswith("Unreadable: the envelope is no message")
        assert [one.body["number"] for one in await inbox.holds(2)] == [1, 2]


async def test_what_is_in_hand_while_its_consumer_restarts_often_is_not_given_up(place: Place) -> None:
    in_hand, inbox, sent = asyncio.Event(), Inbox(), note(1)

    async def hold(_: Message) -> None:
        in_hand.set()
        raise MienError(Code.STORE_UNAVAILABLE, "the store is away")

    for time in range(8):
        in_hand.clear()
        async with place.bus(backoff=Backoff(first_s=0.05, longest_s=0.05, trouble_s=60)) as bus:
            bus.subscribe("notes", "reader", hold)
            await bus.start()
            if time == 0:
                await bus.publish(sent)
            await asyncio.wait_for(in_hand.wait(), PATIENCE_S)
    async with place.bus() as bus, place.dead_letters() as letters:
        bus.subscribe("notes", "reader", inbox)
        await bus.start()
        assert [(one.message_id, one.attempt) for one in await inbox.holds(1)] == [(sent.message_id, 1)]
        assert await letters.list(None, 9) == []


async def test_a_bus_that_does_not_deliver_any_more_says_so(tmp_path: Path) -> None:
    async def break_off(_: Message) -> None:
        raise asyncio.CancelledError

    async with LocalPlace(str(tmp_path / "bus.db")).bus() as bus:
        bus.subscribe("notes", "reader", break_off)
        await bus.start()
        await bus.health()
        await bus.publish(note(1))
        unwell = await asyncio.wait_for(_illness(bus), PATIENCE_S)
        assert (unwell.code, unwell.status) == (Code.STORE_UNAVAILABLE, 503)
        assert "notes.reader" in unwell.detail


async def _illness(bus: Bus) -> MienError:
    while True:
        try:
            await bus.health()
        except MienError as unwell:
            return unwell
        await asyncio.sleep(0.01)


async def test_nothing_of_a_body_reaches_the_log(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    inbox = Inbox(failures=1)
    async with place.bus(attempts=2) as bus:
        bus.subscribe("notes", "reader", inbox)
        await bus.start()
        await bus.publish(Message("notes", "account", {"number": 1, "picture": b"a face"}))
        await inbox.holds(2)
    assert "retry" in caplog.text
    assert "a face" not in caplog.text


async def test_what_a_killed_consumer_had_in_hand_is_delivered_to_the_next(place: Place) -> None:
    async with place.bus() as bus:
        await bus.start()
        await bus.publish(note(1))
    kind = next(name for name, each in PLACES.items() if isinstance(place, each))
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, kind, place.address),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        assert (await child.stdout.readline()).strip() == b"1 in hand"
    child.send_signal(signal.SIGKILL)
    await child.communicate()
    inbox = Inbox()
    async with place.bus() as bus:
        bus.subscribe("notes", "reader", inbox)
        await bus.start()
        assert [one.body["number"] for one in await inbox.holds(1)] == [1]


async def _hold_for_ever(kind: str, address: str) -> None:
    async def hold(message: Message) -> None:
        print(message.body["number"], "in hand", flush=True)
        await asyncio.Event().wait()

    async with PLACES[kind](address).bus() as bus:
        bus.subscribe("notes", "reader", hold)
        await bus.start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_hold_for_ever(*sys.argv[1:]))
