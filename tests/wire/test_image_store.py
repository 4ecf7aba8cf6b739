"""The image store over real HTTP. Section 19 of the wire contract."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from PIL import Image as Picture

from libs.common import clock
from libs.common.errors import Code
from libs.common.http.server import Servers, build_app
from libs.common.ids import new_id
from libs.common.settings import StorageSettings
from libs.common.storage.storage import Storage
from libs.common.wire.images import FACE_SAMPLES, OBJECTS, PLATFORM_BUCKETS
from services.image_store.app import build
from tests.photos import astronaut_jpeg

MINE, THEIRS = new_id(), new_id()
IMAGES, OBJECTS_URL = f"/buckets/{FACE_SAMPLES}/images", f"/buckets/{OBJECTS}/objects"
EXPIRY = "X-Luna-Expiry-Date"


def encoded(form: str, mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> bytes:
    stream = io.BytesIO()
    Picture.new(mode, size, 128 if mode == "L" else None).save(stream, form)
    return stream.getvalue()


JPEG = encoded("JPEG")


def bomb() -> bytes:
    """A PNG of a few bytes that says it is 20,000 x 20,000 pixels."""
    header = b"IHDR" + (20_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    png = encoded("PNG")
    return png[:12] + header + zlib.crc32(header).to_bytes(4, "big") + png[33:]


@dataclass
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Store:
    """Calls routes, for one account unless told otherwise."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session, self._address = session, address

    async def __call__(
        self,
        method: str,
        path: str,
        data: Any = None,
        kind: str | None = None,
        account: str | None = MINE,
        **headers: str,
    ) -> Answer:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given |= {"Luna-Account-Id": account} if account else {}
        given |= {"Content-Type": kind} if kind else {}
        async with self._session.request(
            method, self._address + path, data=data, headers=given, skip_auto_headers=["Content-Type"]
        ) as answer:
            return Answer(answer.status, answer.headers, await answer.read())


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    storage = Storage(StorageSettings(data_dir=tmp_path, durable=False))
    part = await build(storage)
    app = build_app("image-store", [(part.routes.prefix, part.routes)], part.health)
    part.install(app)
    servers = Servers()
    port = await servers.start(app, "127.0.0.1", 0)
    await part.start()
    async with aiohttp.ClientSession() as session:
        yield Store(session, f"http://127.0.0.1:{port}/1")
    await servers.stop()
    await part.stop()
    await storage.close()


async def test_a_photo_lives_its_whole_life(store: Store) -> None:
    photo = astronaut_jpeg()
    created = await store("POST", IMAGES, photo, "image/jpeg", X_Luna_Meta_Camera="Tür 3")
    url = created.json["url"]
    plain = await store("GET", url.removeprefix("/1"))
    full = await store("GET", url.removeprefix("/1") + "?with_meta=1")
    head = await store("HEAD", url.removeprefix("/1") + "?with_meta=1")

    assert (created.status, created.headers["Location"]) == (201, url)
    assert url == f"/1{IMAGES}/{created.json['image_id']}"
    assert (plain.status, plain.headers["Content-Type"], plain.body) == (200, "image/jpeg", photo)
    assert "X-Luna-Meta-Camera" not in plain.headers
    assert EXPIRY not in plain.headers
    assert full.headers["X-Luna-Meta-Camera"] == "Tür 3"
    for name in ("Content-Type", "Content-Length", "ETag", "X-Luna-Meta-Camera"):
        assert head.headers[name] == full.headers[name]
    assert (head.status, head.body) == (200, b"")

    assert (await store("DELETE", url.removeprefix("/1"))).status == 204
    for method in ("GET", "HEAD", "DELETE"):
        missing = await store(method, url.removeprefix("/1"))
        assert missing.status == 404
        assert method == "HEAD" or missing.json["error_code"] == Code.IMAGE_MISSING.number


async def test_the_caller_chooses_the_id_and_may_replace(store: Store) -> None:
    image_id = new_id()
    first = await store("PUT", f"{IMAGES}/{image_id.upper()}", JPEG)
    again = await store("PUT", f"{IMAGES}/{image_id}", encoded("PNG", size=(9, 9)), "image/png")
    bad = await store("PUT", f"{IMAGES}/face-1", JPEG)

    assert (first.status, first.json["image_id"]) == (201, image_id)
    assert (again.status, again.json["url"]) == (200, f"/1{IMAGES}/{image_id}")
    assert Picture.open(io.BytesIO((await store("GET", f"{IMAGES}/{image_id}")).body)).size == (9, 9)
    assert (bad.status, bad.json["error_code"]) == (400, Code.BAD_QUERY.number)


@pytest.mark.parametrize(
    ("form", "mode", "kind"),
    [
        ("PNG", "RGB", "image/png"),
        ("PNG", "RGBA", "image/png"),
        ("PNG", "P", "image/png"),
        ("PNG", "I;16", "image/png"),
        ("PNG", "1", "image/png"),
        ("BMP", "RGB", "image/x-ms-bmp"),
        ("TIFF", "RGB", "image/tiff"),
        ("TIFF", "CMYK", "image/tiff"),
        ("PPM", "RGB", "image/x-portable-pixmap"),
        ("WEBP", "RGB", "image/webp"),
    ],
)
async def test_other_formats_become_jpeg(store: Store, form: str, mode: str, kind: str) -> None:
    created = await store("POST", IMAGES, encoded(form, mode), kind)
    kept = await store("GET", created.json["url"].removeprefix("/1"))

    with Picture.open(io.BytesIO(kept.body)) as picture:
        assert (picture.format, picture.size, picture.mode) == ("JPEG", (40, 30), "RGB")
    assert kept.headers["Content-Type"] == "image/jpeg"


async def test_sixteen_bits_of_grey_keep_their_shades(store: Store) -> None:
    stream = io.BytesIO()
    Picture.fromarray(np.full((16, 16), 128 * 256, dtype=np.uint16)).save(stream, "PNG")
    created = await store("POST", IMAGES, stream.getvalue(), "image/png")
    kept = await store("GET", created.json["url"].removeprefix("/1"))

    assert np.asarray(Picture.open(io.BytesIO(kept.body))).mean() == pytest.approx(128, abs=1)


@pytest.mark.parametrize(
    ("data", "kind", "code"),
    [
        (b"", "image/jpeg", Code.EMPTY_BODY),
        (JPEG, "image/gif", Code.UNSUPPORTED_MEDIA),
        (JPEG, "text/plain", Code.UNSUPPORTED_MEDIA),
        (JPEG, "jpeg", Code.BAD_CONTENT_TYPE),
        (JPEG, "image/png", Code.CONTENT_MISMATCH),
        (b"no picture at all", "image/jpeg", Code.CONTENT_MISMATCH),
        (JPEG[:200], "image/jpeg", Code.BROKEN_IMAGE),
        (JPEG[:-200], "image/jpeg", Code.BROKEN_IMAGE),
        (encoded("PNG")[:50], "image/png", Code.BROKEN_IMAGE),
        (b"II*\0" + bytes(60), "image/tiff", Code.BROKEN_IMAGE),
        (b"P6 1 x", "image/x-portable-pixmap", Code.BROKEN_IMAGE),
        (bomb(), "image/png", Code.IMAGE_TOO_LARGE),
        (b"P6 9000 9000 255 ", "image/x-portable-pixmap", Code.IMAGE_TOO_LARGE),
        (b"P6 90000 90000 255 ", "image/x-portable-pixmap", Code.IMAGE_TOO_LARGE),
    ],
)
async def test_what_is_no_good_picture_is_refused(store: Store, data: bytes, kind: str, code: Code) -> None:
    answer = await store("POST", IMAGES, data, kind)

    assert (answer.status, answer.json["error_code"]) == (code.status, code.number), answer.json


async def test_objects_keep_their_bytes_and_their_type(store: Store) -> None:
    for kind, data in [
        ("text/plain; charset=utf-8", "Grüße".encode()),
        ("application/zip", b"PK\3\4"),
        ("application/pdf", b"%PDF-"),
        ("application/octet-stream", b"\0"),
        (None, b'{"a": 1}'),
    ]:
        created = await store("POST", OBJECTS_URL, data, kind, X_Luna_Meta_Task="7")
        kept = await store("GET", created.json["url"].removeprefix("/1") + "?with_meta=1")
        assert (created.status, created.headers["Location"]) == (201, f"/1{OBJECTS_URL}/{created.json['object_id']}")
        assert (kept.body, kept.headers["Content-Type"]) == (data, kind or "application/json")
        assert (kept.headers["X-Luna-Meta-task"], kept.headers["X-Content-Type-Options"]) == ("7", "nosniff")

    object_id = new_id()
    assert (await store("PUT", f"{OBJECTS_URL}/{object_id}", b"1")).status == 201
    assert (await store("PUT", f"{OBJECTS_URL}/{object_id}", b"12")).status == 200
    assert (await store("HEAD", f"{OBJECTS_URL}/{object_id}")).headers["Content-Length"] == "2"
    assert (await store("GET", f"/buckets/{OBJECTS}/images/{object_id}")).status == 404
    assert (await store("DELETE", f"{OBJECTS_URL}/{object_id}")).status == 204
    missing = await store("GET", f"{OBJECTS_URL}/{object_id}")
    assert (missing.status, missing.json["error_code"]) == (404, Code.OBJECT_MISSING.number)
    assert (await store("POST", OBJECTS_URL, b"<html>", "text/html")).status == 415


async def test_a_time_to_live_is_answered_as_a_date(store: Store) -> None:
    before = clock.now_ms()
    created = await store("POST", f"{IMAGES}?ttl=60", JPEG)
    kept = await store("HEAD", created.json["url"].removeprefix("/1"))

    assert before + 60_000 <= clock.to_ms(clock.parse(created.headers[EXPIRY])) <= clock.now_ms() + 60_000
    assert kept.headers[EXPIRY] == created.headers[EXPIRY]
    for ttl in ("0", "-1", "31536001", "soon"):
        assert (await store("POST", f"{IMAGES}?ttl={ttl}", JPEG)).json["error_code"] == Code.BAD_QUERY.number


@pytest.mark.parametrize(
    "headers",
    [
        {f"X-Luna-Meta-{number}": "" for number in range(33)},
        {"X-Luna-Meta-A": "x" * 1025},
        {"X-Luna-Meta-": "nameless"},
    ],
)
async def test_metadata_has_limits(store: Store, headers: dict[str, str]) -> None:
    answer = await store("POST", IMAGES, JPEG, **headers)

    assert (answer.status, answer.json["error_code"]) == (400, Code.BAD_HEADER.number)


async def test_many_are_deleted_together(store: Store) -> None:
    ids = [new_id(), new_id()]
    for image_id in ids:
        await store("PUT", f"{IMAGES}/{image_id}", JPEG)

    async def delete(path: str, body: Any) -> Answer:
        return await store("DELETE", path, json.dumps(body), "application/json")

    assert (await delete(IMAGES, {"images": [ids[0], new_id()]})).status == 204
    assert [(await store("HEAD", f"{IMAGES}/{image_id}")).status for image_id in ids] == [404, 200]
    assert (await delete(OBJECTS_URL, {"objects": [new_id()]})).status == 204
    assert (await delete(IMAGES, {"images": [new_id() for _ in range(1001)]})).json["error_code"] == 12022
    assert (await delete(IMAGES, {"objects": ids})).status == 400
    assert (await delete("/buckets/nowhere/images", {"images": ids})).status == 404


async def test_buckets_are_made_listed_and_deleted(store: Store) -> None:
    created = await store("POST", "/buckets?bucket=badges-2")
    listed = await store("GET", "/buckets")
    one = await store("GET", "/buckets/badges-2")

    assert (created.status, created.headers["Location"]) == (201, "/1/buckets/badges-2")
    assert {item["bucket"] for item in listed.json} == {*PLATFORM_BUCKETS, "badges-2"}
    assert one.json in listed.json
    assert (await store("HEAD", "/buckets/badges-2")).status == 200
    for taken in ("badges-2", FACE_SAMPLES):
        answer = await store("POST", f"/buckets?bucket={taken}")
        assert (answer.status, answer.json["error_code"]) == (409, Code.BUCKET_EXISTS.number)
    for name in ("ab", "Badges", "a_b", "a" * 64, "../etc", ""):
        assert (await store("POST", f"/buckets?bucket={name}")).status == 400

    assert (await store("GET", "/buckets/badges-2", account=THEIRS)).status == 404
    assert (await store("POST", "/buckets/badges-2/images", JPEG, account=THEIRS)).json["error_code"] == 13005
    assert (await store("DELETE", "/buckets/badges-2", account=THEIRS)).status == 404
    assert (await store("DELETE", "/buckets/badges-2")).status == 202
    assert (await store("HEAD", "/buckets/badges-2")).status == 404
    assert (await store("DELETE", f"/buckets/{FACE_SAMPLES}")).status == 405


async def test_pictures_belong_to_the_account_that_brought_them(store: Store) -> None:
    mine = await store("POST", IMAGES, JPEG)
    nobodys = await store("POST", IMAGES, JPEG, account=None)

    async def seen(created: Answer, account: str | None) -> int:
        return (await store("GET", created.json["url"].removeprefix("/1"), account=account)).status

    assert [await seen(mine, account) for account in (MINE, THEIRS, None)] == [200, 404, 404]
    assert [await seen(nobodys, account) for account in (MINE, THEIRS, None)] == [404, 404, 200]
    assert (await store("GET", "/buckets", account="me")).json["error_code"] == Code.BAD_HEADER.number
