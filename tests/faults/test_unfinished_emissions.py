"""A process that dies amid an emission, and services that are away when it is to be taken back."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from libs.common import clock
from libs.common.errors import Code, MienError
from libs.common.ids import Id, new_id
from libs.common.settings import StorageSettings
from libs.common.storage.sqlite import Database
from libs.common.storage.storage import Storage
from libs.common.wire.estimations import Descriptor, Rect
from libs.common.wire.events import Event, EventFilter
from libs.common.wire.faces import FaceDraft, FaceFilter, ListDraft
from libs.common.wire.handlers import EmitQuery
from libs.common.wire.notices import Notice
from libs.common.wire.policies import Policies
from libs.common.wire.sdk import ErrorBody, FaceResult, Image, ImageResult, Person, SdkParams, SdkResult
from services.events.service import Events
from services.events.store_sqlite import SCHEMA as EVENTS_SCHEMA
from services.events.store_sqlite import SqliteEventStore
from services.faces import app as faces_app
from services.faces.service import Faces
from services.handlers import pipeline
from services.handlers.emission import Emission, Picture
from services.handlers.journal import LEASE_S, OVERDUE_S
from services.handlers.journal_sqlite import SCHEMA, SqliteJournal
from services.handlers.ports import Services
from services.handlers.unfinished import Unfinished
from services.image_store import app as image_store_app
from services.image_store.service import Images
from tests.contract.event_stores import NoQueue
from tests.running import ROOT

ACCOUNT, LIST = "6ea10461-3c4c-4a5c-a8b5-6b4f8b7d2a11", "b5a0a1a2-8c1e-4d2f-9d43-0f6a54b5c0aa"


class Eyes:
    """Inference that sees one face in every picture."""

    async def estimate(self, images: list[Image], params: SdkParams) -> SdkResult:
        done = ErrorBody(error_code=0, desc="Success")
        face = FaceResult(
            rect=Rect(x=0, y=0, width=9, height=9),
            score=1,
            warp=b"\xff\xd8\xff\xe0 a warp",
            descriptor=Descriptor(version=1001, data=bytes(512), score=1),
        )
        persons = [Person(face=face)]
        return SdkResult(
            images=[ImageResult(filename=one.filename, status=1, error=done, persons=persons) for one in images]
        )


@dataclass
class World:
    """The services an emission stores things in, over one folder, and its journal."""

    faces: Faces
    images: Images
    events: Events
    journal: SqliteJournal

    def services(self, **others: Any) -> Services:
        beside = {"faces": self.faces, "images": self.images, "events": self.events, **others}
        return Services(sdk=Eyes(), matcher=SimpleNamespace(), bus=SimpleNamespace(), **beside)  # type: ignore[arg-type]

    async def left(self) -> tuple[int, int, int]:
        """Faces in the list, faces, events."""
        listed = await self.faces.count_faces(ACCOUNT, FaceFilter(list_id=LIST))
        everything = await self.faces.count_faces(ACCOUNT, FaceFilter())
        return listed, everything, len(await self.events.select(ACCOUNT, EventFilter()))


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    storage = Storage(StorageSettings(data_dir=folder, durable=False))
    events = await Database(folder / "events.db", EVENTS_SCHEMA, durable=False).open()
    journal = await storage.sqlite("handlers.db", SCHEMA)
    faces, images = await faces_app.build(storage), await image_store_app.build(storage)
    try:
        yield World(
            faces.service,
            images.service,
            Events(SqliteEventStore(events), NoQueue(), lambda _: None),
            SqliteJournal(journal),
        )
    finally:
        await events.close()
        await faces.stop()
        await images.stop()
        await storage.close()


async def emit(world: World, services: Services) -> None:
    face_policy = {"store_face": 1, "link_to_lists_policy": [{"list_id": LIST}]}
    emission = Emission(
        account=ACCOUNT,
        handler_id=new_id(),
        policies=Policies.model_validate({"storage_policy": {"face_policy": face_policy}}),
        query=EmitQuery(),
        meta=None,
        created=clock.now(),
        ended=None,
        pictures=[Picture("a.jpg", Image(filename="a.jpg", data=b"jpeg"))],
    )
    await pipeline.run(emission, services, world.journal)


def in_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now_ms = clock.now_ms() + int(seconds * 1000)
    monkeypatch.setattr(clock, "now_ms", lambda: now_ms)


@pytest.mark.parametrize(
    ("dies", "left"), [("before saving", (0, 0, 0)), ("after saving", (1, 1, 1)), ("before faces", (0, 0, 0))]
)
async def test_an_emission_whose_process_dies_is_whole_or_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: str, left: tuple[int, int, int]
) -> None:
    async with world(tmp_path) as one:
        await one.faces.create_list(ACCOUNT, ListDraft(list_id=LIST))
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, str(tmp_path), dies), env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert await asyncio.wait_for(child.wait(), 60) == 9
    async with world(tmp_path) as one:
        if dies == "before saving":
            assert await one.left() == (1, 1, 0)
        unfinished = Unfinished(one.journal, one.services())
        await unfinished.sweep()
        in_time(monkeypatch, OVERDUE_S)
        for _ in range(2):
            await unfinished.sweep()
        assert await one.left() == left
        assert await one.journal.take(9) == []


class Away:
    """The faces service, out of reach for deletions as long as ``is_away``."""

    def __init__(self, faces: Faces) -> None:
        self._faces = faces
        self.is_away = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._faces, name)

    async def delete_faces(self, account: Id, face_ids: list[Id]) -> None:
        if self.is_away:
            raise MienError(Code.CONNECTION, "faces")
        await self._faces.delete_faces(account, face_ids)


async def test_what_could_not_be_taken_back_is_taken_back_when_its_service_is_there_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as one:
        await one.faces.create_list(ACCOUNT, ListDraft(list_id=LIST))
        faces = Away(one.faces)
        refusing = SimpleNamespace(save=_refuse)
        with pytest.raises(MienError, match="the queue is full"):
            await emit(one, one.services(faces=faces, events=refusing))
        assert await one.left() == (1, 1, 0)

        unfinished = Unfinished(one.journal, one.services(faces=faces))
        in_time(monkeypatch, OVERDUE_S)
        await unfinished.sweep()
        assert await one.left() == (1, 1, 0)
        faces.is_away = False
        in_time(monkeypatch, LEASE_S)
        await unfinished.sweep()
        assert await one.left() == (0, 0, 0)
        assert await one.images.purge() == 0


async def _refuse(account: Id, events: list[Event], notices: list[Notice]) -> None:
    raise MienError(Code.OVERLOADED, "the queue is full", retry_after_s=1)


async def test_a_save_that_comes_after_its_emission_was_taken_back_stores_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_the_bus: list[Event] = []

    async def publish(account: Id, events: list[Event], notices: list[Notice]) -> None:
        on_the_bus.extend(events)
        raise MienError(Code.STORE_UNAVAILABLE, "no confirm")

    async with world(tmp_path) as one:
        await one.faces.create_list(ACCOUNT, ListDraft(list_id=LIST))
        with pytest.raises(MienError, match="no confirm"):
            await emit(one, one.services(events=SimpleNamespace(save=publish)))
        in_time(monkeypatch, OVERDUE_S)
        await Unfinished(one.journal, one.services()).sweep()
        await one.events.save(ACCOUNT, on_the_bus, [])
        assert await one.left() == (0, 0, 0)


async def _die(folder: str, when: str) -> None:
    async with world(Path(folder)) as one:

        async def save(account: Id, events: list[Event], notices: list[Notice]) -> None:
            if when == "after saving":
                await one.events.save(account, events, notices)
            os._exit(9)

        async def create(account: Id, drafts: list[FaceDraft]) -> None:
            os._exit(9)

        faces: Any = one.faces if when != "before faces" else SimpleNamespace(create_faces=create)
        await emit(one, one.services(events=SimpleNamespace(save=save), faces=faces))


if __name__ == "__main__":
    asyncio.run(_die(*sys.argv[1:]))
