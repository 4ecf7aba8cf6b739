"""The port Images, in process and over HTTP, on every store."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from PIL import Image as Picture

from libs.common import clock, ports
from libs.common.errors import Code, MienError
from libs.common.http.peers import Peers
from libs.common.http.server import Servers, build_app
from libs.common.ids import new_id
from libs.common.rpc import expose, remote
from libs.common.wire.images import FACE_SAMPLES, ORIGINS, PLATFORM_BUCKETS, ImageDraft, StoredImage
from services.image_store.ports import ImageIndex, ObjectStore, Record
from services.image_store.service import MAX_META, MAX_TTL_S, Images
from tests.clocks import Clock
from tests.contract.image_stores import LASTING, STORES, Place

MINE, THEIRS = new_id(), new_id()


def picture(form: str = "JPEG", color: str | tuple[int, int, int] = "red") -> bytes:
    stream = io.BytesIO()
    Picture.new("RGB", (16, 16), color).save(stream, form)
    return stream.getvalue()


JPEG, PNG = picture(), picture("PNG")


@dataclass
class World:
    """``port`` is under test; ``images`` arranges what the port has no method for."""

    port: ports.Images
    images: Images
    index: ImageIndex
    objects: ObjectStore
    clock: Clock

    async def keys(self) -> list[str]:
        """Everything that takes up room, whether a row knows it or not."""
        return [key async for batch in self.objects.keys(datetime.max.replace(tzinfo=UTC)) for key in batch]


async def _health() -> dict[str, Any]:
    return {}


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(tmp_path, request)


@pytest.fixture(params=[(store, door) for store in STORES for door in ("in process", "http")], ids=" ".join)
async def world(request: pytest.FixtureRequest, place: Place) -> AsyncIterator[World]:
    store, door = request.param
    async with AsyncExitStack() as stack:
        index, objects = await stack.enter_async_context(STORES[store](place))
        turned = Clock(clock.now_ms())
        images = Images(index, objects, turned)
        port: ports.Images = images
        if door == "http":
            servers = Servers()
            stack.push_async_callback(servers.stop)
            app = build_app("image-store", [("", expose(ports.Images, images))], _health)
            number = await servers.start(app, "127.0.0.1", 0)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            port = remote(ports.Images, Peers([f"http://127.0.0.1:{number}"]), session)
        yield World(port, images, index, objects, turned)


def draft(data: bytes = JPEG, image_id: str | None = None, bucket: str = FACE_SAMPLES, **more: Any) -> ImageDraft:
    return ImageDraft(bucket=bucket, image_id=image_id or new_id(), data=data, **more)


async def is_missing(world: World, account: str, given: ImageDraft) -> bool:
    try:
        await world.port.get(account, given.bucket, given.image_id)
    except MienError as error:
        return (error.code, error.status, given.image_id in error.detail) == (Code.IMAGE_MISSING, 404, True)
    return False


async def test_a_picture_comes_back_as_it_was_put(world: World) -> None:
    given = draft(PNG, meta={"Camera": "Tür 3"}, ttl_s=60)
    large = draft(JPEG + bytes(3_000_000), bucket=ORIGINS)
    await world.port.put(MINE, [given, large])

    expires = clock.from_ms(world.clock.now_ms + 60_000)
    assert await world.port.get(MINE, FACE_SAMPLES, given.image_id) == StoredImage(
        data=PNG, content_type="image/png", meta={"camera": "Tür 3"}, expires=expires
    )
    assert (await world.port.get(MINE, ORIGINS, large.image_id)).data == large.data
    assert await is_missing(world, MINE, draft(image_id=given.image_id, bucket=ORIGINS))


async def test_putting_again_replaces_and_leaves_nothing_behind(world: World) -> None:
    given = draft()
    for data in (JPEG, JPEG, PNG):
        await world.port.put(MINE, [draft(data, given.image_id)])

    assert (await world.port.get(MINE, FACE_SAMPLES, given.image_id)).data == PNG
    assert len(await world.keys()) == 1


async def test_another_account_neither_reads_nor_replaces_nor_deletes(world: World) -> None:
    given = draft()
    await world.port.put(MINE, [given])
    await world.port.delete(THEIRS, FACE_SAMPLES, [given.image_id])

    assert await is_missing(world, THEIRS, given)
    await world.port.put(THEIRS, [draft(PNG, given.image_id)])
    assert (await world.port.get(MINE, FACE_SAMPLES, given.image_id)).data == JPEG
    assert (await world.port.get(THEIRS, FACE_SAMPLES, given.image_id)).data == PNG


async def test_one_wrong_picture_means_that_none_is_stored(world: World) -> None:
    for wrong, code in (
        (draft(b"no picture"), Code.BROKEN_IMAGE),
        (draft(bucket="nowhere"), Code.BUCKET_MISSING),
        (draft(ttl_s=0), Code.BAD_QUERY),
        (draft(ttl_s=MAX_TTL_S + 1), Code.BAD_QUERY),
        (draft(meta={"a": "line\nend"}), Code.BAD_HEADER),
        (draft(meta={"a": "x" * 1025}), Code.BAD_HEADER),
        (draft(meta={"not a name": ""}), Code.BAD_HEADER),
        (draft(meta={str(number): "" for number in range(MAX_META + 1)}), Code.BAD_HEADER),
    ):
        good = draft()
        with pytest.raises(MienError) as refused:
            await world.port.put(MINE, [good, wrong])

        assert refused.value.code is code, wrong
        assert await is_missing(world, MINE, good)
        assert await world.keys() == []


async def test_deleting_is_harmless_and_frees_the_room(world: World) -> None:
    gone, kept = draft(), draft()
    await world.port.put(MINE, [gone, kept])
    for _ in range(2):
        await world.port.delete(MINE, FACE_SAMPLES, [gone.image_id, new_id()])
    await world.port.delete(MINE, "nowhere", [kept.image_id])

    assert await is_missing(world, MINE, gone)
    assert (await world.port.get(MINE, FACE_SAMPLES, kept.image_id)).data == JPEG
    assert len(await world.keys()) == 1


async def test_what_has_expired_is_gone_at_once_and_purged_later(world: World) -> None:
    short, long, forever = draft(ttl_s=1), draft(ttl_s=3600), draft()
    await world.port.put(MINE, [short, long, forever])
    world.clock.advance(seconds=1)

    assert await is_missing(world, MINE, short)
    assert len(await world.keys()) == 3
    assert await world.images.purge() == 1
    assert await world.images.purge() == 0
    assert len(await world.keys()) == 2
    world.clock.advance(hours=1)
    assert await is_missing(world, MINE, long)
    assert not await is_missing(world, MINE, forever)


async def test_an_own_bucket_is_seen_by_its_account_only_and_goes_with_what_it_holds(world: World) -> None:
    await world.images.create_bucket(MINE, "badges")
    given = draft(bucket="badges")
    await world.port.put(MINE, [given])

    names = [bucket.bucket for bucket in await world.images.buckets(MINE)]
    assert names == sorted([*PLATFORM_BUCKETS, "badges"])
    assert {bucket.bucket for bucket in await world.images.buckets(THEIRS)} == set(PLATFORM_BUCKETS)
    with pytest.raises(MienError, match="badges") as refused:
        await world.port.put(THEIRS, [draft(bucket="badges")])
    assert refused.value.code is Code.BUCKET_MISSING

    await world.images.delete_bucket(MINE, "badges")
    await world.images.create_bucket(MINE, "badges")
    assert await is_missing(world, MINE, given)
    await world.port.put(MINE, [draft(PNG, bucket="badges")])
    assert await world.images.purge() == 1
    assert len(await world.keys()) == 1


async def test_readers_see_one_whole_picture_while_writers_replace_it(world: World) -> None:
    given = draft()
    versions = [picture("PNG", (shade, 0, 0)) for shade in range(40)]
    await world.port.put(MINE, [draft(versions[0], given.image_id)])

    read = await asyncio.gather(
        *(world.port.get(MINE, FACE_SAMPLES, given.image_id) for _ in versions),
        *(world.port.put(MINE, [draft(data, given.image_id)]) for data in versions),
        *(world.port.get(MINE, FACE_SAMPLES, given.image_id) for _ in versions),
    )

    assert {stored.data for stored in read if stored} <= set(versions)
    assert len(await world.keys()) == 1


async def test_bytes_that_no_row_knows_are_swept_when_they_are_old(world: World) -> None:
    given = draft()
    await world.port.put(MINE, [given])
    await world.objects.put("visionlabs-samples/orphan", JPEG)

    assert await world.images.sweep() == 0
    world.clock.advance(hours=2)
    assert await world.images.sweep() == 1
    assert (await world.port.get(MINE, FACE_SAMPLES, given.image_id)).data == JPEG


async def test_replicas_keep_house_at_the_same_time_and_touch_nothing_that_counts(world: World) -> None:
    await world.images.create_bucket(MINE, "badges")
    short, badges, kept = [[draft() for _ in range(20)] for _ in range(3)]
    await world.port.put(MINE, [one.model_copy(update={"ttl_s": 1}) for one in short])
    await world.port.put(MINE, [one.model_copy(update={"bucket": "badges"}) for one in badges])
    await world.port.put(MINE, kept)
    await world.images.delete_bucket(MINE, "badges")
    await asyncio.gather(*(world.objects.put(f"{FACE_SAMPLES}/orphan-{number}", JPEG) for number in range(5)))
    world.clock.advance(hours=2)

    replicas = [Images(world.index, world.objects, world.clock) for _ in range(3)]
    await asyncio.gather(
        *(replica.purge() for replica in replicas),
        *(world.port.put(MINE, [one]) for one in [*kept, *short[:5]]),
    )
    await asyncio.gather(*(replica.sweep() for replica in replicas))

    for one in [*kept, *short[:5]]:
        assert (await world.port.get(MINE, one.bucket, one.image_id)).data == JPEG
    assert len(await world.keys()) == len(kept) + 5


async def test_one_of_all_replicas_sweeps_each_time(world: World) -> None:
    replicas = [Images(world.index, world.objects, world.clock) for _ in range(4)]
    swept: list[int] = []
    for _ in range(2):
        await world.objects.put(f"{FACE_SAMPLES}/orphan", JPEG)
        world.clock.advance(hours=6)
        swept += await asyncio.gather(*(replica.sweep_in_turn(timedelta(hours=6)) for replica in replicas))
    assert sorted(swept) == [0] * 6 + [1] * 2


async def test_what_is_stored_while_its_bucket_is_deleted_takes_up_no_room_for_long(world: World) -> None:
    await world.images.create_bucket(MINE, "badges")
    drafts = [draft(bucket="badges") for _ in range(30)]
    puts = asyncio.gather(*(world.port.put(MINE, [one]) for one in drafts), return_exceptions=True)
    await world.images.delete_bucket(MINE, "badges")
    await world.images.purge()
    refused = [outcome for outcome in await puts if outcome]
    assert {outcome.code for outcome in refused if isinstance(outcome, MienError)} <= {Code.BUCKET_MISSING}

    for hours in (0, 1, 1):
        world.clock.advance(hours=hours)
        await world.images.purge()
    await world.images.sweep()
    assert await world.keys() == []
    assert [await is_missing(world, MINE, one) for one in drafts] == [True] * len(drafts)


class Dying:
    """An index whose process ends between the bytes and the row."""

    def __init__(self, index: ImageIndex) -> None:
        self._index = index

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)

    async def put(self, records: list[Record]) -> list[str]:
        raise OSError("no more")


@pytest.mark.parametrize("name", LASTING)
async def test_stores_opened_again_have_what_was_acknowledged_and_nothing_else(name: str, place: Place) -> None:
    kept, lost = draft(), draft()
    async with STORES[name](place) as (index, objects):
        await Images(index, objects).put(MINE, [kept])
        with pytest.raises(OSError, match="no more"):
            await Images(cast("ImageIndex", Dying(index)), objects).put(MINE, [lost])

    async with STORES[name](place) as (index, objects):
        images = Images(index, objects)
        world = World(images, images, index, objects, Clock(clock.now_ms()))
        assert not await is_missing(world, MINE, kept)
        assert await is_missing(world, MINE, lost)
        assert len(await world.keys()) == 2
        assert await images.sweep(timedelta(days=-1)) == 1
        assert not await is_missing(world, MINE, kept)


async def test_lost_bytes_are_missing_not_a_failure(world: World, caplog: pytest.LogCaptureFixture) -> None:
    given = draft()
    await world.port.put(MINE, [given])
    await world.objects.delete(await world.keys())

    assert await is_missing(world, MINE, given)
    assert "are lost" in caplog.text
