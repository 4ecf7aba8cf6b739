"""How fast ready events are taken: ``python -m bench.events [rounds]``.

In each round the store's own bulk insert of the same events (PyMongo's ``insert_many`` for a majority's journals; one
transaction of SQLite for each 200), and after it POST /events in batches, answered once they are stored and once they
are on the bus; stored means that a query finds the last of them. Scaled: ``mien serve events`` beside RabbitMQ and
MongoDB, or what stands in for it. Embedded: ``mien up``.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import orjson
from rich.console import Console
from rich.table import Table

from deploy.local.child import Child, free_port
from deploy.local.mongo import Mongo
from deploy.local.rabbit import Rabbit
from libs.common import clock
from libs.common.ids import new_id
from libs.common.storage import mongo
from libs.common.storage.sqlite import Database
from libs.common.wire.base import chunks
from libs.common.wire.events import Event
from services.events.documents import EVENTS, document
from services.events.store_mongo import COLLECTIONS
from services.events.store_sqlite import SCHEMA, SqliteEventStore
from tests.running import RunningSuite

EVENTS_A_ROUND = 2000
BULK = 200
BATCH = 100
CALLERS = 8
ACCOUNT = new_id()


@dataclass(frozen=True)
class Place:
    """A service that runs, and the bulk insert of the store it uses."""

    url: str
    bulk: Callable[[list[Event]], Awaitable[object]]


async def main(rounds: int) -> None:
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        for title, opened in (("scaled", _scaled(Path(folder))), ("embedded", _embedded(Path(folder) / "files"))):
            async with opened as place, aiohttp.ClientSession(headers={"Luna-Account-Id": ACCOUNT}) as session:
                rates: dict[str, list[float]] = defaultdict(list)
                for _ in range(rounds):
                    await _round(place, session, rates)
            console.print(_table(title, rates))


async def _round(place: Place, session: aiohttp.ClientSession, rates: dict[str, list[float]]) -> None:
    bulk = _events()
    rates["the store's own bulk insert"].append(await _rate(_in_bulk(place, bulk)))
    for name, wait in (("answered when stored", 1), ("answered when on the bus", 0)):
        events = _events()
        bodies = [orjson.dumps([one.model_dump(mode="json") for one in some]) for some in chunks(events, BATCH)]
        started = time.perf_counter()
        rates[name].append(await _rate(_posted(place, session, bodies, wait)))
        await _found(place, session, events[-1].event_id)
        if not wait:
            rates["the same, until stored"].append(EVENTS_A_ROUND / (time.perf_counter() - started))


async def _rate(work: Awaitable[None]) -> float:
    started = time.perf_counter()
    await work
    return EVENTS_A_ROUND / (time.perf_counter() - started)


async def _in_bulk(place: Place, events: list[Event]) -> None:
    for some in chunks(events, BULK):
        await place.bulk(some)


async def _posted(place: Place, session: aiohttp.ClientSession, bodies: list[bytes], wait: int) -> None:
    left: Iterator[bytes] = iter(bodies)

    async def caller() -> None:
        for body in left:
            headers = {"Content-Type": "application/json"}
            path = f"{place.url}/2/events?wait_events_saving={wait}"
            async with session.post(path, data=body, headers=headers) as answer:
                assert answer.status == 201, await answer.text()

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


async def _found(place: Place, session: aiohttp.ClientSession, event_id: str) -> None:
    async with asyncio.timeout(60):
        while True:
            async with session.get(f"{place.url}/2/events/{event_id}") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.1)


def _events() -> list[Event]:
    """Like those of a recognition at a gate."""
    candidate = {"face": {"face_id": new_id(), "external_id": "e-12", "user_data": "Ada"}, "similarity": 0.96}
    box = {"detection": {"rect": {"x": 88, "y": 51, "width": 77, "height": 101}}, "sample_id": new_id()}
    return [
        Event.model_validate(
            {
                "event_id": new_id(),
                "account_id": ACCOUNT,
                "handler_id": ACCOUNT,
                "create_time": clock.now(),
                "source": f"gate-{number % 7}",
                "track_id": f"t-{number}",
                "tags": ["known"],
                "face_detections": [box],
                "gender": number % 2,
                "age": number % 90,
                "match_result": [{"label": "staff", "candidates": [candidate] * 3}],
                "top_match": {"label": "staff", "similarity": 0.96, "object_type": "face", "object_id": new_id()},
            }
        )
        for number in range(EVENTS_A_ROUND)
    ]


@asynccontextmanager
async def _scaled(folder: Path) -> AsyncIterator[Place]:
    """Every process has a CPU's time to itself if there are enough."""
    rabbit, server = Rabbit(folder / "rabbit"), Mongo(folder / "mongo")
    port = free_port()
    environment = {"MIEN_BUS_URL": rabbit.url, "MIEN_MONGO_URL": server.url, "MIEN_EVENTS_PORT": str(port)}
    command = [sys.executable, "-m", "mien", "serve", "events"]
    service = Child("events", command, log=folder / "events.log", environment=environment)
    client = mongo.connect(server.url_of("bulk"))
    database = client.get_default_database()
    try:
        for each in (rabbit, server):
            await asyncio.to_thread(each.start)
        print(server.remark)
        await mongo.migrate(database, COLLECTIONS)
        await mongo.migrate(client["mien"], COLLECTIONS)
        service.start()
        url = f"http://127.0.0.1:{port}"
        await _ready(url)
        yield Place(url, lambda some: database[EVENTS.name].insert_many([document(one) for one in some], ordered=False))
    finally:
        await client.close()
        for each in (service, server, rabbit):
            await asyncio.to_thread(each.stop)


async def _ready(url: str) -> None:
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{url}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


@asynccontextmanager
async def _embedded(folder: Path) -> AsyncIterator[Place]:
    suite = RunningSuite(folder / "suite")
    beside = await Database(folder / "bulk.db", SCHEMA).open()
    store = SqliteEventStore(beside)
    try:
        await asyncio.to_thread(suite.start)
        yield Place(suite.url_of("events"), lambda some: store.add(ACCOUNT, some, clock.now()))
    finally:
        await asyncio.to_thread(suite.stop)
        await beside.close()


def _table(title: str, rates: dict[str, list[float]]) -> Table:
    medians = {name: statistics.median(values) for name, values in rates.items()}
    bulk = next(iter(medians.values()))
    table = Table(f"{title}, {EVENTS_A_ROUND} events a round", "events/s", "of the bulk insert (bar: 60 %)")
    for name, rate in medians.items():
        table.add_row(name, f"{rate:.0f}", f"{rate / bulk:.0%}")
    return table


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
