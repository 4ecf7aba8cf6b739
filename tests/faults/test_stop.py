"""SIGTERM under load: every answer is whole, and the end comes soon."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from libs.client import MienClient
from libs.common.ids import new_id
from libs.common.wire.handlers import Emission, EmittedEvent
from tests import photos
from tests.running import RunningSuite

POLICIES = {
    "extract_policy": {"extract_face_descriptor": 1},
    "storage_policy": {
        "face_policy": {"store_face": 1},
        "event_policy": {"store_event": 1, "wait_saving": 1},
    },
}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningSuite]:
    suite = RunningSuite(tmp_path / "data", MIEN_SDK_DETECT_LONG_SIDE="300").start()
    yield suite
    if suite.is_running():
        suite.kill()


async def test_pictures_that_wait_when_a_stop_begins_are_finished(running: RunningSuite) -> None:
    headers = {"Luna-Account-Id": new_id(), "Content-Type": "image/jpeg"}
    photo = photos.astronaut_jpeg()
    done = asyncio.Event()

    async def look(session: aiohttp.ClientSession) -> int:
        async with session.post(f"{running.url}/6/sdk", data=photo, headers=headers) as answer:
            await answer.read()
        done.set()
        return answer.status

    async with aiohttp.ClientSession() as session:
        looking = [asyncio.create_task(look(session)) for _ in range(8)]
        await done.wait()
        assert await asyncio.to_thread(running.stop) == 0
        assert await asyncio.gather(*looking) == [200] * 8


async def test_whoever_waits_at_the_end_gets_an_answer_and_what_was_acknowledged_is_there(
    running: RunningSuite,
) -> None:
    account = new_id()
    headers = {"Luna-Account-Id": account, "Content-Type": "image/jpeg"}
    async with MienClient(running.url, account=account) as client:
        handler_id = await client.handlers.create(POLICIES)
    _, stuck = await asyncio.open_connection("127.0.0.1", running.port)
    stuck.write(
        b"POST /6/images HTTP/1.1\r\nHost: mien\r\nContent-Type: image/jpeg\r\nContent-Length: 9999\r\n\r\nhalf"
    )

    done = asyncio.Event()
    statuses: list[int] = []
    acknowledged: list[EmittedEvent] = []

    async def emit(session: aiohttp.ClientSession) -> None:
        url = f"{running.url}/6/handlers/{handler_id}/events"
        async with session.post(url, data=photos.astronaut_jpeg(), headers=headers) as answer:
            body = await answer.read()
        statuses.append(answer.status)
        if answer.status == 201:
            acknowledged.extend(Emission.model_validate_json(body).events)
        done.set()

    async with aiohttp.ClientSession() as session:
        emitting = [asyncio.create_task(emit(session)) for _ in range(40)]
        await done.wait()
        assert await asyncio.to_thread(running.stop) == 0
        await asyncio.gather(*emitting)
    stuck.close()

    assert set(statuses) <= {201, 503}
    running.start()
    async with MienClient(running.url, account=account) as client:
        for event in acknowledged:
            assert event.face
            assert (await client.events.get(event.event_id)).face_id == event.face.face_id
            assert await client.faces.check(event.face.face_id)
        assert await client.faces.count() == len(acknowledged)
    assert running.stop() == 0
