"""Equal processes behind a door, of which one is gone, frozen or dies: what callers are told, and who is asked next."""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol

import aiohttp
import pytest
from aiohttp import web

from libs.common.http.peers import Peers
from libs.common.http.routes import Call, Routes
from libs.common.http.server import Servers, build_app
from libs.common.ids import new_id
from libs.common.rpc import expose, remote
from services.gateway import app as gateway
from services.gateway.upstream import outside

ACCOUNT = {"Luna-Account-Id": new_id()}
PATIENCE_S = 30


class Things(Protocol):
    async def name(self) -> str: ...


class Named:
    """Satisfies Things."""

    async def name(self) -> str:
        return "one"


async def healthy() -> dict[str, object]:
    return {}


def things(lengths: list[int | None]) -> Routes:
    """A service; ``lengths`` collects what the bodies that come say of their length."""
    routes = Routes("things", "/1")

    @routes.get("/things")
    async def find(call: Call) -> dict[str, str]:
        return {"name": "one"}

    @routes.post("/things")
    async def add(call: Call) -> dict[str, int]:
        lengths.append(call.request.content_length)
        return {"bytes": len(await call.request.read())}

    return routes


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    opened = Servers()
    yield opened
    await opened.stop()


@asynccontextmanager
async def dying() -> AsyncIterator[str]:
    """A process that takes a request and ends before it has answered."""

    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async with await asyncio.start_server(end, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@contextmanager
def gone() -> Iterator[str]:
    """A machine that answers nothing, not even that it takes no connection."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        with socket.create_connection(deaf.getsockname()):  # its queue is full: the next ones are passed over
            yield f"http://127.0.0.1:{deaf.getsockname()[1]}"


@contextmanager
def frozen() -> Iterator[str]:
    """A process that was stopped: its machine still takes connections for it."""
    with socket.socket() as stopped:
        stopped.bind(("127.0.0.1", 0))
        stopped.listen(64)
        yield f"http://127.0.0.1:{stopped.getsockname()[1]}"


class Thaws:
    """A process that answers nothing until it goes on."""

    def __init__(self) -> None:
        self.goes_on = asyncio.Event()
        self.asked: list[str] = []

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.split()[1].decode())
        await self.goes_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}")
        writer.close()


async def door(servers: Servers, session: aiohttp.ClientSession, routes: Routes, addresses: list[str]) -> str:
    table = outside(routes, Peers(addresses), session)
    return f"http://127.0.0.1:{await servers.start(gateway.build({'things': table}, healthy, 1000), '127.0.0.1', 0)}/6"


async def served(servers: Servers, routes: Routes) -> str:
    app = build_app("things", [("/1", routes), ("", expose(Things, Named()))], healthy)
    return f"http://127.0.0.1:{await servers.start(app, '127.0.0.1', 0)}"


async def test_what_may_have_been_done_is_neither_repeated_nor_said_to_be_worth_it(
    servers: Servers, session: aiohttp.ClientSession
) -> None:
    lengths: list[int | None] = []
    routes = things(lengths)
    well = await served(servers, routes)
    async with dying() as ending:
        url = await door(servers, session, routes, [ending, well])
        async with session.post(f"{url}/things", data=b"one", headers=ACCOUNT) as answer:
            assert (answer.status, (await answer.json())["error_code"]) == (502, 11)
            assert "Retry-After" not in answer.headers
        assert lengths == []


async def test_what_only_reads_is_asked_of_the_next(servers: Servers, session: aiohttp.ClientSession) -> None:
    routes = things([])
    well = await served(servers, routes)
    async with dying() as ending:
        url = await door(servers, session, routes, [ending, well])
        async with session.get(f"{url}/things", headers=ACCOUNT) as answer:
            assert (answer.status, await answer.json()) == (200, {"name": "one"})


async def test_a_machine_that_is_gone_costs_its_callers_a_moment(
    servers: Servers, session: aiohttp.ClientSession
) -> None:
    lengths: list[int | None] = []
    routes = things(lengths)
    well = await served(servers, routes)
    with gone() as silent:
        async with asyncio.timeout(PATIENCE_S):
            assert await remote(Things, Peers([silent, well]), session).name() == "one"
            url = await door(servers, session, routes, [silent, well])
            async with session.post(f"{url}/things", data=b"one", headers=ACCOUNT) as answer:
                assert (answer.status, await answer.json()) == (200, {"bytes": 3}), "nothing had been sent"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits asks after a moment whether the process lives."""
    monkeypatch.setattr("libs.common.http.peers.DOUBT_S", 0.1)
    monkeypatch.setattr("libs.common.http.peers.LIVES_S", 0.5)


@pytest.mark.usefixtures("impatient")
async def test_calls_that_may_be_made_twice_are_taken_from_a_frozen_process(
    servers: Servers, session: aiohttp.ClientSession
) -> None:
    routes = things([])
    well = await served(servers, routes)
    with frozen() as stopped:
        async with asyncio.timeout(PATIENCE_S):
            assert await remote(Things, Peers([stopped, well]), session).name() == "one"
            url = await door(servers, session, routes, [stopped, well])
            async with session.get(f"{url}/things", headers=ACCOUNT) as answer:
                assert (answer.status, await answer.json()) == (200, {"name": "one"})


@pytest.mark.usefixtures("impatient")
async def test_a_frozen_process_is_asked_last_until_it_goes_on_and_keeps_what_may_not_be_done_twice(
    servers: Servers, session: aiohttp.ClientSession
) -> None:
    lengths: list[int | None] = []
    routes = things(lengths)
    thaws = Thaws()
    async with await asyncio.start_server(thaws.take, "127.0.0.1", 0) as server:
        stopped = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        peers = Peers([stopped, await served(servers, routes)])
        table = outside(routes, peers, session)
        app = gateway.build({"things": table}, healthy, 1000)
        url = f"http://127.0.0.1:{await servers.start(app, '127.0.0.1', 0)}/6/things"

        def asked_first() -> list[str]:
            return [peers.in_turn()[0] for _ in range(2)]

        async def post() -> Any:
            async with session.post(url, data=b"one", headers=ACCOUNT) as answer:
                return await answer.json()

        async with asyncio.timeout(PATIENCE_S):
            first = asyncio.gather(post(), post())  # one each
            while stopped in asked_first():  # noqa: ASYNC110 (nobody sets an event here)
                await asyncio.sleep(0.05)
            assert [await post() for _ in range(4)] == [{"bytes": 3}] * 4
            assert (first.done(), thaws.asked.count("/1/things")) == (False, 1)
            thaws.goes_on.set()
            assert await first in ([{}, {"bytes": 3}], [{"bytes": 3}, {}])
            while stopped not in asked_first():  # noqa: ASYNC110 (nobody sets an event here)
                await asyncio.sleep(0.05)


@pytest.mark.usefixtures("impatient")
async def test_a_subscriber_of_a_frozen_process_is_told_to_resume_and_gets_the_other_one(
    servers: Servers, session: aiohttp.ClientSession
) -> None:
    thawed, opened = asyncio.Event(), list[int]()

    async def sender(number: int) -> str:
        async def stay(request: web.Request) -> web.WebSocketResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            opened.append(number)
            await socket.send_str("{}")
            async for _ in socket:
                pass
            return socket

        async def live(request: web.Request) -> web.Response:
            if opened[0] == number:
                await thawed.wait()
            return web.Response()

        app = web.Application()
        app.router.add_get("/1/ws", stay)
        app.router.add_get("/livez", live)
        return f"http://127.0.0.1:{await servers.start(app, '127.0.0.1', 0)}"

    routes = Routes("sender", "/1")

    @routes.get("/ws", status=101, socket=True)
    async def subscribe(call: Call) -> None:
        """Only declared: the processes above serve it."""

    url = await door(servers, session, routes, [await sender(0), await sender(1)])
    async with asyncio.timeout(PATIENCE_S):
        async with session.ws_connect(f"{url}/ws", headers=ACCOUNT) as socket:
            assert await socket.receive_str() == "{}"
            ending = await socket.receive()
            assert (ending.type, ending.data) == (aiohttp.WSMsgType.CLOSE, 1012)
        for _ in range(2):
            async with session.ws_connect(f"{url}/ws", headers=ACCOUNT) as socket:
                assert await socket.receive_str() == "{}"
    thawed.set()
    assert opened == [opened[0], 1 - opened[0], 1 - opened[0]]


@pytest.mark.usefixtures("impatient")
async def test_a_slow_answer_of_a_process_that_lives_is_waited_for(
    servers: Servers, session: aiohttp.ClientSession
) -> None:
    asked: list[str] = []

    class Slow:
        async def name(self) -> str:
            asked.append("slow")
            await asyncio.sleep(0.5)
            return "slow"

    app = build_app("things", [("", expose(Things, Slow()))], healthy)
    slow = f"http://127.0.0.1:{await servers.start(app, '127.0.0.1', 0)}"
    assert await remote(Things, Peers([slow, slow]), session).name() == "slow"
    assert asked == ["slow"]


async def test_the_length_of_a_body_goes_along(servers: Servers, session: aiohttp.ClientSession) -> None:
    """Without it the service would take room for a large one, and turn away others."""
    lengths: list[int | None] = []
    routes = things(lengths)
    url = await door(servers, session, routes, [await served(servers, routes)])
    packed = {"Content-Encoding": "deflate", **ACCOUNT}
    for data, headers in ((b"x" * 700, ACCOUNT), (zlib.compress(b"x" * 700), packed)):
        async with session.post(f"{url}/things", data=data, headers=headers) as answer:
            assert await answer.json() == {"bytes": 700}
    assert lengths == [700, None]


async def test_a_body_that_cannot_be_read_is_the_callers_fault(
    servers: Servers, session: aiohttp.ClientSession
) -> None:
    routes = things([])
    url = await door(servers, session, routes, [await served(servers, routes)])
    packed = {"Content-Encoding": "deflate", **ACCOUNT}
    async with session.post(f"{url}/things", data=b"x" * 700, headers=packed) as answer:
        assert (answer.status, (await answer.json())["error_code"]) == (400, 12022)
