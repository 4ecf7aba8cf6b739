"""The events service over HTTP: every route, what it refuses, what another account sees, and the way by the bus."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgpack
import orjson
import pytest
from prometheus_client import REGISTRY

from libs.common import clock
from libs.common.bus.local import SCHEMA as BUS_SCHEMA
from libs.common.bus.local import LocalBus
from libs.common.bus.port import Message
from libs.common.bus.topics import EVENTS_SAVE
from libs.common.descriptors import VERSIONS, Version
from libs.common.http.server import Servers, build_app
from libs.common.ids import new_id
from libs.common.settings import StorageSettings
from libs.common.storage.sqlite import Database
from libs.common.storage.storage import Storage
from libs.common.wire.events import EVENT_TARGETS, Event, EventFilter
from services.events import app as events_app
from services.events import service as events_service
from services.events import stats
from services.events.service import Events
from tests.contract.event_stores import NOON, descriptor, event

MINE, THEIRS, ABSENT = new_id(), new_id(), new_id()
BODY = Version(number=9116, kind="body", model="test", length=128, midpoint=1, slope=1, source="this test")


@dataclass
class Answer:
    status: int
    content: Any
    content_type: str

    @property
    def error(self) -> tuple[int, int]:
        return self.status, self.content["error_code"]


class Http:
    """Calls of one account to a running service."""

    def __init__(self, session: aiohttp.ClientSession, url: str, account: str | None) -> None:
        self._session = session
        self._url = url
        self._headers = {} if account is None else {"Luna-Account-Id": account}

    def as_account(self, account: str | None) -> Http:
        return Http(self._session, self._url, account)

    async def __call__(
        self, method: str, path: str, *, body: Any = None, headers: dict[str, str] | None = None, **query: Any
    ) -> Answer:
        data = orjson.dumps(body) if body is not None and not isinstance(body, bytes) else body
        sent = {"Content-Type": "application/json", **self._headers, **(headers or {})}
        async with self._session.request(method, self._url + path, data=data, headers=sent, params=query) as answer:
            raw = await answer.read()
            read = {"application/json": orjson.loads, "application/msgpack": msgpack.unpackb}.get(answer.content_type)
            return Answer(answer.status, read(raw) if read and raw else raw, answer.content_type)

    async def save(self, *saved: Event) -> None:
        answer = await self("POST", "/2/events", body={"events": [plain(one) for one in saved]})
        assert answer.status == 201, answer

    async def found(self, **query: Any) -> list[str]:
        """The ids of the events that GET /events answers with, in its order."""
        answer = await self("GET", "/2/events", targets="event_id", **query)
        assert answer.status == 200, answer
        return [one["event_id"] for one in answer.content["events"]]


def plain(given: Event) -> dict[str, Any]:
    return orjson.loads(given.model_dump_json(exclude_unset=True))


@dataclass
class World:
    """``http`` speaks for MINE; ``bus`` has not been started."""

    http: Http
    bus: LocalBus
    events: Events


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        bus_database = await Database(tmp_path / "bus.db", BUS_SCHEMA, durable=False).open()
        stack.push_async_callback(bus_database.close)
        bus = LocalBus(bus_database)
        part = await events_app.build(Storage(StorageSettings(data_dir=tmp_path, durable=False)), bus)
        stack.push_async_callback(part.stop)
        stack.push_async_callback(bus.stop)
        servers = Servers()
        stack.push_async_callback(servers.stop)
        app = build_app("events", [(part.routes.prefix, part.routes)], part.health, max_body_bytes=8 * 1024 * 1024)
        part.install(app)
        port = await servers.start(app, "127.0.0.1", 0)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield World(Http(session, f"http://127.0.0.1:{port}", MINE), bus, part.service)


@pytest.fixture
def http(world: World) -> Http:
    return world.http


# Saving


async def test_saved_events_are_answered_with_their_urls_and_can_be_read(http: Http) -> None:
    first, second = event(MINE, source="gate-1", tags=["vip"], meta={"lane": 4}), event(MINE)
    drafts = [{name: value for name, value in plain(one).items() if name != "account_id"} for one in (first, second)]
    answer = await http("POST", "/2/events", body={"events": drafts})
    assert answer.status == 201
    urls = [one["url"] for one in answer.content["events"]]
    assert urls == [f"/2/events/{first.event_id}", f"/2/events/{second.event_id}"]
    read = (await http("GET", urls[0])).content
    assert list(read) == list(EVENT_TARGETS)
    assert clock.parse(read.pop("insert_time")) <= clock.now()
    assert Event(**read) == first
    assert (await http("HEAD", urls[1])).status == 200


async def test_a_bare_array_and_msgpack_with_native_bytes_are_accepted_too(http: Http) -> None:
    first, second = event(MINE), event(MINE, face_descriptor=descriptor(1))
    assert (await http("POST", "/2/events", body=[plain(first)])).status == 201
    packed = msgpack.packb([second.model_dump()])
    assert (await http("POST", "/2/events", body=packed, headers={"Content-Type": "application/msgpack"})).status == 201
    assert set(await http.found()) == {first.event_id, second.event_id}


@pytest.mark.parametrize(
    ("change", "code", "named"),
    [
        ({"account_id": THEIRS}, 12022, "events.0.account_id"),
        ({"beard": 1}, 12022, "events.0.beard"),
        ({"event_id": "7"}, 12022, "events.0.event_id: is not a UUID"),
        ({"gender": 2}, 12022, "events.0.gender"),
        ({"create_time": "noon"}, 12022, "events.0.create_time"),
        ({"tags": ["x" * 37]}, 12022, "events.0.tags.0"),
        ({"face_descriptor": {"version": 1001, "data": "AAAA"}}, 31006, "events.0.face_descriptor"),
        ({"face_descriptor": {"version": 59, "data": "AAAA"}}, 12036, "events.0.face_descriptor"),
        ({"meta": {"number": 2**70}}, 12022, "events.0.meta"),
    ],
)
@pytest.mark.parametrize("wait", [0, 1])
async def test_a_wrong_event_is_refused_by_its_path_and_nothing_is_saved(
    http: Http, change: dict[str, Any], code: int, named: str, wait: int
) -> None:
    good, bad = event(MINE), {**plain(event(MINE)), **change}
    text = orjson.dumps([bad, plain(good)]) if "meta" not in change else _json_of_any_number([bad, plain(good)])
    answer = await http("POST", "/2/events", body=text, wait_events_saving=wait)
    assert answer.error == (400, code)
    assert named in answer.content["detail"]
    assert await http.found() == []


def _json_of_any_number(content: Any) -> bytes:
    """orjson writes no integer of more than 64 bits; other clients do."""
    return json.dumps(content).encode()


async def test_more_than_a_thousand_events_are_refused(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_service, "MAX_EVENTS", 2)
    answer = await http("POST", "/2/events", body=[plain(event(MINE)) for _ in range(3)])
    assert answer.error == (400, 12042)
    assert (await http("POST", "/2/events", body=[])).error == (400, 12022)


async def test_an_id_of_another_account_is_a_conflict(http: Http) -> None:
    saved = event(MINE)
    await http.save(saved)
    again = {**plain(saved), "account_id": THEIRS}
    answer = await http.as_account(THEIRS)("POST", "/2/events", body=[again])
    assert answer.error == (409, 12043)
    assert MINE not in answer.content["detail"]
    await http.save(saved)
    assert await http.found() == [saved.event_id]


async def test_without_waiting_events_are_saved_from_the_bus(world: World) -> None:
    saved = event(MINE, tags=["x"], face_descriptor=descriptor(1))
    answer = await world.http("POST", "/2/events", body=[plain(saved)], wait_events_saving=0)
    assert (answer.status, answer.content["events"][0]["event_id"]) == (201, saved.event_id)
    assert await world.http.found() == []
    await world.bus.start()
    await drained(world)
    assert (await world.events.changes(0, 10, [])).rows[0].object_id == saved.event_id


async def test_what_arrives_twice_stops_nobody_nor_does_an_id_of_another_account(world: World) -> None:
    foreign, beside, saved = event(THEIRS), event(MINE, tags=["beside"]), event(MINE)
    await world.http.as_account(THEIRS).save(foreign)
    stolen = event(MINE, event_id=foreign.event_id)
    await world.bus.publish(Message(EVENTS_SAVE, MINE, {"events": [each.model_dump() for each in (stolen, beside)]}))
    for _ in range(2):
        await world.bus.publish(Message(EVENTS_SAVE, MINE, {"events": [saved.model_dump()]}))
    refused = metric("mien_events_refused_total")
    await world.bus.start()
    async with asyncio.timeout(10):
        while set(await world.http.found()) != {beside.event_id, saved.event_id}:
            pass
    assert await world.http.as_account(THEIRS).found() == [foreign.event_id]
    assert metric("mien_events_refused_total") == refused + 1  # given up at once, and no dead letter


def metric(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


async def drained(world: World) -> None:
    """The bus delivers in order: once an event published last can be read, all before it have been delivered."""
    last = event(MINE)
    await world.bus.publish(Message(EVENTS_SAVE, MINE, {"events": [last.model_dump()]}))
    async with asyncio.timeout(10):
        while not await world.events.select(MINE, EventFilter(event_ids=[last.event_id])):
            pass
    await world.events.delete(MINE, [last.event_id])


# Reading


async def test_filters_paging_and_order_come_from_the_query(http: Http) -> None:
    saved = [
        event(MINE, create_time=NOON + timedelta(seconds=number), gender=number % 2, source=f"gate-{number}")
        for number in range(4)
    ]
    await http.save(*saved, bare := event(MINE, create_time=NOON - timedelta(days=1)))
    ids = [one.event_id for one in saved]
    assert await http.found() == [*reversed(ids), bare.event_id]
    assert await http.found(order="asc", page=2, page_size=2) == ids[1:3]
    assert await http.found(gender=0, sources="gate-0, gate-1,gate-2", order="asc") == [ids[0], ids[2]]
    assert await http.found(gender="null") == [bare.event_id]
    assert await http.found(sources="null,gate-3") == [ids[3], bare.event_id]
    assert await http.found(create_time__gte="2024-05-04T12:00:01Z", create_time__lt="2024-05-04T14:00:03+02:00") == [
        ids[2],
        ids[1],
    ]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"targets": "event_id,beard"}, "targets: beard"),
        ({"targets": "face_descriptor"}, "targets: face_descriptor"),
        ({"beard": "1"}, "query.beard"),
        ({"gender": "2"}, "query.gender"),
        ({"emotions": "8"}, "query.emotions.0"),
        ({"age__gte": "old"}, "query.age__gte"),
        ({"age__gte": str(2**70)}, "query.age__gte"),
        ({"event_ids": "7"}, "query.event_ids.0"),
        ({"create_time__gte": "now-1q"}, "query.create_time__gte"),
        ({"create_time__gte": "0001-01-01T00:00:00+14:00"}, "query.create_time__gte"),
        ({"page": "0"}, "query.page"),
        ({"page_size": "1001"}, "query.page_size"),
        ({"order": "up"}, "query.order"),
    ],
)
async def test_a_wrong_query_is_refused_by_name(http: Http, query: dict[str, str], named: str) -> None:
    answer = await http("GET", "/2/events", **query)
    assert answer.error == (400, 12012)
    assert named in answer.content["detail"]


async def test_targets_choose_the_keys(http: Http) -> None:
    saved = event(MINE, age=41, face_descriptor=descriptor())
    await http.save(saved)
    one = await http("GET", f"/2/events/{saved.event_id}", targets="age,event_id")
    assert one.content == {"event_id": saved.event_id, "age": 41}
    many = await http("GET", "/2/events", targets="age")
    assert many.content == {"events": [{"age": 41}]}
    assert (await http("GET", f"/2/events/{saved.event_id}", targets="beard")).error == (400, 12012)


async def test_another_account_finds_nothing(http: Http) -> None:
    saved = event(MINE, face_descriptor=descriptor())
    await http.save(saved)
    stranger = http.as_account(THEIRS)
    for account, event_id in ((stranger, saved.event_id), (http, ABSENT), (http, "no-uuid"), (http, "%00")):
        path = f"/2/events/{event_id}"
        assert (await account("GET", path)).error == (404, 23001)
        assert (await account("GET", f"{path}/descriptor")).error == (404, 23001)
        assert (await account("HEAD", path)).status == 404
    assert await stranger.found() == []
    assert (await stranger("POST", "/2/events/stats", body=COUNT_ALL)).content["event_stats"] == [[0]]
    nobody = http.as_account(None)
    for method, path in (("POST", "/2/events"), ("GET", "/2/events"), ("GET", f"/2/events/{saved.event_id}")):
        body = [plain(saved)] if method == "POST" else None
        assert (await nobody(method, path, body=body)).error == (400, 12010)


# Descriptors


async def test_a_descriptor_comes_as_bytes_as_json_or_as_msgpack(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERSIONS, BODY.number, BODY)
    face, body = descriptor(1), descriptor(2, version=BODY.number)
    saved = event(MINE, face_descriptor=face, body_descriptor=body)
    await http.save(saved)
    path = f"/2/events/{saved.event_id}/descriptor"

    async def asked(accept: str, **query: Any) -> tuple[Any, str]:
        answer = await http("GET", path, headers={"Accept": accept}, **query)
        assert answer.status == 200, answer
        return answer.content, answer.content_type

    octets, text, packed = "application/octet-stream", "application/json", "application/msgpack"
    assert await asked("*/*") == (face.data, octets)
    assert await asked(f"{octets}, {text}", descriptor_type="body") == (body.data, octets)
    answer = {"descriptor": base64.b64encode(body.data).decode(), "version": BODY.number}
    assert await asked(text, descriptor_type="body", descriptor_version=BODY.number) == (answer, text)
    assert await asked(packed) == ({"descriptor": face.data, "version": 1001}, packed)
    assert (await http("GET", path, headers={"Accept": "image/jpeg"})).error == (406, 12023)
    assert (await http("GET", path, descriptor_type="head")).error == (400, 12012)


async def test_a_descriptor_that_is_not_there_is_refused_by_its_kind(http: Http) -> None:
    bare, seen = event(MINE), event(MINE, face_descriptor=descriptor())
    await http.save(bare, seen)

    async def refusal(of: Event, **query: Any) -> tuple[int, int]:
        return (await http("GET", f"/2/events/{of.event_id}/descriptor", **query)).error

    assert await refusal(bare) == (400, 22018)
    assert await refusal(seen, descriptor_version=59) == (400, 22018)
    assert await refusal(seen, descriptor_type="body") == (400, 23007)


# Statistics

COUNT_ALL = {"targets": [{"column": "event_id", "aggregator": "count"}]}


async def test_events_are_counted_by_group(http: Http) -> None:
    await http.save(
        event(MINE, gender=0, age=20, tags=["a", "b"], source="gate-1"),
        event(MINE, gender=0, tags=["a"], source="gate-1"),
        event(MINE, gender=1, age=30, source="gate-2"),
        event(MINE, gender=1, age=40, source="gate-3"),
    )
    request = {
        "targets": [{"column": "event_id"}, {"column": "age"}],
        "filters": [{"column": "source", "operator": "in", "value": ["gate-1", "gate-2"]}],
        "group_by": [{"column": "gender"}, {"column": "tags"}],
    }
    answer = await http("POST", "/2/events/stats", body=request)
    assert answer.content == {
        "columns": ["gender", "tags", "count(event_id)", "count(age)"],
        "event_stats": [[0, "a", 2, 1], [0, "b", 1, 1], [1, None, 1, 1]],
    }
    assert (await http("POST", "/2/events/stats", body=COUNT_ALL)).content == {
        "columns": ["count(event_id)"],
        "event_stats": [[4]],
    }


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"targets": []}, "targets"),
        ({"targets": [{"column": "beard"}]}, "targets.0.column: beard"),
        ({"targets": [{"column": "age", "aggregator": "median"}]}, "targets.0.aggregator"),
        ({"filters": [{"column": "age", "operator": "is", "value": 1}]}, "filters.0.operator"),
        ({"filters": [{"column": "age"}]}, "filters.0.value"),
        ({"filters": [{"column": "age", "value": "1"}]}, "filters.0.value"),
        ({"group_by": [{"column": "gender"}, {"column": "meta"}]}, "group_by.1.column: meta"),
    ],
)
async def test_a_wrong_request_of_statistics_is_refused_by_its_path(
    http: Http, change: dict[str, Any], named: str
) -> None:
    answer = await http("POST", "/2/events/stats", body={**COUNT_ALL, **change})
    assert answer.error == (400, 12022)
    assert named in answer.content["detail"]


async def test_too_many_groups_are_refused(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "MAX_ROWS", 2)
    request = {**COUNT_ALL, "group_by": [{"column": "event_id"}]}
    await http.save(event(MINE), event(MINE))
    assert len((await http("POST", "/2/events/stats", body=request)).content["event_stats"]) == 2
    await http.save(event(MINE))
    assert (await http("POST", "/2/events/stats", body=request)).error == (400, 12042)


async def test_the_service_is_healthy(http: Http) -> None:
    assert (await http("GET", "/2/healthcheck")).status == 200
