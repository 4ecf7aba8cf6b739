"""What RabbitMQ costs: ``python -m bench.bus [rounds]``. Starts a private broker, and a private S3 for claims.

Publishing is with confirms, each message on the broker's disk when its publisher goes on. Work is one call after the
other of a method that gives back what it got, so a call crosses twice; caller and worker share one process. The ways
of carrying a size take turns, so that a noisy machine troubles all alike.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from obstore.store import LocalStore, S3Store
from rich.console import Console
from rich.table import Table

from bench.times import p99
from deploy.local.rabbit import Rabbit
from deploy.local.s3 import KEY, REGION, S3, SECRET, Ceph, Moto
from deploy.local.server import NotInstalled
from libs.common.bus.claims import Claims, ObjectClaims
from libs.common.bus.port import Message
from libs.common.bus.rabbit import RabbitBus
from libs.common.bus.topics import Topic
from libs.common.bus.work import WorkCalls, WorkServer, remote_work

TOPICS = {"notes": Topic("notes", subscribers=("reader",))}
PUBLISHERS = (1, 32, 256)
SIZES = {"1 KB": 1_000, "16 KB": 16_000, "64 KB": 64_000, "100 KB": 100_000, "256 KB": 256_000, "1 MB": 1_000_000}
WARM = 5


class Echo(Protocol):
    async def echo(self, content: bytes) -> bytes: ...


class Parrot:
    async def echo(self, content: bytes) -> bytes:
        return content


async def main(rounds: int) -> None:
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        rabbit = Rabbit(Path(folder) / "rabbit").start()
        try:
            console = Console()
            console.print(await _publishing(rabbit.add_host("publishing"), rounds * 20))
            async with _objects(Path(folder)) as stores:
                console.print(await _calling(rabbit, stores, rounds))
        finally:
            rabbit.stop()


async def _publishing(url: str, count: int) -> Table:
    table = Table(
        "message", *(f"{publishers} at once" for publishers in PUBLISHERS), title="messages published a second"
    )
    received = 0

    async def receive(_: Message) -> None:
        nonlocal received
        received += 1

    bus = RabbitBus(url, topics=TOPICS, capacity=1_000_000)
    bus.subscribe("notes", "reader", receive, at_once=64)
    await bus.start()
    sent = 0
    for size in ("1 KB", "100 KB"):
        rates = []
        for publishers in PUBLISHERS:
            rates.append(f"{await _publish_rate(bus, SIZES[size], count, publishers):.0f}")
            sent += count
            while received < sent:  # noqa: ASYNC110 (what is left would be delivered during the next measurement)
                await asyncio.sleep(0.01)
        table.add_row(size, *rates)
    await bus.stop()
    return table


async def _publish_rate(bus: RabbitBus, size: int, count: int, publishers: int) -> float:
    left, body = iter(range(count)), {"bytes": bytes(size)}

    async def publisher() -> None:
        for _ in left:
            await bus.publish(Message("notes", "account", body))

    await bus.publish(Message("notes", "account", body))
    began = time.perf_counter()
    await asyncio.gather(*(publisher() for _ in range(publishers)))
    return count / (time.perf_counter() - began)


async def _calling(rabbit: Rabbit, stores: dict[str, Claims | None], rounds: int) -> Table:
    table = Table("request and answer", *stores, title="ms a call, p50 / p99")
    async with AsyncExitStack() as stack:
        ways = [
            await stack.enter_async_context(_way(rabbit.add_host(name.replace(" ", "-")), claims))
            for name, claims in stores.items()
        ]
        for name, size in SIZES.items():
            times = await _race(ways, bytes(size), rounds)
            table.add_row(name, *(f"{statistics.median(each):.1f} / {p99(each):.1f}" for each in times))
    return table


async def _race(ways: list[Echo], content: bytes, rounds: int) -> list[list[float]]:
    """Milliseconds of every call, by way."""
    times: list[list[float]] = [[] for _ in ways]
    for number, (position, way) in itertools.product(range(rounds + WARM), enumerate(ways)):
        began = time.perf_counter()
        await way.echo(content)
        if number >= WARM:
            times[position].append((time.perf_counter() - began) * 1000)
    return times


@asynccontextmanager
async def _way(url: str, claims: Claims | None) -> AsyncIterator[Echo]:
    """Everything claimed, or without a store for it nothing."""
    options: dict[str, Any] = {"claims": claims, "inline_bytes": 0 if claims else sys.maxsize}
    server, calls = WorkServer(Echo, Parrot(), url, at_once=4, **options), WorkCalls(url, **options)
    await server.start()
    await _until(server.health)
    await calls.start()
    yield remote_work(Echo, calls)
    await calls.stop()
    await server.stop()


async def _until(check: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await check()
        except Exception:
            await asyncio.sleep(0.05)
        else:
            return


@asynccontextmanager
async def _objects(folder: Path) -> AsyncIterator[dict[str, Claims | None]]:
    server: S3
    try:
        server = Ceph(folder / "s3")
    except NotInstalled:
        server = Moto(folder / "s3")
    server.start()
    server.add_bucket("claims")
    bucket = S3Store(
        "claims",
        endpoint=server.url,
        region=REGION,
        access_key_id=KEY,
        secret_access_key=SECRET,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    try:
        yield {
            "in the message": None,
            "claimed from a folder": ObjectClaims(LocalStore(folder / "claims", mkdir=True)),
            f"claimed from S3 ({type(server).__name__})": ObjectClaims(bucket),
        }
    finally:
        server.stop()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
