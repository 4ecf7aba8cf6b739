"""Pictures of a request, over a real server that answers what it read."""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from PIL import Image as Picture

from libs.common.errors import Code, MienError
from libs.common.http.inputs import CONSUMES, Input, Limits, Sources, read_inputs
from libs.common.http.json_inputs import AT_ONCE
from libs.common.http.pictures import MAX_JSON_PART_BYTES
from libs.common.http.routes import Call, Routes
from libs.common.http.server import Servers, build_app
from libs.common.ids import new_id
from libs.common.media import BASE64_PICTURES, PICTURES, sniff
from libs.common.wire.images import BODY_SAMPLES, FACE_SAMPLES, ORIGINS, StoredImage

FORMATS = {"JPEG": "jpeg", "PNG": "png", "BMP": "bmp", "TIFF": "tiff", "PPM": "x-portable-pixmap", "WEBP": "webp"}
ACCOUNT = new_id()
LIMITS = Limits(images=5, image_bytes=4000, total_bytes=12_000)
URL, PRIVATE, SLOW = "https://cam.test/a/1.jpg?key=secret", "http://10.0.0.1/", "https://cam.test/slow"


def encoded(form: str) -> bytes:
    stream = io.BytesIO()
    Picture.new("RGB", (8, 8), "red").save(stream, form)
    return stream.getvalue()


JPEG, PNG = encoded("JPEG"), encoded("PNG")
BIG = JPEG + bytes(5000)


class Elsewhere:
    """What stands behind URLs and stored ids."""

    def __init__(self) -> None:
        self.at_once = self.most_at_once = 0
        self.full = asyncio.Event()

    async def fetch(self, url: str) -> tuple[bytes, str | None]:
        if url == PRIVATE:
            raise MienError(Code.FETCH_REFUSED, "10.0.0.1: not a public address")
        if url == SLOW:
            await self._stay()
        return JPEG, "image/jpg; charset=binary"

    async def stored(self, account: str, bucket: str, image_id: str) -> StoredImage:
        if account != ACCOUNT or image_id.startswith("0"):
            raise MienError(Code.IMAGE_MISSING, f"image {image_id} in bucket {bucket}")
        return StoredImage(data=PNG if bucket == BODY_SAMPLES else JPEG, content_type="image/jpeg", meta={})

    async def _stay(self) -> None:
        """Return only when as many calls as may are here together."""
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        if self.at_once == AT_ONCE:
            self.full.set()
        await self.full.wait()
        self.at_once -= 1


class Reader:
    """Sends a request, answers its status and what was read of it."""

    def __init__(self, session: aiohttp.ClientSession, address: str, elsewhere: Elsewhere) -> None:
        self.session, self.address, self.elsewhere = session, address, elsewhere
        self.limits = LIMITS

    async def __call__(self, data: Any = None, kind: str | None = None, query: str = "") -> tuple[int, dict[str, Any]]:
        headers = {"Luna-Account-Id": ACCOUNT} | ({"Content-Type": kind} if kind else {})
        async with self.session.post(self.address + query, data=data, headers=headers) as answer:
            return answer.status, await answer.json()

    async def json(self, content: dict[str, Any], query: str = "") -> tuple[int, dict[str, Any]]:
        return await self(json.dumps(content), "application/json", query)


def summary(given: Input) -> dict[str, Any]:
    image = given.image
    return {
        "filename": given.filename,
        "type": image and image.content_type,
        "boxes": image and image.face_bounding_boxes,
        "error": given.error and given.error.error_code,
        "size": image and len(image.data),
        "detect_time": given.detect_time,
        "detect_ts": given.detect_ts,
        "image_origin": given.image_origin,
        "sample_id": given.sample_id,
    }


def brief(body: dict[str, Any]) -> list[tuple[str, str | None, int | None]]:
    return [(image["filename"], image["type"], image["error"]) for image in body["images"]]


@pytest.fixture
async def read() -> AsyncIterator[Reader]:
    routes = Routes("reader", "/1")
    elsewhere = Elsewhere()

    @routes.post("/read", consumes=CONSUMES)
    async def answer(call: Call) -> dict[str, Any]:
        inputs = await read_inputs(call, Sources(fetch=elsewhere.fetch, stored=elsewhere.stored), reader.limits)
        parts = {name: json.loads(raw) for name, raw in inputs.parts.items()}
        return {"images": [summary(given) for given in inputs.images], "parts": parts}

    async def health() -> dict[str, Any]:
        return {}

    servers = Servers()
    port = await servers.start(build_app("reader", [("/1", routes)], health), "127.0.0.1", 0)
    async with aiohttp.ClientSession() as session:
        reader = Reader(session, f"http://127.0.0.1:{port}/1/read", elsewhere)
        yield reader
    await servers.stop()


@pytest.mark.parametrize("form", FORMATS)
async def test_each_format_is_read_raw_in_base64_and_in_a_form(read: Reader, form: str) -> None:
    data, kind = encoded(form), f"image/{FORMATS[form]}"
    text_kind = next(text for text, of in BASE64_PICTURES.items() if of == kind)
    multipart = aiohttp.FormData()
    multipart.add_field("one", data, filename="a", content_type=kind)
    multipart.add_field("two", base64.encodebytes(data), filename="b", content_type=text_kind)
    multipart.add_field("three", data, filename="c", content_type="application/octet-stream")

    assert kind in PICTURES
    assert sniff(data) == kind
    assert brief((await read(data, kind))[1]) == [("raw_image", kind, None)]
    assert brief((await read(base64.encodebytes(data), text_kind))[1]) == [("raw_image", kind, None)]
    assert brief((await read(multipart))[1]) == [("a", kind, None), ("b", kind, None), ("c", kind, None)]


async def test_json_forms_combine_in_the_order_of_the_contract(read: Reader) -> None:
    sample, origin, box = new_id(), new_id(), {"x": 1, "y": 2, "width": 3, "height": 4}
    sample, origin = "1" + sample[1:], "1" + origin[1:]
    status, body = await read.json(
        {
            "images": [
                {
                    "image": base64.b64encode(PNG).decode(),
                    "filename": "door",
                    "detect_time": "2026-01-02T03:04:05+02:00",
                    "detect_ts": 7.5,
                    "image_origin": "rtsp://cam",
                    "face_bounding_boxes": [box],
                }
            ],
            "image_ids": [origin],
            "samples": [sample],
            "urls": [URL],
            "policies": {"detect_policy": {}},
            "meta": {"shift": 2},
        }
    )

    assert status == 200
    assert brief(body) == [
        ("https://cam.test/a/1.jpg", "image/jpeg", None),
        (sample, "image/jpeg", None),
        (origin, "image/jpeg", None),
        ("door", "image/png", None),
    ]
    assert body["images"][1]["sample_id"] == sample
    assert body["images"][2]["image_origin"] == f"/1/buckets/{ORIGINS}/images/{origin}"
    assert body["images"][3] == {
        "filename": "door",
        "type": "image/png",
        "boxes": [box],
        "error": None,
        "size": len(PNG),
        "detect_time": "2026-01-02T01:04:05Z",
        "detect_ts": 7.5,
        "image_origin": "rtsp://cam",
        "sample_id": None,
    }
    assert body["parts"] == {"policies": {"detect_policy": {}}, "meta": {"shift": 2}}


async def test_body_warps_come_from_their_own_bucket(read: Reader) -> None:
    sample = "1" + new_id()[1:]
    _, faces = await read.json({"samples": [sample]}, "?image_type=1")
    _, bodies = await read.json({"images": [{"sample_id": sample}]}, "?image_type=2")

    assert FACE_SAMPLES != BODY_SAMPLES
    assert brief(faces) == [(sample, "image/jpeg", None)]
    # the fake keeps a PNG there and calls it JPEG, which shows both the bucket and the check
    assert brief(bodies) == [(sample, None, Code.CONTENT_MISMATCH.number)]


async def test_a_picture_that_cannot_be_had_fails_alone(read: Reader) -> None:
    missing = "0" + new_id()[1:]
    entries = [
        {"url": PRIVATE},
        {"sample_id": missing},
        {"image": "no base64!"},
        {"image": base64.b64encode(b"plain text").decode()},
        {"image": base64.b64encode(JPEG).decode()},
    ]
    multipart = aiohttp.FormData()
    for name, data, kind in [
        ("ok", JPEG, "image/jpeg"),
        ("liar", PNG, "image/jpeg"),
        ("big", BIG, "image/jpeg"),
        ("none", b"", "image/png"),
        ("text", b"***", "image/x-png-base64"),
    ]:
        multipart.add_field(name, data, filename=name, content_type=kind)

    assert [error for _, _, error in brief((await read.json({"images": entries}))[1])] == [
        Code.FETCH_REFUSED.number,
        Code.IMAGE_MISSING.number,
        Code.BROKEN_IMAGE.number,
        Code.BROKEN_IMAGE.number,
        None,
    ]
    assert [error for _, _, error in brief((await read(multipart))[1])] == [
        None,
        Code.CONTENT_MISMATCH.number,
        Code.IMAGE_TOO_LARGE.number,
        Code.EMPTY_BODY.number,
        Code.BROKEN_IMAGE.number,
    ]
    assert brief((await read(PNG, "image/jpeg"))[1]) == [("raw_image", None, Code.CONTENT_MISMATCH.number)]
    assert brief((await read(BIG, "image/jpeg"))[1]) == [("raw_image", None, Code.IMAGE_TOO_LARGE.number)]


async def test_a_form_brings_json_parts_and_boxes_for_its_pictures(read: Reader) -> None:
    boxes = [{"filename": "b.png", "face_bounding_boxes": [{"x": 0, "y": 0, "width": 4, "height": 4}]}]
    multipart = aiohttp.FormData()
    multipart.add_field("meta", '{"a": 1}')
    multipart.add_field("image", JPEG, filename="a.jpg", content_type="image/jpeg")
    multipart.add_field("policies", "{}", content_type="application/json")
    multipart.add_field("image", PNG, filename="b.png", content_type="image/png")
    multipart.add_field("face_bounding_boxes", json.dumps(boxes), content_type="application/json")
    status, body = await read(multipart)

    assert status == 200
    assert [(image["filename"], image["boxes"]) for image in body["images"]] == [
        ("a.jpg", None),
        ("b.png", boxes[0]["face_bounding_boxes"]),
    ]
    assert body["parts"] == {"policies": {}, "meta": {"a": 1}}


async def test_a_filename_is_answered_whatever_its_bytes_are(read: Reader) -> None:
    names = ["Ünï cödé.jpg", "../../a b.jpg", "%22q%22.jpg", "\udce9t\udce9.jpg"]
    form = b"".join(part("i", JPEG, "image/jpeg", name) for name in names) + part("i", JPEG, "image/jpeg") + END
    status, body = await read(form, FORM)

    assert status == 200, body
    assert [image["filename"] for image in body["images"]] == [*names[:-1], "?t?.jpg", "i"]


async def test_a_body_that_is_not_compressed_as_it_says_is_the_callers_fault(
    read: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    read.session.headers["Content-Encoding"] = "gzip"
    assert (await read(gzip.compress(JPEG), "image/jpeg"))[0] == 200
    for kind in ("image/jpeg", FORM, JSON):
        status, answer = await read(b"not gzip", kind)
        assert (status, answer["error_code"]) == (400, Code.BAD_BODY.number)
        assert "gzip" in answer["detail"]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def part(name: str, body: bytes, kind: str = "application/json", filename: str | None = None) -> bytes:
    named = f'; filename="{filename}"' if filename else ""
    head = f'--B\r\nContent-Disposition: form-data; name="{name}"{named}\r\nContent-Type: {kind}\r\n\r\n'
    return head.encode("utf-8", "surrogateescape") + body + b"\r\n"


PICTURE = part("i", JPEG, "image/jpeg", "a.jpg")
FORM, JSON, END = "multipart/form-data; boundary=B", "application/json", b"--B--\r\n"


@pytest.mark.parametrize(
    ("kind", "body", "code", "detail"),
    [
        (None, None, Code.EMPTY_BODY, "needed"),
        (JSON, b"", Code.EMPTY_BODY, "needed"),
        ("image", JPEG, Code.BAD_CONTENT_TYPE, "image"),
        ("text/plain", JPEG, Code.UNSUPPORTED_MEDIA, "text/plain"),
        ("image/gif", JPEG, Code.UNSUPPORTED_MEDIA, "image/gif"),
        ("multipart/form-data", PICTURE + END, Code.BAD_CONTENT_TYPE, "boundary"),
        (JSON, b"{", Code.BAD_JSON, "line 1"),
        (JSON, b"{}", Code.BAD_BODY, "no picture"),
        (JSON, b'{"urls": ["http://a"], "url": 1}', Code.BAD_BODY, "url: Extra inputs"),
        (JSON, b'{"samples": ["x"]}', Code.BAD_BODY, "samples.0: is not a UUID"),
        (JSON, b'{"images": [{"url": "u", "image": ""}]}', Code.BAD_BODY, "images.0: give exactly one"),
        (JSON, b'{"images": [{}]}', Code.BAD_BODY, "images.0: give exactly one"),
        (JSON, b'{"urls": ["u"], "meta": []}', Code.BAD_BODY, "meta: "),
        (JSON, json.dumps({"urls": ["u"] * 6}).encode(), Code.TOO_MANY, "6 pictures; a request may have 5"),
        (FORM, PICTURE * 6 + END, Code.TOO_MANY, "6 pictures; a request may have 5"),
        (FORM, part("i", BIG, "image/jpeg", "a") * 3 + END, Code.BODY_TOO_LARGE, "12000 bytes together"),
        (FORM, END, Code.BAD_MULTIPART, "no part holds a picture"),
        (FORM, b"nothing like it", Code.BAD_MULTIPART, "malformed"),
        (FORM, PICTURE, Code.BAD_MULTIPART, "malformed"),
        (FORM, PICTURE[:-40], Code.BAD_MULTIPART, "malformed"),
        (FORM, PICTURE + part("x", b"1") + END, Code.BAD_MULTIPART, "part x: application/json"),
        (FORM, part("i", JPEG, "image/gif", "a") + END, Code.BAD_MULTIPART, "part i: image/gif"),
        (FORM, part("meta", b"{}", "image/jpeg") + END, Code.BAD_MULTIPART, "part meta: image/jpeg"),
        (FORM, PICTURE + part("meta", b"{}") * 2 + END, Code.BAD_MULTIPART, "part meta: given twice"),
        (FORM, PICTURE + part("m", b"", "multipart/mixed; boundary=C") + END, Code.BAD_MULTIPART, "another multipart"),
        (FORM, PICTURE + part("meta", b"[]") + END, Code.BAD_BODY, "meta: should be an object"),
        (FORM, PICTURE + part("policies", b"{,}") + END, Code.BAD_JSON, "policies: "),
        (
            FORM,
            PICTURE + part("face_bounding_boxes", b'[{"filename": "z", "face_bounding_boxes": []}]') + END,
            Code.BAD_BODY,
            "face_bounding_boxes.0.filename: no pictures are called 'z'",
        ),
        (FORM, PICTURE + part("face_bounding_boxes", b"{}") + END, Code.BAD_BODY, "face_bounding_boxes: "),
    ],
)
async def test_a_request_that_is_wrong_as_a_whole_fails_and_says_where(
    read: Reader, kind: str | None, body: bytes | None, code: Code, detail: str
) -> None:
    status, answer = await read(body, kind)

    assert (status, answer["error_code"]) == (code.status, code.number), answer
    assert detail in answer["detail"]


@pytest.mark.parametrize("kind", ["image/jpeg", FORM, JSON])
async def test_a_stream_without_a_length_is_cut_at_the_limit(read: Reader, kind: str) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield part("i", JPEG, "image/jpeg", "a").rstrip() if kind == FORM else b"{"
        for _ in range(40):
            yield bytes(1000)

    status, answer = await read(endless(), kind)

    assert (status, answer["error_code"]) == (413, Code.BODY_TOO_LARGE.number)


async def test_meta_may_have_two_megabytes(read: Reader) -> None:
    read.limits = Limits()

    def form(size: int) -> bytes:
        return PICTURE + part("meta", b'{"a": "' + b"x" * (size - 9) + b'"}') + END

    assert (await read(io.BytesIO(form(MAX_JSON_PART_BYTES)), FORM))[0] == 200
    assert (await read(io.BytesIO(form(MAX_JSON_PART_BYTES + 1)), FORM))[1]["detail"] == "meta: may have 2097152 bytes"


async def test_what_is_fetched_counts_together_and_only_a_few_at_once(read: Reader) -> None:
    read.limits = Limits(images=20, total_bytes=len(JPEG) * 18)
    _, body = await read.json({"urls": [SLOW] * 20})

    assert read.elsewhere.most_at_once == AT_ONCE
    assert sorted(image["error"] or 0 for image in body["images"]) == [0] * 18 + [Code.IMAGE_TOO_LARGE.number] * 2
