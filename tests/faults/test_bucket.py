"""Pictures in a bucket that misbehaves: what was acknowledged is there, what was not left nothing that counts."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import aiohttp
import pytest
from aiohttp import web
from PIL import Image as Picture

from libs.common.errors import Code, MienError
from libs.common.http.server import Servers
from libs.common.ids import new_id
from libs.common.storage.sqlite import Database
from libs.common.wire.images import FACE_SAMPLES, ImageDraft
from services.image_store.service import Images
from services.image_store.store_objects import StoreObjects
from services.image_store.store_sqlite import SCHEMA, SqliteIndex
from tests.contract.image_stores import bucket
from tests.servers import Bucket

ACCOUNT = new_id()
AT_ONCE = timedelta(days=-1)
"""For a sweep that leaves nothing alone."""
PRIVATE = {"host", "transfer-encoding", "content-length", "content-encoding", "connection"}


class BadRoad:
    """A reverse proxy before an S3 server. Of writes, the part ``failing`` (0 to 1) meets one of ``accidents``."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.failing = 0.0
        self.accidents: tuple[str, ...] = ("turned away", "answer lost", "connection lost")
        self._url = url
        self._session = session
        self._dice = Random(3)

    async def carry(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        accident = ""
        if request.method != "GET" and self._dice.random() < self.failing:
            accident = self._dice.choice(self.accidents)
        if accident == "turned away":
            return web.Response(status=503)
        answer = await self._carried(request, body)
        if accident == "answer lost":
            return web.Response(status=500)
        if accident == "connection lost":
            assert request.transport
            request.transport.close()
        return answer

    async def _carried(self, request: web.Request, body: bytes) -> web.Response:
        async with self._session.request(
            request.method, self._url + request.raw_path, headers=request.headers, data=body, allow_redirects=False
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in PRIVATE}
            return web.Response(status=answer.status, headers=kept, body=await answer.read())


@pytest.fixture
async def road(s3: Bucket) -> AsyncIterator[BadRoad]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield BadRoad(s3.url, session)


@pytest.fixture
async def objects(road: BadRoad, s3: Bucket) -> AsyncIterator[StoreObjects]:
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", road.carry)
    servers = Servers()
    port = await servers.start(app, "127.0.0.1", 0)
    yield StoreObjects(bucket(f"http://127.0.0.1:{port}", s3.name), "images/")
    await servers.stop()


@pytest.fixture
async def images(objects: StoreObjects, tmp_path: Path) -> AsyncIterator[Images]:
    database = await Database(tmp_path / "images.db", SCHEMA).open()
    yield Images(SqliteIndex(database), objects)
    await database.close()


def draft(number: int) -> ImageDraft:
    stream = io.BytesIO()
    Picture.new("RGB", (8, 8), (number % 256, 0, 0)).save(stream, "PNG")
    return ImageDraft(bucket=FACE_SAMPLES, image_id=new_id(), data=stream.getvalue())


async def keys(objects: StoreObjects) -> list[str]:
    return [key async for some in objects.keys(datetime.max.replace(tzinfo=UTC)) for key in some]


async def test_what_was_acknowledged_while_most_writes_failed_is_there_and_nothing_else(
    images: Images, objects: StoreObjects, road: BadRoad
) -> None:
    drafts = [draft(number) for number in range(60)]
    road.failing = 0.8
    outcomes = await asyncio.gather(*(images.put(ACCOUNT, [one]) for one in drafts), return_exceptions=True)
    road.failing = 0.0

    refused = [outcome for outcome in outcomes if isinstance(outcome, MienError)]
    acknowledged = [one for one, outcome in zip(drafts, outcomes, strict=True) if outcome is None]
    assert len(refused) + len(acknowledged) == len(drafts), outcomes
    assert refused, "no write met an accident often enough to fail"
    assert {(one.code, one.status, one.retry_after_s) for one in refused} == {(Code.STORE_UNAVAILABLE, 503, 1)}
    for one, outcome in zip(drafts, outcomes, strict=True):
        if outcome is None:
            assert (await images.get(ACCOUNT, one.bucket, one.image_id)).data == one.data
        else:
            with pytest.raises(MienError, match=one.image_id):
                await images.get(ACCOUNT, one.bucket, one.image_id)
    await images.sweep(AT_ONCE)
    assert len(await keys(objects)) == len(acknowledged)

    await images.put(ACCOUNT, drafts)  # what a client does that was not answered
    assert len(await keys(objects)) == len(drafts)


async def test_a_deletion_holds_although_the_bytes_cannot_be_removed_yet(
    images: Images, objects: StoreObjects, road: BadRoad
) -> None:
    gone = draft(1)
    await images.put(ACCOUNT, [gone])
    road.failing, road.accidents = 1.0, ("turned away",)
    await images.delete(ACCOUNT, gone.bucket, [gone.image_id])
    with pytest.raises(MienError, match=gone.image_id) as missing:
        await images.get(ACCOUNT, gone.bucket, gone.image_id)
    assert missing.value.code is Code.IMAGE_MISSING

    road.failing = 0.0
    assert await images.sweep(AT_ONCE) == 1
    assert await keys(objects) == []


async def test_a_bucket_that_is_not_there_is_named_and_no_picture_is_lost_to_it(s3: Bucket, tmp_path: Path) -> None:
    database = await Database(tmp_path / "images.db", SCHEMA).open()
    images = Images(SqliteIndex(database), StoreObjects(bucket(s3.url, "no-such-bucket")))
    for use in (images.check(), images.put(ACCOUNT, [draft(1)])):
        with pytest.raises(MienError, match="S3") as refused:
            await use
        assert (refused.value.code, refused.value.retry_after_s) == (Code.STORE_UNAVAILABLE, 1)
    await database.close()


async def test_a_refusal_says_why_and_quotes_no_key() -> None:
    quoted = "<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIA-OURS</AWSAccessKeyId></Error>"

    async def refuse(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=403, text=quoted)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    servers = Servers()
    objects = StoreObjects(bucket(f"http://127.0.0.1:{await servers.start(app, '127.0.0.1', 0)}", "mien"))
    with pytest.raises(MienError) as refused:
        await objects.put("key", b"bytes")
    await servers.stop()

    assert refused.value.detail.startswith("S3: 403 SignatureDoesNotMatch;")
    assert "AKIA" not in refused.value.detail
