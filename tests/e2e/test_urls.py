"""What an operator gets who allows URLs: pictures fetched from them, and callbacks made to them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp import web

from libs.client import MienClient
from libs.common.http.server import Servers
from libs.common.ids import new_id
from tests import photos
from tests.running import RunningSuite

PATIENCE_S = 30
PASSWORD = "open sesame"


@pytest.fixture(scope="module")
def open_suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSuite]:
    running = RunningSuite(
        tmp_path_factory.mktemp("open") / "data",
        MIEN_FETCH_ALLOW_URLS="1",
        MIEN_FETCH_ALLOW_NETWORKS="127.0.0.0/8",
    ).start()
    yield running
    assert running.stop() == 0


class Neighbour:
    """Somebody else's server: has a photo, and takes callbacks after refusing the first one."""

    def __init__(self) -> None:
        self.address = ""
        self.calls: list[tuple[dict[str, str], Any]] = []
        self.changed = asyncio.Event()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/photo.jpg", self._photo)
        app.router.add_get("/inward", self._inward)
        app.router.add_post("/hook", self._hook)
        return app

    async def _photo(self, _: web.Request) -> web.Response:
        return web.Response(body=photos.astronaut_jpeg(), content_type="image/jpeg")

    async def _inward(self, _: web.Request) -> web.Response:
        raise web.HTTPFound("http://169.254.169.254/latest/meta-data")

    async def _hook(self, request: web.Request) -> web.Response:
        self.calls.append((dict(request.headers), await request.json()))
        self.changed.set()
        return web.Response(status=503 if len(self.calls) == 1 else 204)

    async def called(self, times: int) -> list[tuple[dict[str, str], Any]]:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.calls) < times:
                self.changed.clear()
                await self.changed.wait()
        return self.calls


@pytest.fixture
async def neighbour() -> AsyncIterator[Neighbour]:
    server, servers = Neighbour(), Servers()
    server.address = f"http://127.0.0.1:{await servers.start(server.app(), '127.0.0.1', 0)}"
    yield server
    await servers.stop()


async def test_pictures_are_fetched_but_never_from_where_a_redirect_leads_inward(
    open_suite: RunningSuite, neighbour: Neighbour
) -> None:
    async with MienClient(open_suite.url, account=new_id()) as client:
        handler_id = await client.handlers.create({})
        result = await client.handlers.emit(
            handler_id, urls=[f"{neighbour.address}/photo.jpg", f"{neighbour.address}/inward"]
        )
    assert [(image.status, image.error.error_code) for image in result.images] == [(1, 0), (0, 23)]
    assert len(result.events) == 1


async def test_a_callback_that_fails_is_made_again_with_the_same_event(
    open_suite: RunningSuite, neighbour: Neighbour
) -> None:
    callback = {
        "type": "http",
        "url": f"{neighbour.address}/hook",
        "authorization": {"type": "basic", "login": "me", "password": PASSWORD},
        "params": {"timeout": 5, "headers": {"X-Gate": "7"}},
    }
    policies = {"storage_policy": {"callbacks": [callback]}}
    async with MienClient(open_suite.url, account=new_id()) as client:
        handler_id = await client.handlers.create(policies)
        shown = await client.handlers.get(handler_id)
        await client.handlers.replace(handler_id, shown.policies)  # as an editor would that shows and sends back
        [event] = (await client.handlers.emit(handler_id, photos.astronaut_jpeg())).events
    assert PASSWORD not in shown.model_dump_json()
    (_, refused), (headers, taken) = await neighbour.called(2)
    assert refused == taken
    assert [one["event_id"] for one in taken["events"]] == [event.event_id]
    assert (headers["X-Gate"], headers["Authorization"]) == ("7", "Basic bWU6b3BlbiBzZXNhbWU=")
    assert headers["Idempotency-Key"] == neighbour.calls[0][0]["Idempotency-Key"]
    kept = [file for file in open_suite.data_dir.rglob("*") if file.is_file()]
    assert [file for file in kept if PASSWORD.encode() in file.read_bytes()] == [], "neither a store nor the bus has it"
