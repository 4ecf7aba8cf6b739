"""Disks that are full, and files that are not what they were."""

import contextlib
import os
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from libs.client import MienApiError, MienClient
from libs.common.errors import Code
from libs.common.ids import new_id
from tests import photos
from tests.running import RunningSuite


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.geteuid() == 0 and not subprocess.call(["mount", "-t", "tmpfs", "-o", "size=8m", "mien-test", disk])
    if not mounted:
        pytest.skip("a disk to fill needs the right to mount one")
    yield disk
    subprocess.check_call(["umount", disk])


@pytest.fixture
def cramped(small_disk: Path) -> Iterator[RunningSuite]:
    yield from running_on(small_disk / "data")


@pytest.fixture
def roomy(tmp_path: Path) -> Iterator[RunningSuite]:
    yield from running_on(tmp_path / "data")


def running_on(data_dir: Path) -> Iterator[RunningSuite]:
    running = RunningSuite(data_dir, MIEN_SDK_DETECT_LONG_SIDE="300").start()
    yield running
    assert running.stop() == 0


async def test_a_full_disk_refuses_what_it_cannot_keep_and_keeps_what_it_took(
    cramped: RunningSuite, small_disk: Path
) -> None:
    picture = photos.nobody_jpeg()
    async with MienClient(cramped.url, account=new_id()) as client:
        kept = await client.images.create(picture)
        face_id = await client.faces.create()
        fill(small_disk / "ballast")

        for write in (
            lambda: client.images.create(picture),
            lambda: client.faces.put(new_id(), user_data="x" * 100),
            lambda: client.handlers.save_event(new_id(), {"meta": {"text": "x" * 10_000}}),
            lambda: client.handlers.save_event(new_id(), {"meta": {"text": "x" * 10_000}}, wait_saving=False),
        ):
            with pytest.raises(MienApiError) as refusal:
                await until_refused(write)
            assert (refusal.value.status, refusal.value.error_code) == (507, Code.STORAGE_FULL.number)

        (small_disk / "ballast").unlink()
        assert (await client.images.get(await client.images.create(picture))).data == picture
        assert (await client.images.get(kept)).data == picture
        assert await client.faces.check(face_id)


async def until_refused(write: Callable[[], Awaitable[object]]) -> None:
    """The last pages that are free are soon used."""
    for _ in range(100):
        await write()


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(b"x" * 4096)


def test_a_database_that_is_none_is_named_and_nothing_starts(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "faces.db").write_text("Dear database, " * 500)
    with pytest.raises(RuntimeError, match=r"did not start: \S*faces.db: file is not a database"):
        RunningSuite(data).start()


async def test_a_picture_whose_file_is_gone_is_not_found(roomy: RunningSuite) -> None:
    async with MienClient(roomy.url, account=new_id()) as client:
        image_id = await client.images.create(photos.nobody_jpeg())
        for file in (roomy.data_dir / "images" / "bytes").rglob("*"):
            if file.is_file():
                file.unlink()
        with pytest.raises(MienApiError) as refusal:
            await client.images.get(image_id)
        assert (refusal.value.status, refusal.value.error_code) == (404, Code.IMAGE_MISSING.number)
