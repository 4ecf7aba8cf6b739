"""The gateway's own resources and manners, and every service's under its own port."""

import re

import aiohttp
import msgpack
import pytest
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator
from yarl import URL

from libs.client import MienClient
from libs.common.http.peers import Peers
from libs.common.http.routes import Call, Routes
from libs.common.http.server import Servers, build_app
from libs.common.ids import new_id
from libs.common.settings import PORT_OFFSETS
from services.gateway import app as gateway
from services.gateway.upstream import outside
from tests.running import RunningSuite

ACCOUNT = {"Luna-Account-Id": new_id()}
PREFIXES = {
    "gateway": "/6",
    "image_store": "/1",
    "faces": "/3",
    "events": "/2",
    "handlers": "/1",
    "sender": "/1",
    "matcher": "/1",
    "remote_sdk": "/1",
}


@pytest.mark.parametrize("service", PORT_OFFSETS)
async def test_every_service_answers_at_its_own_port(suite: RunningSuite, service: str) -> None:
    base = suite.url_of(service)
    specs, texts = [], []
    async with aiohttp.ClientSession() as session:
        for prefix in ("", PREFIXES[service]):
            for path in ("/version", "/healthcheck", "/metrics", "/docs/spec"):
                async with session.get(base + prefix + path) as answer:
                    assert answer.status == 200, path
            async with session.get(f"{base}{prefix}/docs/spec") as answer:
                specs.append(await answer.json())
            async with session.get(f"{base}{prefix}/docs/spec", headers={"Accept": "application/x-yaml"}) as answer:
                assert answer.content_type == "application/x-yaml"
                texts.append(await answer.text())
            async with session.get(f"{base}{prefix}/docs") as answer:
                page = await answer.text()
            for asset in re.findall(r'(?:src|href)="([^"]+)"', page):
                assert asset.startswith(f"{prefix}/docs/static/")
                async with session.get(base + asset) as answer:
                    assert answer.status == 200
    assert (specs[0], texts[0]) == (specs[1], texts[1])
    OpenAPIV31SpecValidator(specs[0]).validate()
    assert yaml.load(texts[0], Loader=yaml.CSafeLoader) == specs[0]


async def test_the_page_shows_every_public_route_with_its_models(suite: RunningSuite) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{suite.url}/6/docs/spec") as answer:
        spec = await answer.json()
    paths = spec["paths"]
    for path in (
        "/6/handlers",
        "/6/handlers/{handler_id}/events",
        "/6/events/stats",
        "/6/faces",
        "/6/matcher/faces",
        "/6/sdk",
    ):
        assert path in paths
    assert not [path for path in paths if "/rpc/" in path or "/buckets" in path]
    draft = paths["/6/handlers"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert draft == {"$ref": "#/components/schemas/HandlerDraft"}
    operations = [operation["operationId"] for verbs in paths.values() for operation in verbs.values()]
    assert len(set(operations)) == len(operations)


async def test_capabilities_say_what_is_missing_and_what_would_fill_it(client: MienClient) -> None:
    capabilities = (await client.health())["capabilities"]
    estimators = capabilities["estimators"]
    assert estimators["face_descriptor"]["available"]
    assert estimators["face_descriptor"]["descriptor_version"] == 1001
    assert not estimators["mask"]["available"]
    assert estimators["mask"]["missing"]


async def test_request_ids_are_echoed_made_and_checked(suite: RunningSuite) -> None:
    mine = "1536751345,8b8b5937-2e9c-4e8b-a7a7-5caf86621b5a"
    async with aiohttp.ClientSession(suite.url) as session:
        async with session.get("/6/version", headers={"Luna-Request-Id": mine}) as answer:
            assert answer.headers["Luna-Request-Id"] == mine
        async with session.get("/6/version", headers={"Luna-Request-Id": mine.upper()}) as answer:
            assert answer.headers["Luna-Request-Id"] == mine.upper()
        async with session.get("/6/version") as answer:
            assert re.match(r"^\d{10},[0-9a-f-]{36}$", answer.headers["Luna-Request-Id"])
        async with session.get("/6/version", headers={"Luna-Request-Id": "mine"}) as answer:
            assert (answer.status, (await answer.json())["error_code"]) == (400, 12016)


async def test_answers_come_as_msgpack_to_who_asks_for_it(suite: RunningSuite) -> None:
    async with aiohttp.ClientSession(suite.url, headers=ACCOUNT) as session:
        async with session.post("/6/lists", json={}, headers={"Accept": "application/msgpack"}) as answer:
            created = msgpack.unpackb(await answer.read())
            assert answer.content_type == "application/msgpack"
        assert created["url"] == f"/6/lists/{created['list_id']}" == answer.headers["Location"]
        async with session.get("/6/lists", headers={"Accept": "text/csv"}) as answer:
            assert (answer.status, (await answer.json())["error_code"]) == (406, 12023)


async def test_a_stored_object_comes_back_as_it_was_sent(suite: RunningSuite) -> None:
    content = b'{"url": "/3/faces/7"}'
    async with aiohttp.ClientSession(suite.url, headers=ACCOUNT) as session:
        async with session.post("/6/objects", data=content, headers={"Content-Type": "application/json"}) as answer:
            url = (await answer.json())["url"]
        assert url.startswith("/6/objects/")
        async with session.get(url) as answer:
            assert await answer.read() == content


async def test_what_is_not_there_is_said_in_the_contracts_words(suite: RunningSuite) -> None:
    async with aiohttp.ClientSession(suite.url) as session:
        for method, path, headers, expected in (
            ("GET", "/nowhere", ACCOUNT, (404, 12013)),
            ("DELETE", "/6/version", ACCOUNT, (405, 12021)),
            ("GET", "/6/faces", {}, (400, 12010)),
            ("GET", f"/6/images/{new_id()}", {}, (400, 12010)),
            ("POST", "/6/sdk", {}, (400, 12010)),
            ("POST", "/6/lists", {**ACCOUNT, "Content-Type": "\udcff/json"}, (415, 12024)),
            ("GET", "/6/faces?page=0", ACCOUNT, (400, 12012)),
            ("GET", "/6/faces?page=1&page=2", ACCOUNT, (400, 12012)),
            ("GET", "/6/faces?color=red", ACCOUNT, (400, 12012)),
        ):
            async with session.request(method, path, headers=headers) as answer:
                body = await answer.json()
                assert (answer.status, body["error_code"]) == expected, (path, body)
                assert set(body) == {"error_code", "desc", "detail", "link"}


async def test_a_wrong_method_is_told_the_right_ones(suite: RunningSuite) -> None:
    async with aiohttp.ClientSession(suite.url) as session, session.put("/6/lists", headers=ACCOUNT) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "DELETE,GET,POST")


async def test_a_thousand_ids_fit_into_a_query(client: MienClient) -> None:
    list_id = await client.lists.create()
    assert [one.list_id for one in await client.lists.find(list_ids=[*(new_id() for _ in range(999)), list_id])] == [
        list_id
    ]


async def test_a_part_of_a_path_does_not_lead_to_a_route_that_is_not_public() -> None:
    routes = Routes("things", "/1")

    @routes.get("/things/{thing}")
    async def get_thing(call: Call) -> dict[str, str]:
        return {"thing": call.path("thing")}

    @routes.get("/secrets/{name}", public=False)
    async def get_secret(call: Call) -> dict[str, str]:
        return {"secret": call.path("name")}

    async def healthy() -> dict[str, str]:
        return {}

    servers = Servers()
    try:
        async with aiohttp.ClientSession() as session:
            inner = await servers.start(build_app("things", [("/1", routes)], healthy), "127.0.0.1", 0)
            table = outside(routes, Peers([f"http://127.0.0.1:{inner}"]), session)
            door = await servers.start(gateway.build({"things": table}, healthy, 1024), "127.0.0.1", 0)
            for part in ("..%2Fsecrets%2Fone", "..%2Fsecrets%2Fone%3F", "%2E%2E%2Fsecrets%2Fone%23"):
                url = URL(f"http://127.0.0.1:{door}/6/things/{part}", encoded=True)
                async with session.get(url, headers=ACCOUNT) as answer:
                    assert list(await answer.json()) == ["thing"]
    finally:
        await servers.stop()
