"""Logs: lines that machines read, with the request in them and nothing of what users sent."""

import asyncio
import io
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest

from libs.common import observability
from libs.common.http.routes import Call, Routes
from libs.common.http.server import Servers, build_app
from libs.common.ids import new_id, new_request_id

SECRET = "Tr0ub4dor"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the process writes to standard error, as `mien serve events` configures it."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    observability.configure("events", "INFO")
    yield stream
    root.setLevel(before[0])
    root.handlers[:] = before[1]


@pytest.fixture
async def port() -> AsyncIterator[int]:
    routes = Routes("edge", "/1")

    @routes.post("/things")
    async def things(call: Call) -> dict[str, Any]:
        logging.getLogger("mien.test").info("in the work")
        await call.request.read()
        raise RuntimeError("an accident")

    async def healthy() -> dict[str, Any]:
        return {}

    servers = Servers()
    yield await servers.start(build_app("mien-events", [("/1", routes)], healthy), "127.0.0.1", 0)
    await servers.stop()


async def test_every_line_of_a_request_names_the_request_and_its_account(lines: io.StringIO, port: int) -> None:
    account, request_id = new_id(), new_request_id()
    headers = {"Luna-Account-Id": account, "Luna-Request-Id": request_id}
    async with aiohttp.ClientSession() as session:
        await session.post(f"http://127.0.0.1:{port}/1/things", data=SECRET.encode(), headers=headers)

    written = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [(line["logger"], line["level"]) for line in written] == [
        ("mien.test", "info"),
        ("mien.http", "error"),
        ("mien.http", "error"),
    ]
    assert {(line["service"], line["request_id"], line["account"]) for line in written} == {
        ("events", request_id, account)
    }
    assert "RuntimeError: an accident" in written[1]["error"]
    assert SECRET not in lines.getvalue()


@pytest.mark.parametrize(
    "sent",
    [
        f"POST /1/things HTTP/1.1\r\nHost: a\r\nX-Key\x00{SECRET}: 1\r\n\r\n",
        f"\xff\xd8\xff\xe0{SECRET}\r\n\r\n",
        f"GET /{SECRET} HTTP/9.z\r\n\r\n",
        f"POST /1/things HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{SECRET}\r\n",
    ],
    ids=["header", "picture", "version", "chunk"],
)
async def test_what_is_no_http_is_one_line_without_what_was_sent(lines: io.StringIO, port: int, sent: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent.encode("latin-1"))
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert answer.split()[1] == b"400"
    assert SECRET not in lines.getvalue()
    for line in lines.getvalue().splitlines():
        assert "error" not in json.loads(line)


def test_lines_for_people_name_the_request_too() -> None:
    record = logging.LogRecord("mien.test", logging.WARNING, __file__, 1, "three of %d", (4,), None)
    with observability.request("1,a"):
        line = observability.TextLines().format(record)
    assert line.endswith("Z WARNING mien.test: three of 4 [1,a]")


async def test_a_blocked_event_loop_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observability, "PULSE_S", 0.01)
    before = _pulses("+Inf") - _pulses("0.1")
    pulse = asyncio.create_task(observability.feel_pulse())
    await asyncio.sleep(0)  # it has begun to wait
    _block(0.3)
    async with asyncio.timeout(5):
        while _pulses("+Inf") - _pulses("0.1") == before:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)
    pulse.cancel()


def _block(seconds: float) -> None:
    time.sleep(seconds)


def _pulses(at_most: str) -> float:
    """How often the loop was late by at most so many seconds."""
    [histogram] = observability.LAG.collect()
    return next(sample.value for sample in histogram.samples if sample.labels.get("le") == at_most)
