"""What the platform costs beside its inference: ``python -m bench.suite [rounds]``.

One run, one compute thread on each side. For every photo in turn the bare inference (the same stages, called in
this process) and one emission over HTTP (inference, match against a list, sample, event, every commit on disk)
are timed one after the other, so that the difference is the platform's own.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.times import p99
from libs.client import MienClient
from libs.common.http.fetch import Fetcher
from libs.common.ids import new_id
from libs.common.settings import FetchSettings, SdkSettings, StorageSettings
from libs.common.storage.storage import Storage
from libs.common.wire.policies import Policies
from libs.common.wire.sdk import Image
from services.handlers.requirements import sdk_params
from services.image_store import app as image_store
from services.remote_sdk import app as remote_sdk
from tests import photos
from tests.running import RunningSuite

CALLERS = 4
Run = Callable[[bytes], Awaitable[object]]


async def main(rounds: int) -> None:
    pictures = [photos.astronaut_jpeg(), photos.grace_hopper_jpeg()]
    with tempfile.TemporaryDirectory() as folder:
        images = await image_store.build(Storage(StorageSettings(data_dir=Path(folder), durable=False)))
        fetcher = Fetcher(FetchSettings())
        part = await remote_sdk.build(SdkSettings(workers=1), images.service, fetcher)
        await part.start()
        suite = RunningSuite(Path(folder) / "data", MIEN_SDK_WORKERS="1").start()
        try:
            async with MienClient(suite.url, account=new_id()) as client:
                policies, handler_id = await _prepare(client, pictures)
                params = sdk_params(policies)

                async def bare(picture: bytes) -> object:
                    return await part.service.estimate([Image(filename="a.jpg", data=picture)], params)

                async def emit(picture: bytes) -> object:
                    return await client.handlers.emit(handler_id, picture)

                await _report(pictures, bare, emit, rounds)
                await _raw_events(client)
        finally:
            suite.stop()
            await part.stop()
            await images.stop()
            await fetcher.close()


async def _prepare(client: MienClient, pictures: list[bytes]) -> tuple[Policies, str]:
    """A list with both people, and a handler that recognises them and stores what it sees."""
    list_id = await client.lists.create("staff")
    link = {"store_face": 1, "link_to_lists_policy": [{"list_id": list_id}]}
    extract = {"extract_face_descriptor": 1}
    enrol = await client.handlers.create({"extract_policy": extract, "storage_policy": {"face_policy": link}})
    await client.handlers.emit(enrol, [(f"{i}.jpg", picture) for i, picture in enumerate(pictures)])
    search = {"label": "staff", "candidates": {"origin": "faces", "list_id": list_id}}
    policies = Policies.model_validate({"extract_policy": extract, "match_policy": [search]})
    return policies, await client.handlers.create(policies)


async def _report(pictures: list[bytes], bare: Run, emit: Run, rounds: int) -> None:
    times: dict[str, list[float]] = {"bare": [], "emit": []}
    for _ in range(2):
        await bare(pictures[0])
        await emit(pictures[0])
    for number in range(rounds):
        picture = pictures[number % len(pictures)]
        for name, run in (("bare", bare), ("emit", emit)) if number % 2 else (("emit", emit), ("bare", bare)):
            times[name].append(await _timed(run, picture))
    own = [emission - inference for emission, inference in zip(times["emit"], times["bare"], strict=True)]
    table = Table("ms an event", "p50", "p99", title=f"One photo at a time, {rounds} rounds, one compute thread")
    for name, values in (("bare inference", times["bare"]), ("emission", times["emit"]), ("the platform's own", own)):
        table.add_row(name, f"{statistics.median(values):.1f}", f"{p99(values):.1f}")
    ratio = statistics.median(own) / statistics.median(times["bare"])
    Console().print(table, f"overhead: {ratio:.1%} of the inference (bar: 15 %, or 8 ms where that is more)\n")

    bare_rate, emit_rate = await _rate(bare, pictures, rounds), await _rate(emit, pictures, rounds)
    print(f"{CALLERS} callers at once: {bare_rate:.2f} photos/s bare, {emit_rate:.2f} events/s emitted", end="")
    print(f" = {emit_rate / bare_rate:.2f} of the bare rate\n")


async def _timed(run: Run, picture: bytes) -> float:
    started = time.perf_counter()
    await run(picture)
    return (time.perf_counter() - started) * 1000


async def _rate(run: Run, pictures: list[bytes], count: int) -> float:
    waiting = [pictures[number % len(pictures)] for number in range(count)]
    started = time.perf_counter()

    async def caller() -> None:
        while waiting:
            await run(waiting.pop())

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return count / (time.perf_counter() - started)


async def _raw_events(client: MienClient, count: int = 2000, callers: int = 16) -> None:
    """Events without inference: what the door, the store and the disk allow."""
    times: list[float] = []
    left = iter(range(count))

    async def caller() -> None:
        for number in left:
            started = time.perf_counter()
            await client.handlers.save_event(new_id(), {"source": f"gate-{number % 7}"})
            times.append((time.perf_counter() - started) * 1000)

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    rate = count / (time.perf_counter() - started)
    print(
        f"raw events, {callers} callers, each on disk when answered: {rate:.0f}/s,"
        f" p50 {statistics.median(times):.1f} ms, p99 {p99(times):.1f} ms"
    )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 60))
