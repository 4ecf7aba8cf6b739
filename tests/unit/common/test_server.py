"""The HTTP edge under bad weather: no room, no space, bodies that do not come."""

import asyncio
import errno
import io
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import orjson
import pytest
from pydantic import BaseModel, Field

from libs.common.errors import Code
from libs.common.http import server
from libs.common.http.routes import LARGE_BYTES, Call, Routes
from libs.common.http.server import LARGEST_AT_ONCE, Servers, build_app
from libs.common.storage.sqlite import Database
from libs.common.wire.base import pack

LARGEST = 1000

Work = Callable[[], Awaitable[object]]


async def healthy() -> dict[str, object]:
    return {}


class Edge:
    """A server with one route that reads the body, says that it came, and does ``work``."""

    def __init__(self) -> None:
        self.began = asyncio.Semaphore(0)
        self.came = asyncio.Semaphore(0)
        self.work: Work = healthy
        self.routes = Routes("edge", "/1")
        self.routes.post("/things")(self._post)

    async def _post(self, call: Call) -> dict[str, object]:
        self.began.release()
        await call.request.read()
        self.came.release()
        await self.work()
        return {}


@pytest.fixture
def edge() -> Edge:
    return Edge()


@pytest.fixture
async def port(edge: Edge) -> AsyncIterator[int]:
    servers = Servers()
    app = build_app("edge", [("/1", edge.routes)], healthy, max_body_bytes=LARGEST)
    yield await servers.start(app, "127.0.0.1", 0)
    await servers.stop()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def test_bodies_beyond_what_memory_is_for_are_turned_away_until_there_is_room(
    edge: Edge, port: int, session: aiohttp.ClientSession
) -> None:
    url, go_on = f"http://127.0.0.1:{port}/1/things", asyncio.Event()
    edge.work = go_on.wait
    held = [asyncio.create_task(session.post(url, data=b"x" * LARGEST)) for _ in range(LARGEST_AT_ONCE)]
    for _ in held:
        await edge.came.acquire()

    refused = await session.post(url, data=b"x")

    assert (refused.status, (await refused.json())["error_code"]) == (503, Code.OVERLOADED.number)
    assert refused.headers["Retry-After"] == "1"
    assert (await session.get(f"http://127.0.0.1:{port}/version")).status == 200
    go_on.set()
    assert [answer.status for answer in await asyncio.gather(*held)] == [200] * LARGEST_AT_ONCE
    assert (await session.post(url, data=b"x")).status == 200


async def test_a_body_that_does_not_come_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODY_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /1/things HTTP/1.1\r\nHost: edge\r\nContent-Length: 100\r\n\r\nhalf a bo")

    answer = await asyncio.wait_for(reader.readuntil(b"}"), 5)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"the body did not come within 0.05 s" in answer
    writer.close()


async def test_once_its_body_is_here_a_request_may_take_its_time(
    edge: Edge, port: int, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "BODY_S", 0.05)
    edge.work = lambda: asyncio.sleep(0.15)
    assert (await session.post(f"http://127.0.0.1:{port}/1/things", data=b"whole")).status == 200


async def test_a_head_that_does_not_come_is_hung_up_on(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_S", 0.05)
    servers = Servers()
    port = await servers.start(build_app("edge", [("/1", edge.routes)], healthy), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /vers")
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    await servers.stop()


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /version HTTP/1.1\r\nHost: edge\r\nLuna-Account-Id : s3cr3t\r\n\r\n",
        b"GET /version HTTP/1.1\r\nHost: edge\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
        b"POST /1/things HTTP/1.1\r\nHost: edge\r\nContent-Length: s3cr3t\r\n\r\n",
    ],
    ids=["tls", "space", "long", "length"],
)
async def test_what_is_no_http_is_refused_in_the_contracts_words(port: int, request_: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_)

    head, _, body = (await asyncio.wait_for(reader.read(), 5)).partition(b"\r\n\r\n")

    assert head.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
    assert b"Content-Type: application/json" in head
    assert b"Luna-Request-Id: " in head
    refusal = orjson.loads(body)
    assert (refusal["error_code"], set(refusal)) == (
        Code.BAD_HEADER.number,
        {"error_code", "desc", "detail", "link"},
    )
    assert "s3cr3t" not in refusal["detail"]
    writer.close()


async def test_a_caller_that_hangs_up_in_its_body_is_no_error_of_ours(
    edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    servers = Servers()
    port = await servers.start(build_app("edge", [("/1", edge.routes)], healthy), "127.0.0.1", 0)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /1/things HTTP/1.1\r\nHost: edge\r\nContent-Length: 100\r\n\r\nhalf a bo")
    await edge.began.acquire()
    writer.close()
    await servers.stop()
    assert "edge POST /1/things 400" in caplog.text
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_full_disk_is_said_and_is_no_end(
    edge: Edge, port: int, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    database = await Database(tmp_path / "things.db", "CREATE TABLE IF NOT EXISTS thing (data BLOB);").open()

    def write_with(pages: int) -> Work:
        def work(db: sqlite3.Connection) -> None:
            db.execute(f"PRAGMA max_page_count = {pages}")
            db.execute("INSERT INTO thing VALUES (zeroblob(100000))")

        return lambda: database.write(work)

    async def no_file() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    answers = []
    for edge.work in (write_with(1), no_file, write_with(1000)):
        answer = await session.post(f"http://127.0.0.1:{port}/1/things", data=b"x")
        answers.append((answer.status, (await answer.json()).get("error_code")))
    await database.close()

    assert answers == [(507, Code.STORAGE_FULL.number)] * 2 + [(200, None)]


async def test_a_server_that_stops_answers_what_has_come_whole_and_waits_for_nothing_else(
    edge: Edge, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SHUTDOWN_S", 0.05)
    servers, go_on = Servers(), asyncio.Event()
    port = await servers.start(build_app("edge", [("/1", edge.routes)], healthy), "127.0.0.1", 0)
    _, stuck = await asyncio.open_connection("127.0.0.1", port)
    stuck.write(b"POST /1/things HTTP/1.1\r\nHost: mien\r\nContent-Length: 9\r\n\r\nhalf")
    await edge.began.acquire()
    edge.work = go_on.wait
    slow = asyncio.create_task(session.post(f"http://127.0.0.1:{port}/1/things", data=b"x"))
    await edge.came.acquire()

    stopping = asyncio.create_task(servers.stop(drain_s=60))
    done, _ = await asyncio.wait([stopping], timeout=10 * server.SHUTDOWN_S)
    assert not done
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    go_on.set()
    assert (await slow).status == 200
    await asyncio.wait_for(stopping, 10)
    stuck.close()


async def test_a_request_that_does_not_end_holds_a_stop_up_no_longer_than_was_said(
    edge: Edge, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SHUTDOWN_S", 0.05)
    servers = Servers()
    port = await servers.start(build_app("edge", [("/1", edge.routes)], healthy), "127.0.0.1", 0)
    edge.work = asyncio.Event().wait
    endless = asyncio.create_task(session.post(f"http://127.0.0.1:{port}/1/things", data=b"x"))
    await edge.came.acquire()
    await asyncio.wait_for(servers.stop(drain_s=0.1), 10)
    with pytest.raises(aiohttp.ClientError):
        await endless


def _where() -> str:
    return threading.current_thread().name


class Named(BaseModel):
    name: str
    read_by: str = Field(default_factory=_where)


@pytest.mark.parametrize(("size", "is_beside"), [(10, False), (LARGE_BYTES, True)])
@pytest.mark.parametrize("kind", ["application/json", "application/msgpack"])
async def test_a_large_body_is_not_parsed_on_the_event_loop(
    session: aiohttp.ClientSession, size: int, is_beside: bool, kind: str
) -> None:
    routes = Routes("edge", "/1")

    @routes.post("/names")
    async def post(call: Call, body: Named) -> dict[str, object]:
        return {"size": len(body.name), "is_beside": body.read_by != _where()}

    servers = Servers()
    port = await servers.start(build_app("edge", [("/1", routes)], healthy), "127.0.0.1", 0)
    content = {"name": "x" * size}
    body = orjson.dumps(content) if kind == "application/json" else pack(content)
    url, headers = f"http://127.0.0.1:{port}/1/names", {"Content-Type": kind}
    async with session.post(url, data=io.BytesIO(body), headers=headers) as answer:
        assert await answer.json() == {"size": size, "is_beside": is_beside}
    async with session.post(url, data=io.BytesIO(body[:-1]), headers=headers) as answer:
        assert (answer.status, (await answer.json())["error_code"]) == (400, Code.BAD_JSON.number)
    await servers.stop()
