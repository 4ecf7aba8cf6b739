"""From the outbox onto the bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from libs.common import clock
from libs.common.bus.port import Consumer, Message
from libs.common.bus.topics import CALLBACKS, EVENTS_NOTIFY
from libs.common.errors import Code, MienError
from libs.common.ids import new_id
from libs.common.wire.notices import Notice
from services.events.ports import LEASE_S, Owed
from services.events.relay import PAGE, Relay
from services.events.service import Events
from tests.contract.event_stores import NOON, NoQueue, Opened, event, sqlite_store

ACCOUNT = new_id()


@dataclass
class Bus:
    """Remembers what was published; refuses the topics in ``full``."""

    full: set[str] = field(default_factory=set)
    published: list[Message] = field(default_factory=list)

    async def publish(self, message: Message) -> None:
        if message.topic in self.full:
            raise MienError(Code.OVERLOADED, f"{message.topic} is full", retry_after_s=1)
        self.published.append(message)

    def subscribe(self, topic: str, subscriber: str, consume: Consumer, at_once: int = 1) -> None: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def health(self) -> dict[str, object]:
        return {}

    def ids(self, topic: str) -> list[str]:
        return [message.message_id for message in self.published if message.topic == topic]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Opened]:
    async with sqlite_store(tmp_path) as opened:
        yield opened


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
async def relay(opened: Opened, bus: Bus) -> AsyncIterator[Relay]:
    relay = Relay(opened.outbox, bus)
    yield relay
    await relay.stop()


def notice(topic: str = EVENTS_NOTIFY) -> Notice:
    return Notice(notice_id=new_id(), topic=topic, body={"events": []})


async def left_behind(opened: Opened, *notices: Notice, saved_ms: int = 0) -> Owed:
    """What a process saved that died before it could publish it."""
    saved = event(ACCOUNT)
    owed = Owed(saved.event_id, ACCOUNT, list(notices), saved_ms, request_id="r-1")
    await opened.store.add(ACCOUNT, [saved], NOON, owed)
    return owed


def after_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ms = clock.now_ms() + int(LEASE_S * 1000)
    monkeypatch.setattr(clock, "now_ms", lambda: now_ms)


async def test_what_a_process_saved_it_publishes_at_once_and_forgets(opened: Opened, bus: Bus, relay: Relay) -> None:
    events, saved, told = Events(opened.store, NoQueue(), relay.hand), event(ACCOUNT), notice()
    await relay.start()
    for _ in range(2):
        await events.save(ACCOUNT, [saved], [told])
    async with asyncio.timeout(10):
        while (await opened.outbox.backlog()).size:
            pass
    [message] = bus.published
    assert (message.message_id, message.topic, message.account, message.body) == (
        told.notice_id,
        told.topic,
        ACCOUNT,
        told.body,
    )


async def test_what_another_process_left_behind_is_published_once_its_lease_is_over(
    opened: Opened, bus: Bus, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [notice() for _ in range(PAGE + 5)]
    await asyncio.gather(*(left_behind(opened, one, saved_ms=number) for number, one in enumerate(told)))
    await relay.sweep()
    assert bus.published == []
    after_the_lease(monkeypatch)
    await relay.sweep()
    assert bus.ids(EVENTS_NOTIFY) == [one.notice_id for one in told]
    assert {message.request_id for message in bus.published} == {"r-1"}
    assert (await opened.outbox.backlog()).size == 0


async def test_a_full_queue_holds_up_its_own_notices_only(
    opened: Opened, bus: Bus, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, called = notice(), notice(CALLBACKS)
    await left_behind(opened, told, called)
    bus.full = {CALLBACKS}
    for _ in range(3):
        after_the_lease(monkeypatch)
        await relay.sweep()
    assert (bus.ids(EVENTS_NOTIFY), bus.ids(CALLBACKS)) == ([told.notice_id], [])
    bus.full = set()
    after_the_lease(monkeypatch)
    await relay.sweep()
    assert (bus.ids(EVENTS_NOTIFY), bus.ids(CALLBACKS)) == ([told.notice_id], [called.notice_id])
    assert (await opened.outbox.backlog()).size == 0


async def test_the_backlog_and_its_age_are_shown(opened: Opened, bus: Bus, relay: Relay) -> None:
    await left_behind(opened, notice(), saved_ms=clock.now_ms() - 60_000)
    await relay.sweep()
    assert REGISTRY.get_sample_value("mien_outbox_size") == 1
    age_s = REGISTRY.get_sample_value("mien_outbox_age_seconds")
    assert age_s is not None
    assert 60 <= age_s < 120
