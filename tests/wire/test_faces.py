"""The faces service over HTTP: every route, what it refuses, and what another account sees."""

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

from libs.common.http.server import Servers, build_app
from libs.common.ids import new_id
from libs.common.settings import StorageSettings
from libs.common.storage.storage import Storage
from services.faces import app as faces_app
from services.faces.routes import FACES, routes
from tests.clocks import Clock
from tests.contract.face_stores import descriptor, sqlite

MINE, THEIRS, ABSENT, SAMPLE = new_id(), new_id(), new_id(), new_id()
RAW = descriptor(1).descriptor
RAW_64 = base64.b64encode(RAW).decode()
DESCRIPTOR = {"descriptor": RAW_64, "version": 1001, "score": 0.5}
BASICS = {"age": 36, "gender": 0, "ethnicity": 4}
DATA = {
    "basic_attributes": BASICS,
    "descriptors": [DESCRIPTOR],
    "face_descriptor_samples": [SAMPLE],
    "basic_attributes_samples": [SAMPLE],
}
SAMPLES = {"face_descriptor_samples": [SAMPLE], "basic_attributes_samples": [SAMPLE]}


@dataclass
class Answer:
    status: int
    body: Any
    location: str | None

    @property
    def code(self) -> int:
        return self.body["error_code"]


class Http:
    """Calls of one account to a running service."""

    def __init__(self, session: aiohttp.ClientSession, url: str, account: str | None) -> None:
        self._session = session
        self._url = url
        self._headers = {} if account is None else {"Luna-Account-Id": account}
        self.clock = Clock()

    def as_account(self, account: str | None) -> Http:
        return Http(self._session, self._url, account)

    async def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        options = {"json": body, **options} if body is not None else options
        options["headers"] = {**self._headers, **options.pop("headers", {})}
        async with self._session.request(method, f"{self._url}{path}", **options) as answer:
            raw = await answer.read()
            parse = msgpack.unpackb if answer.content_type == "application/msgpack" else orjson.loads
            return Answer(answer.status, parse(raw) if raw else None, answer.headers.get("Location"))

    async def created(self, path: str, body: Any) -> str:
        """The id of what a POST made."""
        answer = await self("POST", path, body)
        assert answer.status == 201, answer
        return next(value for name, value in answer.body.items() if name.endswith("_id"))


async def _health() -> dict[str, Any]:
    return {}


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[Http]:
    turned, servers = Clock(), Servers()
    async with sqlite(tmp_path) as stores, aiohttp.ClientSession() as session:
        app = build_app("faces", [(routes.prefix, routes)], _health)
        app[FACES] = stores.faces(turned)
        port = await servers.start(app, "127.0.0.1", 0)
        http = Http(session, f"http://127.0.0.1:{port}/3", MINE)
        http.clock = turned
        yield http
        await servers.stop()


# Faces


async def test_a_face_is_created_read_changed_and_deleted(http: Http) -> None:
    list_id, event_id = await http.created("/lists", {}), new_id()
    draft = {"event_id": event_id, "user_data": "Ада", "external_id": "e-1", "avatar": "/6/a", "lists": [list_id]}
    made = await http("POST", "/faces", {**draft, "attribute": DATA})
    face_id = made.body["face_id"]
    assert (made.status, made.location) == (201, f"/3/faces/{face_id}")
    assert made.body == {"face_id": face_id, "url": f"/3/faces/{face_id}", "external_url": f"/6/faces/{face_id}"}

    stored = {**draft, "face_id": face_id, "account_id": MINE, "create_time": "2023-11-14T22:13:20.000Z"}
    assert await http("GET", f"/faces/{face_id}") == Answer(200, stored, None)
    assert (await http("GET", f"/faces/{face_id.upper()}")).body == stored
    assert (await http("HEAD", f"/faces/{face_id}")).status == 200
    chosen = await http("GET", f"/faces/{face_id}?targets=external_id,lists")
    assert chosen.body == {"external_id": "e-1", "lists": [list_id]}

    assert (await http("PATCH", f"/faces/{face_id}", {"external_id": None, "user_data": "Ada"})).status == 204
    assert (await http("PATCH", f"/faces/{face_id}", {})).status == 204
    assert (await http("GET", f"/faces/{face_id}")).body == {**stored, "external_id": None, "user_data": "Ada"}

    assert (await http("DELETE", f"/faces/{face_id}")).status == 204
    assert [(await http(verb, f"/faces/{face_id}")).status for verb in ("HEAD", "GET", "DELETE")] == [404, 404, 404]
    assert (await http("GET", f"/lists/{list_id}")).body["face_ids"] == []


async def test_put_creates_a_face_and_then_replaces_all_but_its_time(http: Http) -> None:
    list_id, face_id = await http.created("/lists", {}), new_id()
    first = await http("PUT", f"/faces/{face_id}", {"user_data": "one", "lists": [list_id], "attribute": DATA})
    assert (first.status, first.location, first.body["face_id"]) == (201, f"/3/faces/{face_id}", face_id)
    http.clock.advance(5)
    second = await http("PUT", f"/faces/{face_id}", {"external_id": "e", "face_id": face_id})
    assert (second.status, second.location, second.body) == (200, None, first.body)
    assert (await http("GET", f"/faces/{face_id}")).body == {
        "face_id": face_id,
        "account_id": MINE,
        "create_time": "2023-11-14T22:13:20.000Z",
        "event_id": None,
        "user_data": "",
        "external_id": "e",
        "avatar": None,
        "lists": [],
    }
    assert (await http("GET", f"/faces/{face_id}/attributes")).code == 11032


async def test_faces_are_listed_filtered_counted_and_paged(http: Http) -> None:
    list_id = await http.created("/lists", {})
    ids = []
    for name, listed, attribute in (("Ada", [], None), ("ADAM", [list_id], DATA), ("Грейс", [list_id], None)):
        ids.append(await http.created("/faces", {"user_data": name, "lists": listed, "attribute": attribute}))
        http.clock.advance(1)

    async def found(query: str) -> list[str]:
        answer = await http("GET", f"/faces?targets=face_id{query}")
        assert answer.status == 200, answer
        return [face["face_id"] for face in answer.body["faces"]]

    newest_first = list(reversed(ids))
    assert await found("") == newest_first
    assert [await found(f"&page={page}&page_size=2") for page in (1, 2, 3)] == [newest_first[:2], newest_first[2:], []]
    assert await found("&user_data=ada") == [ids[1], ids[0]]
    assert await found("&user_data=гРЕЙС") == [ids[2]]
    assert await found(f"&list_id={list_id}") == [ids[2], ids[1]]
    assert await found(f"&face_ids={ids[0]},{ids[2]},{ABSENT}") == [ids[2], ids[0]]
    assert await found("&face_ids=") == []
    assert [set(face) for face in (await http("GET", "/faces?targets=&page_size=1")).body["faces"]] == [
        {"face_id", "account_id", "create_time", "event_id", "user_data", "external_id", "avatar", "lists"}
    ]
    assert await found("&time__gte=2023-11-15T00:13:22+02:00") == [ids[2]]
    for name in ("time", "create_time"):
        assert await found(f"&{name}__gte=2023-11-14T22:13:21Z&{name}__lt=2023-11-14T22:13:22Z") == [ids[1]]
    assert await found("&time__gte=now-1d") == []
    assert await found(f"&face_id__gte={min(ids)}&page_size=2") == sorted(ids)[:2]
    assert (await http("GET", f"/faces/count?list_id={list_id}")).body == {"faces_count": 2}
    assert (await http("GET", f"/faces/attributes/count?list_id={list_id}")).body == {"faces_count": 1}


async def test_several_faces_are_deleted_together_or_not_at_all(http: Http) -> None:
    first, second, third = [await http.created("/faces", {}) for _ in range(3)]
    refused = await http("DELETE", "/faces", {"face_ids": [first, ABSENT]})
    assert (refused.status, refused.code) == (400, 22004)
    assert ABSENT in refused.body["detail"]
    assert (await http("HEAD", f"/faces/{first}")).status == 200
    assert (await http("DELETE", "/faces", {"face_ids": [first, second]})).status == 204
    assert (await http("DELETE", "/faces?ignore=1", {"face_ids": [first, third, ABSENT]})).status == 204
    assert (await http("GET", "/faces/count")).body == {"faces_count": 0}


# A face's own attribute


async def test_a_faces_attribute_is_put_read_merged_and_deleted(http: Http) -> None:
    face_id = await http.created("/faces", {})
    path = f"/faces/{face_id}/attributes"
    assert [(await http(verb, path, body)).code for verb, body in (("GET", None), ("PATCH", DATA))] == [11032, 22010]
    assert (await http("GET", f"{path}/samples")).code == 11032
    assert (await http("PUT", path, DATA)).status == 204

    stored = (await http("GET", path)).body
    attribute_id = stored["attribute_id"]
    assert stored == {
        "attribute_id": attribute_id,
        "account_id": MINE,
        "create_time": "2023-11-14T22:13:20.000Z",
        "face_descriptor": DESCRIPTOR,
        "basic_attributes": BASICS,
        **SAMPLES,
    }
    assert (await http("GET", f"{path}/samples")).body == SAMPLES
    assert (await http("GET", f"{path}?targets=basic_attributes")).body == {"basic_attributes": BASICS}
    assert (await http("GET", f"/faces?attribute_ids={attribute_id}&targets=face_id")).body == {
        "faces": [{"face_id": face_id}]
    }
    ids = await http("POST", "/faces/attributes", {"face_ids": [face_id, await http.created("/faces", {})]})
    assert ids == Answer(200, {"attributes": [{"face_id": face_id, "attribute_id": attribute_id}]}, None)

    change = {"basic_attributes": {"age": 37, "gender": None}}
    assert (await http("PATCH", path, change)).status == 204
    assert (await http("GET", path)).body == {
        **stored,
        "basic_attributes": {"age": 37, "gender": None, "ethnicity": 4},
    }
    assert (await http("PATCH", path, {"basic_attributes": None, "basic_attributes_samples": []})).status == 204
    assert (await http("GET", f"{path}?targets=basic_attributes")).body == {"basic_attributes": None}

    assert (await http("DELETE", path)).status == 204
    assert (await http("DELETE", path)).status == 204
    assert (await http("GET", path)).code == 11032
    assert (await http("HEAD", f"/faces/{face_id}")).status == 200


async def test_a_patch_may_not_mix_samples(http: Http) -> None:
    face_id = await http.created("/faces", {"attribute": DATA})
    path, other = f"/faces/{face_id}/attributes", new_id()
    for patch in (
        {"face_descriptor_samples": [other]},
        {"basic_attributes": {"age": 37}, "basic_attributes_samples": [other]},
    ):
        refused = await http("PATCH", path, patch)
        assert (refused.status, refused.code) == (400, 22025)
        assert SAMPLE in refused.body["detail"]
    assert (await http("GET", f"{path}/samples")).body == SAMPLES
    for patch in (
        {"descriptors": [{"descriptor": RAW_64, "version": 1001}], "face_descriptor_samples": [other]},
        {"basic_attributes": BASICS, "basic_attributes_samples": [other]},
    ):
        assert (await http("PATCH", path, patch)).status == 204
    assert (await http("GET", f"{path}/samples")).body == {name: [other] for name in SAMPLES}


async def test_a_temporary_attribute_merges_into_what_a_face_has(http: Http) -> None:
    face_id = await http.created("/faces", {"attribute": {"basic_attributes": BASICS}})
    temporary = await http.created("/attributes", {"descriptors": [DESCRIPTOR], "basic_attributes": {"age": 50}})
    path = f"/faces/{face_id}/attributes"
    assert (await http("PATCH", path, {"attribute_id": temporary})).status == 204
    merged = (await http("GET", f"{path}?targets=basic_attributes,descriptor")).body
    assert merged == {"basic_attributes": {**BASICS, "age": 50}, "face_descriptor": DESCRIPTOR}


async def test_a_descriptor_that_was_asked_for_must_be_there(http: Http) -> None:
    face_id = await http.created("/faces", {"attribute": {"basic_attributes": BASICS}})
    temporary = await http.created("/attributes", {"basic_attributes": BASICS})
    for path in (f"/faces/{face_id}/attributes", f"/attributes/{temporary}"):
        assert (await http("GET", path)).body["face_descriptor"] is None
        for query in ("descriptor_version=1001", "targets=face_descriptor", "targets=descriptor"):
            refused = await http("GET", f"{path}?{query}")
            assert (refused.status, refused.code) == (400, 22018)
        unknown = await http("GET", f"{path}?descriptor_version=7")
        assert (unknown.status, unknown.code) == (400, 12036)


# Temporary attributes


async def test_a_temporary_attribute_is_created_read_and_deleted(http: Http) -> None:
    made = await http("POST", "/attributes", {**DATA, "ttl": 60})
    attribute_id = made.body["attribute_id"]
    path = f"/attributes/{attribute_id}"
    assert made == Answer(201, {"attribute_id": attribute_id, "url": f"/3{path}"}, f"/3{path}")
    stored = {
        "attribute_id": attribute_id,
        "account_id": MINE,
        "create_time": "2023-11-14T22:13:20.000Z",
        "face_descriptor": DESCRIPTOR,
        "basic_attributes": BASICS,
        **SAMPLES,
    }
    assert await http("GET", path) == Answer(200, stored, None)
    assert (await http("HEAD", path)).status == 200
    assert (await http("GET", f"{path}/samples")).body == SAMPLES
    found = await http("GET", f"/attributes?attribute_ids={attribute_id},{ABSENT}&targets=face_descriptors_samples")
    assert found.body == {"attributes": [{"face_descriptor_samples": [SAMPLE]}]}
    assert (await http("DELETE", path)).status == 204
    assert [(await http(verb, path)).status for verb in ("HEAD", "GET", "DELETE")] == [404, 404, 404]


async def test_a_temporary_attribute_expires(http: Http) -> None:
    attribute_id = await http.created("/attributes", {**DATA, "ttl": 60})
    http.clock.advance(60)
    for path in (f"/attributes/{attribute_id}", f"/attributes/{attribute_id}/samples"):
        gone = await http("GET", path)
        assert (gone.status, gone.code) == (404, 22011)
    assert (await http("GET", f"/attributes?attribute_ids={attribute_id}")).body == {"attributes": []}
    copied = await http("POST", "/faces", {"attribute": {"attribute_id": attribute_id}})
    assert (copied.status, copied.code) == (400, 22011)
    assert (await http("PUT", f"/attributes/{attribute_id}", DATA)).status == 201


async def test_a_temporary_attribute_is_replaced_only_by_force(http: Http) -> None:
    path = f"/attributes/{new_id()}"
    first = await http("PUT", path, DATA)
    assert (first.status, first.location, first.body["url"]) == (201, f"/3{path}", f"/3{path}")
    refused = await http("PUT", path, {"basic_attributes": {"age": 1}})
    assert (refused.status, refused.code) == (409, 12043)
    assert (await http("GET", path)).body["basic_attributes"] == BASICS
    forced = await http("PUT", f"{path}?force=1", {"basic_attributes": {"age": 1}})
    assert (forced.status, forced.location) == (200, None)
    replaced = (await http("GET", path)).body
    assert (replaced["basic_attributes"]["age"], replaced["face_descriptor"]) == (1, None)


async def test_descriptors_travel_as_bytes_in_msgpack(http: Http) -> None:
    body = msgpack.packb({"descriptors": [{"descriptor": RAW, "version": 1001}]})
    kinds = {"Content-Type": "application/msgpack", "Accept": "application/msgpack"}
    made = await http("POST", "/attributes", data=body, headers=kinds)
    read = await http("GET", f"/attributes/{made.body['attribute_id']}", headers=kinds)
    assert read.body["face_descriptor"] == {"descriptor": RAW, "version": 1001, "score": None}


# Lists


async def test_a_list_is_created_read_changed_and_deleted(http: Http) -> None:
    made = await http("POST", "/lists", {"user_data": "Staff"})
    list_id = made.body["list_id"]
    path = f"/lists/{list_id}"
    assert made == Answer(201, {"list_id": list_id, "url": f"/3{path}"}, f"/3{path}")
    ids = sorted([await http.created("/faces", {"lists": [list_id]}) for _ in range(3)])
    moment = "2023-11-14T22:13:20.000Z"
    stored = {
        "list_id": list_id,
        "account_id": MINE,
        "user_data": "Staff",
        "create_time": moment,
        "last_update_time": moment,
    }
    assert await http("GET", f"{path}?page=2&page_size=2") == Answer(200, {**stored, "face_ids": ids[2:]}, None)
    assert (await http("HEAD", path)).status == 200
    http.clock.advance(1)
    assert (await http("PATCH", path, {"user_data": "Guests"})).status == 204
    assert (await http("GET", path)).body == {**stored, "user_data": "Guests", "face_ids": ids}
    assert (await http("DELETE", path)).status == 204
    assert [(await http(verb, path)).status for verb in ("HEAD", "GET", "DELETE")] == [404, 404, 404]
    assert (await http("GET", f"/faces/{ids[0]}")).body["lists"] == []


async def test_lists_are_listed_filtered_counted_and_paged(http: Http) -> None:
    ids = []
    for name in ("staff", "Staff", "guests"):
        ids.append(await http.created("/lists", {"user_data": name}))
        http.clock.advance(1)

    async def found(query: str) -> list[str]:
        answer = await http("GET", f"/lists?{query}")
        assert answer.status == 200, answer
        return [one["list_id"] for one in answer.body["lists"]]

    assert await found("page_size=2") == [ids[2], ids[1]]
    assert await found("page_size=2&page=2") == [ids[0]]
    assert await found("user_data=taf") == [ids[1], ids[0]]
    assert await found("user_data=Sta") == [ids[1]]
    assert await found("user_data__eq=staff") == [ids[0]]
    assert await found(f"list_ids={ids[0]},{ABSENT}") == [ids[0]]
    assert await found(f"list_id__gte={min(ids)}&list_id__lt={max(ids)}") == sorted(ids)[:2]
    assert await found("create_time__gte=2023-11-14T22:13:21Z&last_update_time__lt=2023-11-14T22:13:22Z") == [ids[1]]
    assert (await http("GET", "/lists/count?user_data=taf")).body == {"lists_count": 2}


async def test_creating_a_list_again_is_harmless(http: Http) -> None:
    list_id = new_id()
    answers = [await http("POST", "/lists", {"list_id": list_id, "user_data": name}) for name in ("one", "two")]
    assert answers[0] == answers[1]
    assert (await http("GET", f"/lists/{list_id}")).body["user_data"] == "one"


@pytest.mark.parametrize("by_path", [False, True], ids=["linker", "path of the list"])
async def test_faces_are_attached_and_detached(http: Http, by_path: bool) -> None:
    list_id, face_id = await http.created("/lists", {}), await http.created("/faces", {})
    path, named = (f"/lists/{list_id}/faces", {}) if by_path else ("/linker", {"list_id": list_id})
    for action, linked in (("attach", [list_id]), ("attach", [list_id]), ("detach", []), ("detach", [])):
        assert (await http("PATCH", path, {**named, "face_ids": [face_id], "action": action})).status == 204
        assert (await http("GET", f"/faces/{face_id}")).body["lists"] == linked
    refused = await http("PATCH", path, {**named, "face_ids": [face_id, ABSENT], "action": "attach"})
    assert (refused.status, refused.code) == (400, 22004)
    assert (await http("GET", f"/faces/{face_id}")).body["lists"] == []


@pytest.mark.parametrize("by_path", [False, True], ids=["ids in the body", "id in the path"])
async def test_lists_are_deleted_with_or_without_their_faces(http: Http, by_path: bool) -> None:
    first, second = await http.created("/lists", {}), await http.created("/lists", {})
    both = await http.created("/faces", {"lists": [first, second]})
    only = await http.created("/faces", {"lists": [second]})

    async def delete(list_id: str, query: str) -> int:
        if by_path:
            return (await http("DELETE", f"/lists/{list_id}{query}")).status
        refused = await http("DELETE", f"/lists{query}", {"list_ids": [list_id, ABSENT]})
        assert (refused.status, refused.code) == (400, 22005)
        return (await http("DELETE", f"/lists{query}", {"list_ids": [list_id]})).status

    assert await delete(first, "") == 204
    assert (await http("GET", f"/faces/{both}")).body["lists"] == [second]
    assert await delete(second, "?with_faces=1") == 202
    assert [(await http("HEAD", f"/faces/{face_id}")).status for face_id in (both, only)] == [404, 404]
    assert (await http("GET", "/lists/count")).body == {"lists_count": 0}


# What is refused


REFUSED: list[tuple[str, str, Any, int, int]] = [
    ("GET", "/faces/{absent}", None, 404, 22002),
    ("GET", "/faces/no-uuid", None, 404, 22002),
    ("GET", "/faces/no-uuid/attributes", None, 404, 22002),
    ("PATCH", "/faces/no-uuid", {"user_data": "x"}, 404, 22002),
    ("PUT", "/faces/no-uuid/attributes", DATA, 404, 22002),
    ("DELETE", "/faces/no-uuid", None, 404, 22002),
    ("GET", "/attributes/no-uuid", None, 404, 22011),
    ("GET", "/lists/no-uuid", None, 404, 22003),
    ("DELETE", "/lists/no-uuid?with_faces=1", None, 404, 22003),
    ("PATCH", "/lists/no-uuid/faces", {"face_ids": [ABSENT], "action": "attach"}, 404, 22003),
    ("PATCH", "/faces/{absent}", {"user_data": "x"}, 404, 22002),
    ("DELETE", "/faces/{absent}", None, 404, 22002),
    ("GET", "/faces/{absent}/attributes", None, 404, 22002),
    ("GET", "/faces/{absent}/attributes/samples", None, 404, 22002),
    ("PUT", "/faces/{absent}/attributes", DATA, 404, 22002),
    ("PATCH", "/faces/{absent}/attributes", DATA, 404, 22002),
    ("DELETE", "/faces/{absent}/attributes", None, 404, 22002),
    ("GET", "/attributes/{absent}", None, 404, 22011),
    ("GET", "/attributes/{absent}/samples", None, 404, 22011),
    ("DELETE", "/attributes/{absent}", None, 404, 22011),
    ("GET", "/lists/{absent}", None, 404, 22003),
    ("PATCH", "/lists/{absent}", {"user_data": "x"}, 404, 22003),
    ("PATCH", "/lists/{absent}/faces", {"face_ids": [ABSENT], "action": "attach"}, 404, 22003),
    ("DELETE", "/lists/{absent}", None, 404, 22003),
    ("DELETE", "/lists/{absent}?with_faces=1", None, 404, 22003),
    ("PATCH", "/linker", {"list_id": ABSENT, "face_ids": [ABSENT], "action": "attach"}, 400, 22003),
    ("POST", "/faces/attributes", {"face_ids": [ABSENT]}, 400, 22004),
    ("POST", "/faces", {"lists": [ABSENT]}, 400, 22005),
    ("PUT", "/faces/{absent}", {"lists": [ABSENT]}, 400, 22005),
    ("DELETE", "/lists", {"list_ids": [ABSENT]}, 400, 22005),
    ("POST", "/faces", {"attribute": {"attribute_id": ABSENT}}, 400, 22011),
    ("PUT", "/faces/{absent}", {"attribute": {"attribute_id": ABSENT}}, 400, 22011),
    ("PUT", "/faces/{absent}/attributes", {"attribute_id": ABSENT}, 400, 22011),
    ("GET", "/faces?targets=face_id,nose", None, 400, 22016),
    ("GET", "/faces/{absent}?targets=nose", None, 400, 22016),
    ("GET", "/faces/{absent}/attributes?targets=nose", None, 400, 22016),
    ("GET", "/attributes/{absent}?targets=nose", None, 400, 22016),
    ("GET", "/attributes?attribute_ids={absent}&descriptor_version=9", None, 400, 12036),
    ("GET", "/attributes", None, 400, 12012),
    ("GET", "/faces?page_size=-1", None, 400, 12012),
    ("GET", "/faces?page_size=1001", None, 400, 12012),
    ("GET", "/faces?face_ids=1,2", None, 400, 12012),
    ("GET", "/faces?time__gte=yesterday", None, 400, 12012),
    ("GET", "/faces?colour=red", None, 400, 12012),
    ("GET", "/lists?list_id__gte=1", None, 400, 12012),
    ("DELETE", "/faces?ignore=yes", {"face_ids": [ABSENT]}, 400, 12012),
    ("POST", "/faces", {"nose": 1}, 400, 12022),
    ("POST", "/faces", {"user_data": "x" * 129}, 400, 12022),
    ("POST", "/faces", {"attribute": {**DATA, "attribute_id": ABSENT}}, 400, 12022),
    ("POST", "/faces", {"attribute": {"descriptors": [DESCRIPTOR, DESCRIPTOR]}}, 400, 12022),
    ("POST", "/faces", {"attribute": {"descriptors": [{**DESCRIPTOR, "version": 9}]}}, 400, 12036),
    ("POST", "/faces", {"attribute": {"descriptors": [{**DESCRIPTOR, "descriptor": "AAAA"}]}}, 400, 31006),
    ("PUT", "/faces/no-uuid", {}, 400, 12012),
    ("PUT", "/faces/{absent}", {"face_id": SAMPLE}, 400, 12022),
    ("PUT", "/faces/{absent}/attributes", {}, 400, 12022),
    ("DELETE", "/faces", {"face_ids": []}, 400, 12022),
    ("DELETE", "/faces", {"face_ids": [ABSENT] * 1001}, 400, 12022),
    ("POST", "/attributes", {}, 400, 12022),
    ("POST", "/attributes", {**DATA, "ttl": 86401}, 400, 12022),
    ("POST", "/attributes", {**DATA, "ttl": 0}, 400, 12022),
    ("PUT", "/attributes/no-uuid", DATA, 400, 12012),
    ("POST", "/lists", {"list_id": "1"}, 400, 12022),
    ("PATCH", "/linker", {"list_id": ABSENT, "face_ids": [ABSENT], "action": "glue"}, 400, 12022),
]


async def test_a_bad_request_is_told_what_is_wrong(http: Http) -> None:
    for method, path, body, status, code in REFUSED:
        answer = await http(method, path.format(absent=ABSENT), body)
        assert (answer.status, answer.code) == (status, code), (method, path, answer.body)
        assert set(answer.body) == {"error_code", "desc", "detail", "link"}
        assert answer.body["detail"], (method, path)
    assert (await http("GET", "/faces/count")).body == {"faces_count": 0}
    assert (await http("GET", "/lists/count")).body == {"lists_count": 0}


# Accounts


async def test_a_call_without_an_account_is_refused(http: Http) -> None:
    nobody = http.as_account(None)
    for route in routes:
        path = route.path.replace("{", "").replace("}", "")
        body = {"POST": {}, "PUT": {}, "PATCH": {}}.get(route.method)
        answer = await nobody(route.method, path, body)
        assert answer.status == 400, (route.method, path, answer)
    assert (await nobody("GET", "/faces")).code == 12010
    assert (await http.as_account("me")("GET", "/faces")).code == 12016


async def test_what_belongs_to_another_account_is_not_there(http: Http) -> None:
    list_id = await http.created("/lists", {"user_data": "mine"})
    temporary = await http.created("/attributes", DATA)
    face_id = await http.created("/faces", {"user_data": "mine", "lists": [list_id], "attribute": DATA})
    paths = f"/faces/{face_id}", f"/faces/{face_id}/attributes", f"/lists/{list_id}", f"/attributes/{temporary}"
    before = [(await http("GET", path)).body for path in paths]
    other = http.as_account(THEIRS)
    own_face, own_list = await other.created("/faces", {}), await other.created("/lists", {})

    def links(to: str, face: str, action: str = "attach") -> dict[str, Any]:
        return {"list_id": to, "face_ids": [face], "action": action}

    for method, path, body, status, code in [
        ("GET", f"/faces/{face_id}", None, 404, 22002),
        ("PATCH", f"/faces/{face_id}", {"user_data": "stolen"}, 404, 22002),
        ("DELETE", f"/faces/{face_id}", None, 404, 22002),
        ("GET", f"/faces/{face_id}/attributes", None, 404, 22002),
        ("PUT", f"/faces/{face_id}/attributes", {"basic_attributes": {"age": 1}}, 404, 22002),
        ("PATCH", f"/faces/{face_id}/attributes", {"basic_attributes": {"age": 1}}, 404, 22002),
        ("DELETE", f"/faces/{face_id}/attributes", None, 404, 22002),
        ("GET", f"/faces/{face_id}/attributes/samples", None, 404, 22002),
        ("POST", "/faces/attributes", {"face_ids": [face_id]}, 400, 22004),
        ("DELETE", "/faces", {"face_ids": [face_id]}, 400, 22004),
        ("PUT", f"/faces/{face_id}", {"user_data": "stolen"}, 409, 12043),
        ("POST", "/faces", {"face_id": face_id}, 409, 12043),
        ("POST", "/faces", {"lists": [list_id]}, 400, 22005),
        ("POST", "/faces", {"attribute": {"attribute_id": temporary}}, 400, 22011),
        ("GET", f"/attributes/{temporary}", None, 404, 22011),
        ("GET", f"/attributes/{temporary}/samples", None, 404, 22011),
        ("DELETE", f"/attributes/{temporary}", None, 404, 22011),
        ("PUT", f"/attributes/{temporary}?force=1", {"basic_attributes": {"age": 1}}, 409, 12043),
        ("POST", "/attributes", {"attribute_id": temporary, "basic_attributes": {"age": 1}}, 409, 12043),
        ("GET", f"/lists/{list_id}", None, 404, 22003),
        ("PATCH", f"/lists/{list_id}", {"user_data": "stolen"}, 404, 22003),
        ("DELETE", f"/lists/{list_id}?with_faces=1", None, 404, 22003),
        ("DELETE", "/lists?with_faces=1", {"list_ids": [list_id]}, 400, 22005),
        ("POST", "/lists", {"list_id": list_id}, 409, 12043),
        ("PATCH", "/linker", links(list_id, own_face), 400, 22003),
        ("PATCH", "/linker", links(list_id, face_id, "detach"), 400, 22003),
        ("PATCH", "/linker", links(own_list, face_id), 400, 22004),
        ("PATCH", f"/lists/{list_id}/faces", {"face_ids": [own_face], "action": "attach"}, 404, 22003),
    ]:
        answer = await other(method, path, body)
        assert (answer.status, answer.code) == (status, code), (method, path, answer.body)
        assert "mine" not in str(answer.body)
    for path in (f"/faces/{face_id}", f"/lists/{list_id}", f"/attributes/{temporary}"):
        assert (await other("HEAD", path)).status == 404
    assert (await other("DELETE", "/faces?ignore=1", {"face_ids": [face_id]})).status == 204
    assert (await other("GET", f"/attributes?attribute_ids={temporary}")).body == {"attributes": []}
    assert (await other("GET", f"/faces?list_id={list_id}")).body == {"faces": []}
    assert (await other("GET", f"/faces/count?face_ids={face_id}")).body == {"faces_count": 0}
    assert (await other("GET", f"/lists?list_ids={list_id}")).body == {"lists": []}

    assert [(await http("GET", path)).body for path in paths] == before


# The service as a whole


async def test_the_service_keeps_its_file_across_starts(tmp_path: Path) -> None:
    face_id = new_id()
    for status in (201, 200):
        part = await faces_app.build(Storage(StorageSettings(data_dir=tmp_path / "deep")))
        await part.start()
        servers = Servers()
        app = build_app("faces", [(part.routes.prefix, part.routes)], part.health)
        part.install(app)
        port = await servers.start(app, "127.0.0.1", 0)
        async with aiohttp.ClientSession() as session:
            http = Http(session, f"http://127.0.0.1:{port}/3", MINE)
            assert (await http("PUT", f"/faces/{face_id}", {})).status == status
            assert (await http("GET", "/healthcheck")).status == 200
        await servers.stop()
        await part.stop()
