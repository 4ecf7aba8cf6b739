"""The matcher over HTTP: every route, in JSON and msgpack, and what it refuses."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgpack
import orjson
import pytest

from libs.common import descriptors
from libs.common.descriptors import pack_sdk
from libs.common.http.server import Servers, build_app
from libs.common.ids import new_id
from services.faces.service import Faces
from services.matcher import app as matcher_app
from tests.contract import event_stores, face_stores
from tests.contract.matching import OTHER_FACE, face, similarity, vector

MINE, THEIRS = new_id(), new_id()
FACES: dict[str, Any] = {"filters": {"origin": "faces"}, "targets": ["face_id", "similarity"]}


@dataclass
class Http:
    session: aiohttp.ClientSession
    url: str
    faces: Faces

    async def __call__(self, path: str, body: Any, account: str | None = MINE) -> tuple[int, Any]:
        headers = {"Luna-Account-Id": account} if account else {}
        async with self.session.post(f"{self.url}/1{path}", json=body, headers=headers) as answer:
            return answer.status, orjson.loads(await answer.read())


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[Http]:
    async with (
        face_stores.sqlite(tmp_path) as face_stored,
        event_stores.events_service(tmp_path) as events,
        aiohttp.ClientSession() as session,
    ):
        faces, servers = face_stored.faces(), Servers()
        part = await matcher_app.build(faces, events)
        app = build_app("matcher", [(part.routes.prefix, part.routes)], part.health)
        part.install(app)
        await part.start()
        yield Http(session, f"http://127.0.0.1:{await servers.start(app, '127.0.0.1', 0)}", faces)
        await servers.stop()
        await part.stop()


def raw(descriptor: bytes, **fields: Any) -> dict[str, Any]:
    data = {"descriptor": base64.b64encode(descriptor).decode(), "version": 1001}
    return {"type": "raw_descriptor", "data": data, **fields}


async def test_faces_are_matched_in_json_and_msgpack_alike(http: Http) -> None:
    [made] = await http.faces.create_faces(MINE, [face(vector(0.5), user_data="Ada")])
    expected = [
        {
            "reference": {"id": "probe", "type": "raw_descriptor"},
            "matches": [
                {
                    "filters": {"origin": "faces"},
                    "result": [{"face": {"face_id": made.face_id}, "similarity": similarity(0.5)}],
                }
            ],
        }
    ]
    asked = {"references": [raw(vector(), id="probe")], "candidates": [FACES]}
    assert await http("/matcher/faces", asked) == (200, expected)

    asked["references"][0]["data"]["descriptor"] = vector()
    headers = {"Luna-Account-Id": MINE, "Content-Type": "application/msgpack", "Accept": "application/msgpack"}
    url = f"{http.url}/1/matcher/faces"
    async with http.session.post(url, data=msgpack.packb(asked), headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "application/msgpack")
        assert msgpack.unpackb(await answer.read()) == expected


async def test_given_descriptors_are_matched_with_given_descriptors(http: Http) -> None:
    sdk = {"type": "sdk_descriptor", "id": "s", "data": base64.b64encode(pack_sdk(1001, vector(0.2))).decode()}
    asked = {"references": [raw(vector(), id="a"), sdk], "candidates": [raw(vector(0.5), id="far"), sdk]}
    far, near = {"id": "far", "type": "raw_descriptor"}, {"id": "s", "type": "sdk_descriptor"}

    flat = {"type": "raw_descriptor", "id": "a", **asked["references"][0]["data"]}
    flat["data"] = flat.pop("descriptor")
    assert await http("/matcher/raw", {**asked, "references": [flat, sdk]}) == await http("/matcher/raw", asked)

    status, answer = await http("/matcher/raw", {**asked, "threshold": similarity(0.4), "limit": 5}, account=None)
    assert status == 200
    assert [one["reference"] for one in answer] == [{"id": "a", "type": "raw_descriptor"}, near]
    results = [one["matches"][0]["result"] for one in answer]
    assert [[match["candidate"] for match in result] for result in results] == [[near], [near, far]]
    assert [match["similarity"] for match in results[1]] == pytest.approx([similarity(0), similarity(0.3)], rel=1e-6)


async def test_what_is_wrong_is_refused_by_name(http: Http) -> None:
    probe = raw(vector())
    good = {"references": [probe], "candidates": [FACES]}
    for path, body, status, code, named in [
        ("/matcher/faces", {**good, "references": []}, 400, 12022, "references"),
        ("/matcher/faces", {**good, "candidates": []}, 400, 12022, "candidates"),
        ("/matcher/faces", {**good, "candidates": [{"filters": {"origin": "cars"}}]}, 400, 12022, "origin"),
        ("/matcher/faces", {**good, "candidates": [{"filters": {"origin": "faces", "age": 3}}]}, 400, 12022, "age"),
        ("/matcher/faces", {**good, "candidates": [{**FACES, "threshold": 1.5}]}, 400, 12022, "threshold"),
        ("/matcher/faces", {**good, "candidates": [{**FACES, "targets": ["name"]}]}, 400, 22016, "name"),
        ("/matcher/faces", {**good, "candidates": [{**FACES, "limit": 5000}]}, 400, 34005, "1000"),
        ("/matcher/faces", {**good, "references": [{"type": "face", "id": THEIRS}]}, 400, 22002, THEIRS),
        ("/matcher/bodies", good, 400, 12022, "candidates.0.filters.origin"),
        ("/matcher/raw", {"references": [probe], "candidates": []}, 400, 12022, "candidates"),
        ("/matcher/raw", {"references": [probe], "candidates": [raw(b"short")]}, 400, 31006, "512"),
    ]:
        answered, error = await http(path, body)
        assert (answered, error["error_code"]) == (status, code), error
        assert named in error["detail"], error

    assert (await http("/matcher/faces", good, account=None))[1]["error_code"] == 12010


async def test_mixed_versions_are_refused(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setitem(descriptors.VERSIONS, OTHER_FACE.number, OTHER_FACE)
    other = raw(vector())
    other["data"]["version"] = OTHER_FACE.number
    status, error = await http("/matcher/raw", {"references": [raw(vector())], "candidates": [other]})
    assert (status, error["error_code"]) == (400, 31005)
    status, answer = await http("/matcher/raw", {"references": [other], "candidates": [other]})
    assert (status, len(answer[0]["matches"][0]["result"])) == (200, 1)


async def test_health_tells_the_rows_in_memory_and_how_far_behind_it_is(http: Http) -> None:
    await http.faces.create_faces(MINE, [face(vector(0.5)), face(vector(0.6))])
    await http("/matcher/faces", {"references": [raw(vector())], "candidates": [FACES]})
    await http.faces.create_faces(MINE, [face(vector(0.7))])
    async with http.session.get(f"{http.url}/1/healthcheck") as answer:
        health = await answer.json()
    assert (health["faces"]["rows"], health["faces"]["lag"] >= 1) == (2, True)
    assert health["events"] == {"rows": 0, "revision": 0, "lag": 0}
