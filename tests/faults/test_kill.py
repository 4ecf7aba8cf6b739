"""kill -9 in the middle of emitting: what was acknowledged is there after the restart, once."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.client import MienClient, MienUnreachable
from libs.common.ids import new_id
from libs.common.wire.handlers import EmittedEvent
from tests import photos
from tests.running import RunningSuite

POLICIES = {
    "extract_policy": {"extract_face_descriptor": 1},
    "storage_policy": {
        "image_origin_policy": {"store_image": 1},
        "face_policy": {"store_face": 1, "set_sample_as_avatar": 1},
        "event_policy": {"store_event": 1, "wait_saving": 1},
    },
}


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[RunningSuite]:
    running = RunningSuite(tmp_path / "data", MIEN_SDK_DETECT_LONG_SIDE="400").start()
    yield running
    if running.is_running():
        running.stop()


async def test_every_acknowledged_event_face_and_picture_survives_a_kill_once(mortal: RunningSuite) -> None:
    account, picture = new_id(), photos.astronaut_jpeg()
    acknowledged: list[EmittedEvent] = []
    async with MienClient(mortal.url, account=account) as client:
        handler_id = await client.handlers.create(POLICIES)

        async def emit_until_killed() -> None:
            while True:
                try:
                    answer = await client.handlers.emit(handler_id, picture)
                except MienUnreachable:
                    return
                acknowledged.extend(answer.events)
                if len(acknowledged) == 12:
                    mortal.kill()

        await asyncio.gather(*(emit_until_killed() for _ in range(4)))
    assert len(acknowledged) >= 12

    mortal.start()
    async with MienClient(mortal.url, account=account) as client:
        for event in acknowledged:
            assert event.face is not None
            assert len(await client.events.find(event_ids=[event.event_id])) == 1
            stored = await client.events.get(event.event_id)
            assert stored.face_id == event.face.face_id
            assert await client.faces.count(face_ids=[event.face.face_id]) == 1
            [seen] = stored.face_detections
            assert seen.sample_id is not None
            assert (await client.images.get_face_sample(seen.sample_id)).data.startswith(b"\xff\xd8")
            assert seen.image_origin is not None
            origin = await client.images.get(seen.image_origin.rsplit("/", 1)[-1])
            assert origin.data == picture
        matches = await client.matcher.faces(
            [{"type": "face", "id": acknowledged[0].face.face_id if acknowledged[0].face else ""}],
            [{"filters": {"origin": "faces"}, "limit": 1000}],
        )
        found = {match.face["face_id"] for match in matches[0].matches[0].result if match.face}
        assert {event.face.face_id for event in acknowledged if event.face} <= found


async def test_events_on_the_bus_are_saved_after_a_kill(mortal: RunningSuite) -> None:
    account, handler_id = new_id(), new_id()
    acknowledged: list[str] = []
    async with MienClient(mortal.url, account=account) as client:

        async def save_until_killed() -> None:
            while True:
                event_id = new_id()
                try:
                    await client.handlers.save_event(handler_id, {"event_id": event_id}, wait_saving=False)
                except MienUnreachable:
                    return
                acknowledged.append(event_id)
                if len(acknowledged) == 300:
                    mortal.kill()

        await asyncio.gather(*(save_until_killed() for _ in range(16)))

    mortal.start()
    async with MienClient(mortal.url, account=account) as client:
        missing = set(acknowledged)
        async with asyncio.timeout(30):
            while missing:
                some = list(missing)[:100]
                found = await client.events.find(event_ids=some, page_size=100)
                missing -= {event.event_id for event in found}
        assert len(acknowledged) >= 300


async def test_a_second_start_on_the_same_data_goes_on_where_the_first_stopped(mortal: RunningSuite) -> None:
    account = new_id()
    async with MienClient(mortal.url, account=account) as client:
        list_id = await client.lists.create("staff")
    assert mortal.stop() == 0
    mortal.start()
    async with MienClient(mortal.url, account=account) as client:
        assert (await client.lists.get(list_id)).user_data == "staff"


async def test_a_second_process_on_the_same_data_is_refused(mortal: RunningSuite) -> None:
    second = RunningSuite(mortal.data_dir)
    with pytest.raises(RuntimeError, match="another process works on"):
        second.start()
