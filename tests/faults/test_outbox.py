"""kill -9 of processes of the events service while events are saved with their notices, over RabbitMQ and MongoDB."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import aiohttp
import pytest

from deploy.local.child import Child, free_port
from libs.common import ports
from libs.common.bus.port import Bus, Message
from libs.common.bus.rabbit import RabbitBus
from libs.common.bus.topics import EVENTS_NOTIFY, EVENTS_SAVE
from libs.common.errors import MienError
from libs.common.http.peers import Peers
from libs.common.ids import new_id
from libs.common.rpc import remote
from libs.common.storage import mongo
from libs.common.wire.events import Event, EventFilter
from libs.common.wire.notices import Notice, Save
from services.events.store_mongo import COLLECTIONS
from tests.contract.event_stores import descriptor, event
from tests.running import ROOT

ACCOUNT = new_id()
BATCHES_BETWEEN_KILLS = 15


@dataclass
class World:
    """Two processes of the service, and ``told``, the notices that came out: the events each is about, by its id."""

    processes: list[Child]
    events: ports.Events
    bus: Bus
    told: dict[str, list[str]] = field(default_factory=dict)


@pytest.fixture
def processes(rabbit_url: str, mongo_url: str, tmp_path: Path) -> Iterator[list[Child]]:
    """Not started."""
    children = [_process(number, rabbit_url, mongo_url, tmp_path) for number in range(2)]
    yield children
    for child in children:
        child.kill()


def _process(number: int, rabbit_url: str, mongo_url: str, folder: Path) -> Child:
    environment = {"MIEN_BUS_URL": rabbit_url, "MIEN_MONGO_URL": mongo_url, "MIEN_EVENTS_PORT": str(free_port())}
    command = [sys.executable, "-m", "mien", "serve", "events"]
    child = Child(f"events-{number}", command, log=folder / f"{number}.log", environment=environment, folder=ROOT)
    child.url = f"http://127.0.0.1:{environment['MIEN_EVENTS_PORT']}"  # type: ignore[attr-defined]
    return child


@pytest.fixture
async def world(processes: list[Child], rabbit_url: str, mongo_url: str) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        client = mongo.connect(mongo_url)
        stack.push_async_callback(client.close)
        await mongo.migrate(client.get_default_database(), COLLECTIONS)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        urls: list[str] = [process.url for process in processes]  # type: ignore[attr-defined]
        bus = RabbitBus(rabbit_url)
        world = World(processes, remote(ports.Events, Peers(urls), session), bus)

        async def hear(message: Message) -> None:
            world.told[message.message_id] = message.body["event_ids"]

        bus.subscribe(EVENTS_NOTIFY, "sender", hear)
        stack.push_async_callback(bus.stop)
        await bus.start()
        for process in processes:
            process.start()
        for url in urls:
            await _until_ready(session, url)
        yield world


async def _until_ready(session: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                async with session.get(f"{url}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


def batch() -> tuple[list[Event], Notice]:
    events = [event(ACCOUNT, face_descriptor=descriptor()), event(ACCOUNT), event(ACCOUNT)]
    body = {"event_ids": [one.event_id for one in events]}
    return events, Notice(notice_id=new_id(), topic=EVENTS_NOTIFY, body=body)


async def test_what_was_acknowledged_is_there_once_and_told_of_whichever_process_dies(world: World) -> None:
    acknowledged: dict[str, list[str]] = {}
    done = asyncio.Event()

    async def saver(number: int) -> None:
        """Every second batch by way of the bus."""
        for turn in count(number):
            if done.is_set():
                return
            events, notice = batch()
            try:
                if turn % 2:
                    await world.events.save(ACCOUNT, events, [notice])
                else:
                    body = Save(events=events, notices=[notice]).model_dump()
                    await world.bus.publish(Message(EVENTS_SAVE, ACCOUNT, body))
            except MienError:
                continue
            acknowledged[notice.notice_id] = notice.body["event_ids"]

    savers = [asyncio.create_task(saver(number)) for number in range(4)]
    for number in range(4):
        enough = (number + 1) * BATCHES_BETWEEN_KILLS
        await _until(lambda enough=enough: len(acknowledged) >= enough)
        victim = world.processes[number % 2]
        victim.kill()
        victim.start()
    done.set()
    await asyncio.gather(*savers)

    await _until(lambda: acknowledged.keys() <= world.told.keys())
    stored = await world.events.select(ACCOUNT, EventFilter())
    assert len(stored) == len(set(stored))
    assert {event_id for about in acknowledged.values() for event_id in about} <= set(stored)
    assert {event_id for about in world.told.values() for event_id in about} <= set(stored)


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not is_so():  # noqa: ASYNC110 (nobody sets an event here)
            await asyncio.sleep(0.05)
