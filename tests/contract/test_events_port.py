"""The port Events, in process and over HTTP, on every store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from libs.common import clock, ports
from libs.common.bus.topics import EVENTS_NOTIFY
from libs.common.errors import Code, MienError
from libs.common.event_rules import MAX_MATCHES_BYTES, MAX_META_BYTES, MAX_NOTICES_BYTES
from libs.common.http.peers import Peers
from libs.common.http.server import Servers, build_app
from libs.common.ids import new_id
from libs.common.rpc import expose, remote
from libs.common.wire.base import Blob
from libs.common.wire.estimations import Descriptor
from libs.common.wire.events import Event, EventFilter, EventPage, Location, TopMatch
from libs.common.wire.gallery import GalleryRow
from libs.common.wire.notices import Notice
from tests.contract.event_stores import NOON, STORES, descriptor, event, service_over

MINE, THEIRS = new_id(), new_id()
ALL = EventPage(page_size=1000)
ANY = EventFilter()


async def _health() -> dict[str, object]:
    return {}


@pytest.fixture(params=[(store, door) for store in STORES for door in ("in process", "http")], ids=" ".join)
async def port(request: pytest.FixtureRequest) -> AsyncIterator[ports.Events]:
    store, door = request.param
    async with AsyncExitStack() as stack:
        service = service_over(await stack.enter_async_context(STORES[store](request)))
        if door == "in process":
            yield service
            return
        servers = Servers()
        stack.push_async_callback(servers.stop)
        app = build_app("events", [("", expose(ports.Events, service))], _health, max_body_bytes=2**27)
        number = await servers.start(app, "127.0.0.1", 0)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield remote(ports.Events, Peers([f"http://127.0.0.1:{number}"]), session)


async def refused(call: Awaitable[Any], code: Code, *named: str) -> None:
    """``call`` fails with that code, and its detail names every one of ``named``."""
    with pytest.raises(MienError) as failure:
        await call
    assert (failure.value.code, failure.value.status) == (code, code.status)
    assert all(name in failure.value.detail for name in named), failure.value.detail


def full(account: str) -> Event:
    """An event with something in every part of it."""
    return event(
        account,
        end_time=NOON + timedelta(seconds=2),
        external_id="e-1",
        user_data="Groß",
        source="gate-1",
        stream_id="s-1",
        track_id="t-1",
        tags=["known", "vip"],
        location=Location.model_validate({"city": "Graz", "geo_position": {"longitude": 15.4, "latitude": 47.1}}),
        meta={"lane": 4, "nested": {"none": None, "list": [1.5, "x"]}},
        face_id=new_id(),
        attach_result=[new_id()],
        face_detections=[{"sample_id": new_id(), "detect_time": NOON, "detect_ts": 0.5, "image_origin": "/x"}],
        gender=0,
        age=41,
        emotion=5,
        mask=1,
        liveness=1,
        deepfake=1,
        match_result=[{"label": "staff", "candidates": [{"face": {"face_id": new_id()}, "similarity": 0.96}]}],
        top_match=TopMatch(label="staff", similarity=0.96, object_type="face", object_id=new_id()),
        face_descriptor=descriptor(score=0.75),
    )


async def test_an_event_comes_back_as_it_was_saved_with_the_time_of_its_writing(port: ports.Events) -> None:
    saved, before = full(MINE), clock.now()
    await port.save(MINE, [saved], [])
    [whole] = await port.with_descriptors(MINE, [saved.event_id])
    assert whole.insert_time is not None
    assert before <= whole.insert_time <= clock.now()
    assert whole == saved.model_copy(update={"insert_time": whole.insert_time})
    [found] = await port.find(MINE, ANY, ALL)
    assert found == whole.model_copy(update={"face_descriptor": None})


async def test_the_first_write_of_an_id_wins(port: ports.Events) -> None:
    first = event(MINE, source="first", face_descriptor=descriptor(1))
    await port.save(MINE, [first], [])
    other = first.model_copy(update={"source": "second", "tags": ["x"], "face_descriptor": descriptor(2)})
    new = event(MINE, source="new")
    await port.save(MINE, [other, new, new.model_copy(update={"source": "again"})], [])
    assert sorted(one.source or "" for one in await port.find(MINE, ANY, ALL)) == ["first", "new"]
    assert await port.select(MINE, EventFilter(tags=["x"])) == []
    assert (await port.changes(0, 10, [])).rows == [row(first)]


async def test_a_save_is_all_or_nothing_and_names_the_event_at_fault(port: ports.Events, monkeypatch) -> None:
    good, other = event(MINE), event(THEIRS)
    await port.save(THEIRS, [other], [])
    stolen = event(MINE, event_id=other.event_id)
    short = event(MINE, face_descriptor=Descriptor(version=1001, data=b"\0" * 4))
    unknown = event(MINE, body_descriptor=Descriptor(version=116, data=b"\0" * 4))
    misplaced = event(MINE, body_descriptor=descriptor())
    large = event(MINE, meta={"text": "x" * MAX_META_BYTES})
    await refused(port.save(MINE, [good, stolen], []), Code.REQUEST_CONFLICT, other.event_id)
    await refused(port.save(MINE, [good, other], []), Code.BAD_BODY, "events.1.account_id")
    await refused(port.save(MINE, [good, short], []), Code.BAD_DESCRIPTOR, "events.1.face_descriptor", "512")
    await refused(port.save(MINE, [good, unknown], []), Code.DESCRIPTOR_VERSION_UNKNOWN, "body_descriptor", "116")
    await refused(port.save(MINE, [good, misplaced], []), Code.BAD_DESCRIPTOR, "events.1.body_descriptor", "face")
    await refused(port.save(MINE, [good, large], []), Code.BAD_BODY, "events.1.meta", str(MAX_META_BYTES))
    await refused(port.save(MINE, [good, event(MINE, meta={"raw": b"x"})], []), Code.BAD_BODY, "events.1.meta")
    assert await port.find(MINE, ANY, ALL) == []


async def test_notices_need_events_a_known_topic_and_a_size(port: ports.Events) -> None:
    def notice(topic: str = EVENTS_NOTIFY, **body: Any) -> Notice:
        return Notice(notice_id=new_id(), topic=topic, body=body)

    good = event(MINE)
    await refused(port.save(MINE, [], [notice()]), Code.BAD_BODY, "notices")
    await refused(port.save(MINE, [good], [notice(), notice("events.save")]), Code.BAD_BODY, "notices.1.topic")
    await refused(port.save(MINE, [good], [notice(raw=b"x")]), Code.BAD_BODY, "notices.0.body")
    half = "x" * (MAX_NOTICES_BYTES // 2)
    large = [notice(text=half), notice(text=half)]
    await refused(port.save(MINE, [good], large), Code.BAD_BODY, "notices", str(MAX_NOTICES_BYTES))
    assert await port.find(MINE, ANY, ALL) == []


async def test_the_largest_event_and_the_largest_notices_fit_the_store_together(port: ports.Events) -> None:
    def filled(size: int) -> dict[str, str]:
        return {"text": "x" * (size - len('{"text":""}'))}

    largest = event(MINE, meta=filled(MAX_META_BYTES), match_result=[filled(MAX_MATCHES_BYTES - 2)])
    notice = Notice(notice_id=new_id(), topic=EVENTS_NOTIFY, body=filled(MAX_NOTICES_BYTES))
    await port.save(MINE, [event(MINE), largest], [notice])
    assert await port.select(MINE, EventFilter(event_ids=[largest.event_id])) == [largest.event_id]


async def test_another_account_sees_and_deletes_nothing(port: ports.Events) -> None:
    mine = full(MINE)
    await port.save(MINE, [mine], [])
    everything = EventFilter(event_ids=[mine.event_id], tags=["vip"])
    assert await port.find(THEIRS, ANY, ALL) == []
    assert await port.select(THEIRS, everything) == []
    assert await port.with_descriptors(THEIRS, [mine.event_id]) == []
    await port.delete(THEIRS, [mine.event_id])
    assert await port.select(MINE, everything) == [mine.event_id]


async def test_events_come_newest_first_and_by_id_when_the_id_is_bounded(port: ports.Events) -> None:
    saved = [event(MINE, create_time=NOON + timedelta(milliseconds=shift)) for shift in (0, 2, 1)]
    await port.save(MINE, saved, [])
    oldest, newest, middle = (one.event_id for one in saved)

    async def order(where: EventFilter = ANY, **page: Any) -> list[str]:
        return [one.event_id for one in await port.find(MINE, where, EventPage(**page))]

    assert await order() == [newest, middle, oldest]
    assert await order(order="asc") == [oldest, middle, newest]
    assert await order(page=2, page_size=2) == [oldest]
    ids = sorted(one.event_id for one in saved)
    assert await order(EventFilter(event_id__gte=ids[1])) == ids[1:]
    assert await order(EventFilter(event_id__lt=ids[1]), order="desc") == ids[:1]


async def test_relative_times_are_read_at_each_call(port: ports.Events) -> None:
    recent = event(MINE, create_time=clock.now() - timedelta(minutes=30))
    await port.save(MINE, [recent, event(MINE, create_time=clock.now() - timedelta(hours=2))], [])
    assert await port.select(MINE, EventFilter(create_time__gte="now-1h")) == [recent.event_id]


async def test_user_data_is_searched_whatever_its_case(port: ports.Events) -> None:
    saved = event(MINE, user_data="Müller & Groß 100%_")
    await port.save(MINE, [saved, event(MINE)], [])
    for text in ("MÜLLER", "GROSS", "groß", "100%_", ""):
        assert await port.select(MINE, EventFilter(user_data=text)) == [saved.event_id], text
    assert await port.select(MINE, EventFilter(user_data="%M")) == []


async def test_a_filter_of_too_many_values_is_refused(port: ports.Events) -> None:
    many = [new_id() for _ in range(10_001)]
    await refused(port.select(MINE, EventFilter(event_ids=many)), Code.TOO_MANY, "10001", "10000")
    assert await port.select(MINE, EventFilter(event_ids=many[1:])) == []


async def test_deleting_is_harmless_twice(port: ports.Events) -> None:
    doomed, kept = event(MINE), event(MINE)
    await port.save(MINE, [doomed, kept], [])
    for _ in range(2):
        await port.delete(MINE, [doomed.event_id, new_id()])
    assert await port.select(MINE, ANY) == [kept.event_id]


async def test_descriptors_of_very_many_events_are_read_in_order_of_ids(port: ports.Events) -> None:
    saved = [event(MINE, face_descriptor=descriptor(seed)) for seed in range(3)]
    await port.save(MINE, saved, [])
    asked = [new_id() for _ in range(25_000)] + [one.event_id for one in saved] * 2
    found = await port.with_descriptors(MINE, asked)
    assert [(one.event_id, one.face_descriptor) for one in found] == sorted(
        (one.event_id, one.face_descriptor) for one in saved
    )


async def test_the_feed_shows_every_account_the_present_state_of_what_changed(port: ports.Events) -> None:
    mine, theirs = event(MINE, face_descriptor=descriptor(1)), event(THEIRS, face_descriptor=descriptor(2))
    await port.save(MINE, [mine, event(MINE)], [])
    await port.save(THEIRS, [theirs], [])
    first = await port.changes(0, 1, [])
    assert (first.rows, first.more) == ([row(mine)], True)
    rest = await port.changes(first.revision, 10, [])
    assert (rest.rows, rest.more) == ([row(theirs)], False)
    await port.delete(MINE, [mine.event_id])
    gone = await port.changes(rest.revision, 10, [])
    assert gone.rows == [GalleryRow(object_id=mine.event_id, account_id=MINE, deleted=True)]
    assert gone.revision > rest.revision
    idle = await port.changes(gone.revision, 10, [])
    assert (idle.rows, idle.more, idle.revision) == ([], False, gone.revision)


def row(saved: Event) -> GalleryRow:
    assert saved.face_descriptor is not None
    data: Blob = saved.face_descriptor.data
    return GalleryRow(
        object_id=saved.event_id, account_id=saved.account_id, descriptors={saved.face_descriptor.version: data}
    )
