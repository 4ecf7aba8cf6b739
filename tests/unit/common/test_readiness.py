"""What a process tells of itself: alive, ready, healthy, configured."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from libs.common import readiness
from libs.common.errors import Code, MienError
from libs.common.http.peers import Peers, health_of
from libs.common.http.routes import Routes
from libs.common.http.server import READINESS, Servers, build_app, show_config
from libs.common.settings import Settings
from mien.serve import Process


async def well() -> dict[str, Any]:
    return {"rows": 3}


async def away() -> dict[str, Any]:
    raise MienError(Code.STORE_UNAVAILABLE, "MongoDB: nobody answers", retry_after_s=1)


async def wrong() -> dict[str, Any]:
    raise ValueError("with a password in it")


async def silent() -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


class Told:
    """Applications on real ports, and what they say."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.servers = Servers()
        self.session = session

    async def serve(self, health: Any = well) -> tuple[web.Application, str]:
        app = build_app("thing", [("/1", Routes("thing", "/1"))], health)
        return app, f"http://127.0.0.1:{await self.servers.start(app, '127.0.0.1', 0)}"

    async def get(self, url: str) -> tuple[int, Any]:
        async with self.session.get(url) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def told() -> AsyncIterator[Told]:
    async with aiohttp.ClientSession() as session:
        told = Told(session)
        yield told
        await told.servers.stop()


async def test_a_process_without_its_stores_is_alive_and_names_what_it_lacks(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "CHECK_S", 0.05)
    app, url = await told.serve()
    for name, check in {"events": well, "bus": away, "index": wrong, "models": silent}.items():
        app[READINESS].needs(name, check)

    assert await told.get(f"{url}/livez") == (200, {"alive": True})
    assert await told.get(f"{url}/readyz") == (
        503,
        {
            "ready": False,
            "missing": {
                "bus": "MongoDB: nobody answers",
                "index": "ValueError",
                "models": "did not answer within 0.05 s",
            },
        },
    )


async def test_a_load_balancer_may_ask_for_what_is_the_process_own(told: Told) -> None:
    app, url = await told.serve()
    app[READINESS].needs("events", well)
    app[READINESS].calls("faces", away)
    assert await told.get(f"{url}/readyz") == (503, {"ready": False, "missing": {"faces": "MongoDB: nobody answers"}})
    assert await told.get(f"{url}/readyz?own=1") == (200, {"ready": True, "missing": {}})


async def test_a_process_that_stops_is_not_ready_and_still_answers(told: Told) -> None:
    app, url = await told.serve()
    app[READINESS].drain()
    assert await told.get(f"{url}/readyz") == (503, {"ready": False, "missing": {"process": "is stopping"}})
    assert (await told.get(f"{url}/livez"))[0] == 200


async def test_health_recurses_into_the_services_that_are_called_when_it_is_asked_to(told: Told) -> None:
    app, url = await told.serve()
    app[READINESS].calls("faces", well)
    status, content = await told.get(f"{url}/1/healthcheck")
    assert (status, {**content, "execution_time": 0}) == (200, {"execution_time": 0, "rows": 3})
    status, content = await told.get(f"{url}/1/healthcheck?include_luna_services=1")
    assert (status, content["services"]) == (200, {"faces": {"rows": 3}})
    app[READINESS].calls("events", away)
    status, content = await told.get(f"{url}/1/healthcheck?include_luna_services=1")
    assert (status, content["error_code"]) == (503, Code.STORE_UNAVAILABLE.number)


async def test_a_service_is_well_when_one_of_its_processes_is(told: Told) -> None:
    _, good = await told.serve()
    _, bad = await told.serve(away)
    for _ in range(2):
        assert await health_of(Peers([bad, "http://127.0.0.1:1", good]), told.session) == {"rows": 3}
    with pytest.raises(MienError, match="MongoDB: nobody answers") as failure:
        await health_of(Peers([bad]), told.session)
    assert (failure.value.code, failure.value.status) == (Code.STORE_UNAVAILABLE, 503)
    with pytest.raises(MienError, match="ClientConnectorError") as failure:
        await health_of(Peers(["http://127.0.0.1:1"]), told.session)
    assert failure.value.status == 503


async def test_the_settings_in_effect_are_shown_by_those_that_may(told: Told) -> None:
    app = build_app("thing", [("/1", Routes("thing", "/1"))], well)
    show_config(app, "/1", {"MIEN_BUS_URL": "amqp://guest:***@broker/"})
    url = f"http://127.0.0.1:{await told.servers.start(app, '127.0.0.1', 0)}"
    for path in ("/config", "/1/config"):
        assert await told.get(url + path) == (200, {"MIEN_BUS_URL": "amqp://guest:***@broker/"})
    _, door = await told.serve()
    assert (await told.get(f"{door}/config"))[0] == 404


async def test_faces_without_redis_are_of_use_and_say_what_they_cannot_do(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("MIEN_FACES_PORT", "0")
    monkeypatch.setenv("MIEN_REDIS_URL", "redis://127.0.0.1:1/0")
    process = Process(Settings(), ["faces"])
    await process.start()
    url = process.addresses["faces"]
    status, content = await told.get(f"{url}/readyz")
    assert (status, list(content["missing"])) == (503, ["temporary attributes"])
    assert content["missing"]["temporary attributes"].startswith("Redis: ")
    assert await told.get(f"{url}/readyz?own=1") == (200, {"ready": True, "missing": {}})
    await process.stop()
