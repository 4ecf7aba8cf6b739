"""What scaling out costs and gives: ``python -m bench.scaled [rounds]``.

One run on this machine, with the servers of ``deploy.local``. From emitter to acknowledged, one process beside the
scaled-out suite, with inference and without; the same call to one inference worker over HTTP and over RabbitMQ, in
turn; and the rate of one worker against that of two, in turn. Every worker has one compute thread.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.table import Table

from bench.times import p99
from deploy.local.child import Child, free_port
from deploy.local.suite import READY_S, Process, ScaledSuite, copies_of_each
from libs.client import MienClient
from libs.common import ports
from libs.common.bus.work import WorkCalls, remote_work
from libs.common.http.peers import Peers
from libs.common.ids import new_id
from libs.common.rpc import remote
from libs.common.wire.sdk import Image, SdkParams
from tests import photos
from tests.running import RunningSuite

CALLERS = 4
RAW_CALLERS = 16
RAW_EVENTS = 1000
WARM = 5
Call = Callable[[], Awaitable[object]]


async def main(rounds: int) -> None:
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        embedded = RunningSuite(Path(folder) / "data", MIEN_SDK_WORKERS="1")
        scaled = ScaledSuite(Path(folder) / "scaled", copies=copies_of_each(1))
        scaled.environment["MIEN_SDK_WORKERS"] = "1"
        try:
            await asyncio.to_thread(embedded.start)
            await asyncio.to_thread(scaled.start)
            console.print(await _to_acknowledged({"one process": embedded.url, "scaled out": scaled.url}, rounds))
            await asyncio.to_thread(embedded.stop)
            console.print(await _bus(scaled, rounds * 5))
            console.print(await _workers(scaled, rounds))
        finally:
            await asyncio.to_thread(scaled.stop)
            if embedded.is_running():
                embedded.stop()


async def _to_acknowledged(urls: dict[str, str], rounds: int) -> Table:
    """One caller with photos, in turn on both; then many callers with events that are ready."""
    table = Table("", "ms p50", "ms p99", "events/s", title="From emitter to acknowledged")
    times: dict[str, list[float]] = defaultdict(list)
    async with _clients(urls) as clients:
        handlers = {name: await client.handlers.create(_policies()) for name, client in clients.items()}
        picture = photos.astronaut_jpeg()
        for number in range(WARM + rounds):
            for name, client in clients.items():
                spent = await _timed(lambda client=client, name=name: client.handlers.emit(handlers[name], picture))
                if number >= WARM:
                    times[name].append(spent)
        for name, values in times.items():
            table.add_row(f"photo, 1 caller, {name}", *_figures(values), f"{1000 / statistics.mean(values):.1f}")
        for name, client in clients.items():
            spent_s, values = await _together(
                lambda client=client: client.handlers.save_event(new_id(), {"source": "gate-1"}),
                RAW_EVENTS,
                RAW_CALLERS,
            )
            table.add_row(f"raw event, {RAW_CALLERS} callers, {name}", *_figures(values), f"{RAW_EVENTS / spent_s:.0f}")
    return table


async def _bus(suite: ScaledSuite, rounds: int) -> Table:
    """What RabbitMQ adds to a call of one worker that computes next to nothing."""
    calls = WorkCalls(suite.rabbit.url)
    await calls.start()
    try:
        async with aiohttp.ClientSession() as session:
            over_http = remote(ports.Sdk, Peers([suite.of("remote_sdk")[0].url]), session)  # type: ignore[type-abstract]
            over_bus = remote_work(ports.Sdk, calls)  # type: ignore[type-abstract]
            images = [Image(filename="warp.jpg", data=photos.astronaut_jpeg())]
            params = SdkParams(detect_face=0)
            times: dict[str, list[float]] = defaultdict(list)
            for number in range(WARM + rounds):
                for name, port in (("over HTTP", over_http), ("over RabbitMQ", over_bus)):
                    spent = await _timed(lambda port=port: port.estimate(images, params))
                    if number >= WARM:
                        times[name].append(spent)
    finally:
        await calls.stop()
    table = Table("", "ms p50", "ms p99", title="One call to one worker: a picture is decoded and nothing is sought")
    for name, values in times.items():
        table.add_row(name, *_figures(values))
    added = statistics.median(times["over RabbitMQ"]) - statistics.median(times["over HTTP"])
    table.add_row("the bus adds (bar: 3 ms)", f"{added:.1f}", "")
    return table


async def _workers(suite: ScaledSuite, rounds: int) -> Table:
    """Photos a second with one worker and with two, three times in turn: only looked at, and made into events."""
    rates: dict[tuple[str, int], list[float]] = defaultdict(list)
    async with _clients({"scaled": suite.url}) as clients:
        client = clients["scaled"]
        handler_id = await client.handlers.create(_policies())
        picture = photos.astronaut_jpeg()
        calls: dict[str, Call] = {
            "answers of /sdk": lambda: client.sdk(picture, estimate_face_descriptor=1),
            "events": lambda: client.handlers.emit(handler_id, picture),
        }
        for _ in range(3):
            for count in (1, 2):
                async with _more_workers(suite, count - 1):
                    for name, call in calls.items():
                        await _together(call, WARM * count, CALLERS)
                        spent_s, _ = await _together(call, rounds * count, CALLERS)
                        rates[name, count].append(rounds * count / spent_s)
    table = Table("", "1 worker, /s", "2 workers, /s", "ratio (bar: 1.8)", title=f"{CALLERS} callers with photos")
    for name in calls:
        one, two = (statistics.median(rates[name, count]) for count in (1, 2))
        table.add_row(name, f"{one:.2f}", f"{two:.2f}", f"{two / one:.2f}")
    return table


@asynccontextmanager
async def _more_workers(suite: ScaledSuite, count: int) -> AsyncIterator[None]:
    extra = [_worker(suite) for _ in range(count)]
    try:
        for process in extra:
            process.child.start()
        for process in extra:
            await asyncio.to_thread(process.child.wait_until, process.is_ready, READY_S)
        yield
    finally:
        for process in extra:
            await asyncio.to_thread(process.child.stop)


def _worker(suite: ScaledSuite) -> Process:
    port = free_port()
    command = [sys.executable, "-m", "mien", "serve", "remote_sdk"]
    environment = {**suite.environment, "MIEN_REMOTE_SDK_PORT": str(port)}
    child = Child("more", command, log=suite.folder / "more.log", environment=environment)
    return Process("remote_sdk", f"http://127.0.0.1:{port}", child)


@asynccontextmanager
async def _clients(urls: dict[str, str]) -> AsyncIterator[dict[str, MienClient]]:
    clients = {name: MienClient(url, account=new_id()) for name, url in urls.items()}
    try:
        yield clients
    finally:
        for client in clients.values():
            await client.close()


def _policies() -> dict[str, object]:
    return {"extract_policy": {"extract_face_descriptor": 1}}


async def _timed(call: Call) -> float:
    started = time.perf_counter()
    await call()
    return (time.perf_counter() - started) * 1000


async def _together(call: Call, count: int, callers: int) -> tuple[float, list[float]]:
    """``count`` calls by ``callers`` at once: seconds for all, milliseconds of each."""
    times: list[float] = []
    left = iter(range(count))

    async def caller() -> None:
        for _ in left:
            times.append(await _timed(call))  # noqa: PERF401  callers share the list

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return time.perf_counter() - started, times


def _figures(values: list[float]) -> tuple[str, str]:
    return f"{statistics.median(values):.1f}", f"{p99(values):.1f}"


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 40))
