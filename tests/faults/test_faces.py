"""Two processes of faces over MongoDB and Redis: one is killed in the middle, and no face is half of anything."""

from __future__ import annotations

import asyncio
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis as RedisClient

from deploy.local.child import Child, free_port
from deploy.local.redis import Redis
from libs.common import ports
from libs.common.errors import Code, MienError
from libs.common.http.peers import Peers
from libs.common.ids import new_id
from libs.common.rpc import remote
from libs.common.storage import mongo
from libs.common.storage.mongo import Document
from libs.common.wire.faces import AttributeDraft, FaceDraft, FaceFilter, TemporaryAttributeDraft
from services.faces.service import Faces
from services.faces.store_mongo import COLLECTIONS
from services.faces.temporary_redis import RedisTemporary
from tests.contract.face_stores import descriptor, sqlite
from tests.running import ROOT

PATIENCE_S = 60.0
BATCH = 50
ACCOUNT = new_id()
RAW = AttributeDraft(descriptors=[descriptor()])


class Process:
    """``mien serve faces``."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.child = Child(
            f"faces-{port}",
            [sys.executable, "-m", "mien", "serve", "faces"],
            log=folder / f"faces-{port}.log",
            environment={**environment, "MIEN_FACES_PORT": str(port)},
            folder=ROOT,
        )

    async def is_ready(self) -> bool:
        assert self.child.is_running(), self.child.log.read_text()[-2000:]
        return await asyncio.to_thread(self._answers)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Raises TimeoutError when it does not come to be."""
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.05)


@pytest.fixture
async def database(mongo_url: str) -> AsyncIterator[AsyncDatabase[Document]]:
    async with mongo.connect(mongo_url) as client:
        await mongo.migrate(client.get_default_database(), COLLECTIONS)
        yield client.get_default_database()


@pytest.fixture
async def processes(
    rabbit_url: str, redis_url: str, mongo_url: str, database: AsyncDatabase[Document], tmp_path: Path
) -> AsyncIterator[list[Process]]:
    environment = {
        "MIEN_BUS_URL": rabbit_url,
        "MIEN_REDIS_URL": redis_url,
        "MIEN_MONGO_URL": mongo_url,
        "MIEN_DATA_DIR": str(tmp_path / "data"),
    }
    processes = [Process(tmp_path, environment) for _ in range(2)]
    try:
        for process in processes:
            process.child.start()
        for process in processes:
            await until(process.is_ready)
        yield processes
    finally:
        for process in processes:
            process.child.kill()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def create_list(session: aiohttp.ClientSession, process: Process) -> str:
    headers = {"Luna-Account-Id": ACCOUNT}
    async with session.post(f"{process.url}/3/lists", json={}, headers=headers) as answer:
        assert answer.status == 201, await answer.text()
        return (await answer.json())["list_id"]


async def delete_list(session: aiohttp.ClientSession, process: Process, list_id: str) -> None:
    """Raises aiohttp.ClientError when the process does not live to answer."""
    headers = {"Luna-Account-Id": ACCOUNT}
    async with session.delete(f"{process.url}/3/lists/{list_id}", headers=headers) as answer:
        assert answer.status == 204, await answer.text()


async def require_whole(database: AsyncDatabase[Document]) -> None:
    """Each face has its descriptor, and each of its links is to a list that is there."""
    lists = {one["_id"]: one["list_id"] async for one in database["lists"].find({"deleted": False})}
    async for face in database["faces"].find({"deleted": False}):
        assert len(face["descriptors"]) == 1
        assert [lists.get(number) for number in face["numbers"]] == face["lists"]


async def test_faces_created_while_a_process_is_killed_are_whole_and_there_once(
    processes: list[Process], session: aiohttp.ClientSession, database: AsyncDatabase[Document]
) -> None:
    dying, living = processes
    list_id = await create_list(session, dying)
    batches = [[FaceDraft(face_id=new_id(), lists=[list_id], attribute=RAW) for _ in range(BATCH)] for _ in range(24)]
    acknowledged: list[str] = []
    waiting = iter(batches)

    async def create_until_killed() -> None:
        faces = remote(ports.Faces, Peers([dying.url]), session)
        for batch in waiting:
            try:
                created = await faces.create_faces(ACCOUNT, batch)
            except MienError as failure:
                if failure.code is not Code.CONNECTION:
                    raise
                return
            acknowledged.extend(face.face_id for face in created)
            if len(acknowledged) >= 4 * BATCH:
                dying.child.kill()

    await asyncio.gather(*(create_until_killed() for _ in range(4)))

    faces = remote(ports.Faces, Peers([living.url]), session)
    stored = set(await faces.select_faces(ACCOUNT, FaceFilter(list_id=list_id)))
    assert set(acknowledged) <= stored
    await require_whole(database)
    for batch in batches:  # as their emitters do, who got no answer
        await faces.create_faces(ACCOUNT, batch)
    every = {draft.face_id for batch in batches for draft in batch}
    assert set(await faces.select_faces(ACCOUNT, FaceFilter(list_id=list_id))) == every
    assert await database["faces"].count_documents({}) == len(every)
    await require_whole(database)


async def test_a_list_whose_deletion_was_killed_is_left_by_all_of_its_faces(
    processes: list[Process], session: aiohttp.ClientSession, database: AsyncDatabase[Document]
) -> None:
    dying, living = processes
    list_id = await create_list(session, living)
    faces = remote(ports.Faces, Peers([living.url]), session)
    for _ in range(2):
        drafts = [FaceDraft(lists=[list_id], attribute=RAW) for _ in range(1000)]
        await faces.create_faces(ACCOUNT, drafts)
    deleting = asyncio.create_task(delete_list(session, dying, list_id))

    async def is_marked() -> bool:
        return deleting.done() or await database["lists"].count_documents({"deleted": True}) > 0

    async def is_left_by_all() -> bool:
        return await database["faces"].count_documents({"lists": {"$in": [list_id]}}) == 0

    await until(is_marked)
    dying.child.kill()
    await asyncio.gather(deleting, return_exceptions=True)
    await until(is_left_by_all)
    await require_whole(database)
    assert await database["faces"].count_documents({"deleted": False}) == 2000


async def test_faces_are_served_while_redis_is_away(redis_server: Redis, redis_url: str, tmp_path: Path) -> None:
    async with sqlite(tmp_path) as stores, RedisClient.from_url(redis_url) as redis:
        faces = Faces(stores.store, RedisTemporary(redis))
        temporary = TemporaryAttributeDraft(attribute_id=new_id(), descriptors=RAW.descriptors)
        await faces.create_attributes(ACCOUNT, [temporary])
        copied = FaceDraft(attribute=AttributeDraft(attribute_id=temporary.attribute_id))
        redis_server.stop()
        for needs_redis in (
            faces.create_attributes(ACCOUNT, [temporary]),
            faces.put_attribute(ACCOUNT, temporary, force=True),
            faces.attributes(ACCOUNT, [temporary.attribute_id or ""]),
            faces.delete_attributes(ACCOUNT, [temporary.attribute_id or ""]),
            faces.create_faces(ACCOUNT, [copied]),
        ):
            with pytest.raises(MienError) as told:
                await needs_redis
            assert (told.value.code, told.value.status, told.value.retry_after_s) == (Code.STORE_UNAVAILABLE, 503, 1)
        [face] = await faces.create_faces(ACCOUNT, [FaceDraft(attribute=RAW)])
        assert len(await faces.face_attributes(ACCOUNT, [face.face_id])) == 1
        redis_server.start()
        await faces.create_faces(ACCOUNT, [copied])
