"""kill -9 of the senders behind subscribers and receivers: everything is told, in order, by the same ids."""

from __future__ import annotations

import asyncio
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from aiohttp import web

from deploy.local.child import Child, free_port
from libs.client import MienClient
from libs.common.bus.rabbit import RabbitBus
from libs.common.http.server import Servers
from libs.common.ids import Id, new_id
from libs.common.sealing import Fernet
from libs.common.storage import mongo
from services.sender.deliveries_mongo import COLLECTIONS
from tests.running import ROOT
from tests.senders import calling, telling, told

EVENTS = 120
PATIENCE_S = 90


class Scaled:
    """Two senders and a gateway, each a process over the same servers."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        ports = [free_port() for _ in range(3)]
        environment["MIEN_SENDER_URLS"] = ",".join(f"http://127.0.0.1:{port}" for port in ports[:2])
        self.senders = [
            self._child(folder, f"sender-{port}", "sender", {**environment, "MIEN_SENDER_PORT": str(port)})
            for port in ports[:2]
        ]
        self.gateway = self._child(folder, "gateway", "gateway", {**environment, "MIEN_GATEWAY_PORT": str(ports[2])})
        self.url = f"http://127.0.0.1:{ports[2]}"
        self._doors = [f"http://127.0.0.1:{port}" for port in ports]

    def _child(self, folder: Path, name: str, service: str, environment: dict[str, str]) -> Child:
        command = [sys.executable, "-m", "mien", "serve", service]
        return Child(name, command, log=folder / f"{name}.log", environment=environment, folder=ROOT)

    @property
    def children(self) -> list[Child]:
        return [*self.senders, self.gateway]

    async def begin(self) -> None:
        for child in self.children:
            child.start()
        await asyncio.gather(*(self.serves(number) for number in range(3)))

    async def serves(self, number: int) -> None:
        """Until a sender is ready (0, 1), or the gateway lives (2), which misses the other services."""
        url = self._doors[number] + ("/livez" if number == 2 else "/readyz")
        async with asyncio.timeout(PATIENCE_S):
            while not await asyncio.to_thread(_answers, url):  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture
async def scaled(rabbit_url: str, redis_url: str, mongo_url: str, tmp_path: Path) -> AsyncIterator[Scaled]:
    async with mongo.connect(mongo_url) as client:
        await mongo.migrate(client.get_default_database(), COLLECTIONS)
    scaled = Scaled(
        tmp_path,
        {
            "MIEN_BUS_URL": rabbit_url,
            "MIEN_REDIS_URL": redis_url,
            "MIEN_MONGO_URL": mongo_url,
            "MIEN_SECRET_KEY": Fernet.generate_key().decode(),
            "MIEN_DATA_DIR": str(tmp_path / "data"),
            "MIEN_FETCH_ALLOW_URLS": "1",
            "MIEN_FETCH_ALLOW_NETWORKS": "127.0.0.0/8",
            "MIEN_SENDER_CALLBACK_WAIT_S": "0.1",
            "MIEN_SENDER_CALLBACK_LONGEST_WAIT_S": "1",
        },
    )
    try:
        await scaled.begin()
        yield scaled
    finally:
        for child in scaled.children:
            child.kill()


class Receiver:
    """Takes callbacks, and remembers the order in which it saw each event first."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: dict[Id, str] = {}

    async def take(self, request: web.Request) -> web.Response:
        for event in (await request.json())["events"]:
            message_id = self.seen.setdefault(event["event_id"], request.headers["webhook-id"])
            assert message_id == request.headers["webhook-id"]
        return web.Response(status=204)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver, servers, app = Receiver(), Servers(), web.Application()
    app.router.add_post("/hook", receiver.take)
    receiver.url = f"http://127.0.0.1:{await servers.start(app, '127.0.0.1', 0)}/hook"
    yield receiver
    await servers.stop()


async def test_killed_senders_cost_nobody_an_event(scaled: Scaled, receiver: Receiver, rabbit_url: str) -> None:
    account, emitted, seen = new_id(), [new_id() for _ in range(EVENTS)], list[Id]()
    bus = RabbitBus(rabbit_url)
    await bus.start()

    async def follow(begun: asyncio.Event) -> None:
        async with (
            MienClient(scaled.url, account=account) as client,
            aclosing(client.subscribe(sources=["gate-1"])) as notices,
        ):
            async for notice in notices:
                begun.set()
                seen.append(notice.event.event_id)
                if set(emitted) <= set(seen):
                    return

    async def emit() -> None:
        for number, event_id in enumerate(emitted):
            event = told(event_id, source="gate-1")
            callback = {"type": "http", "url": receiver.url}
            await bus.publish(telling(account, event))
            await bus.publish(calling(account, callback, event, emitted_ms=number))
            await asyncio.sleep(0.05)

    async def kill() -> None:
        for number in (0, 1, 0):
            await asyncio.sleep(1.0)
            scaled.senders[number].kill()
            scaled.senders[number].start()
            await scaled.serves(number)

    try:
        begun = asyncio.Event()
        following = asyncio.create_task(follow(begun))
        first = await _first(bus, account, begun)
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(emit(), kill())
            await following
            while len(receiver.seen) < EVENTS:  # noqa: ASYNC110 (the receiver is somebody else's)
                await asyncio.sleep(0.1)
    finally:
        await bus.stop()
    assert len(seen) == len(set(seen)), "told twice"
    assert set(seen) - first == set(emitted)
    assert list(receiver.seen) == emitted


async def _first(bus: RabbitBus, account: Id, begun: asyncio.Event) -> set[Id]:
    """Tell of events until the subscriber is there to hear one; the ids of all."""
    told_of: set[Id] = set()
    async with asyncio.timeout(PATIENCE_S):
        while not begun.is_set():
            told_of.add(event_id := new_id())
            await bus.publish(telling(account, told(event_id, source="gate-1")))
            await asyncio.sleep(0.5)
    return told_of
