"""Faces in MongoDB when several processes work on them and some die on the way.

The processes go step by step over one database; hypothesis says who is next and who dies.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from libs.common.errors import Code, MienError
from libs.common.storage import mongo
from libs.common.storage.mongo import Document
from libs.common.wire.base import Page
from libs.common.wire.faces import AttributeDraft, FaceDraft, Link, ListDraft, ListFilter
from services.faces.lists_mongo import MARK_MS, MongoLists
from services.faces.service import Faces
from services.faces.store_mongo import COLLECTIONS, MongoFaceStore
from tests.clocks import Clock
from tests.contract import mongo_shim
from tests.contract.face_stores import descriptor, uid
from tests.contract.following import Follower, Replica, everything
from tests.contract.turns import Turns

ACCOUNT = uid(0xA1)
FACES = [uid(number) for number in range(1, 5)]
LISTS = [uid(number) for number in range(0x11, 0x13)]

Call = tuple[Any, ...]
"""A method of Faces and what it is called with, after the account."""
REFUSALS = {Code.LISTS_MISSING, Code.LIST_MISSING, Code.FACES_MISSING, Code.FACE_MISSING, Code.OVERLOADED}


def process(database: AsyncDatabase[Document], clock: Clock) -> Faces:
    """A service in a process of its own."""
    unused: Any = None
    return Faces(MongoFaceStore(database, clock), unused, clock)


async def do(faces: Faces, call: Call) -> None:
    """What the present state does not allow is refused."""
    method, *arguments = call
    try:
        await method(faces, ACCOUNT, *arguments)
    except MienError as refusal:
        if refusal.code not in REFUSALS:
            raise


async def delete_list(faces: Faces, account: str, list_id: str) -> None:
    await faces.delete_lists(account, [list_id], with_faces=False)


def drafts(face_ids: list[str], lists: list[str]) -> list[FaceDraft]:
    raw = AttributeDraft(descriptors=[descriptor()])
    return [FaceDraft(face_id=one, lists=lists, attribute=raw) for one in face_ids]


some_faces = st.lists(st.sampled_from(FACES), min_size=1, max_size=3, unique=True)
some_lists = st.lists(st.sampled_from(LISTS), max_size=2, unique=True)
actions: st.SearchStrategy[Literal["attach", "detach"]] = st.sampled_from(["attach", "detach"])
calls: st.SearchStrategy[Call] = st.one_of(
    st.tuples(st.just(Faces.create_faces), st.builds(drafts, some_faces, some_lists)),
    st.tuples(st.just(Faces.put_face), st.builds(lambda ids, lists: drafts(ids, lists)[0], some_faces, some_lists)),
    st.tuples(st.just(Faces.delete_faces), some_faces),
    st.tuples(st.just(Faces.delete_face_attribute), st.sampled_from(FACES)),
    st.tuples(
        st.just(Faces.link), st.builds(Link, list_id=st.sampled_from(LISTS), face_ids=some_faces, action=actions)
    ),
    st.tuples(st.just(Faces.create_list), st.builds(ListDraft, list_id=st.sampled_from(LISTS))),
    st.tuples(st.just(delete_list), st.sampled_from(LISTS)),
)


LINKING: list[Call] = [
    (Faces.create_faces, drafts(FACES[1:2], LISTS[:1])),
    (Faces.put_face, drafts(FACES[:1], LISTS[:1])[0]),
    (Faces.link, Link(list_id=LISTS[0], face_ids=FACES[:1], action="attach")),
]


async def state(faces: Faces) -> tuple[Replica, list[str]]:
    lists = await faces.find_lists(ACCOUNT, ListFilter(), Page(page_size=100))
    return await everything(faces, [ACCOUNT]), sorted(one.list_id for one in lists)


async def require_whole(database: AsyncDatabase[Document]) -> None:
    """Every link is to a list that is there, and what is deleted has none."""
    lists = {one["_id"]: one["list_id"] async for one in database["lists"].find({"deleted": False})}
    async for face in database["faces"].find():
        assert [lists.get(number) for number in face["numbers"]] == face["lists"], "a link leads to nothing"
        assert not face["deleted"] or not (face["lists"] or face["descriptors"])


@settings(max_examples=120, deadline=None, database=None)
@given(
    works=st.lists(st.lists(calls, min_size=1, max_size=4), min_size=2, max_size=4),
    kills=st.integers(0, 3),
    chance=st.randoms(),
)
def test_no_face_is_left_in_a_list_that_is_gone(works: list[list[Call]], kills: int, chance: Random) -> None:
    async def play() -> None:
        clock = Clock()
        turns = Turns(chance, clock, seconds=[0, 0, 1])
        database = mongo_shim.database(turns)
        follower = Follower(2)

        async def begin() -> None:
            await mongo.migrate(database, COLLECTIONS)
            faces = process(database, clock)
            for list_id in LISTS:
                await faces.create_list(ACCOUNT, ListDraft(list_id=list_id))
            await faces.create_faces(ACCOUNT, drafts(FACES[:2], LISTS))

        async def work(calls: list[Call]) -> None:
            faces = process(database, clock)
            for call in calls:
                await do(faces, call)

        async def follow() -> None:
            for _ in range(5):
                await follower.catch_up(process(database, clock))

        async def finish() -> None:
            await MongoFaceStore(database, clock).finish_deletions()
            await require_whole(database)
            faces = process(database, clock)
            await follower.catch_up(faces)
            assert follower.replica == await everything(faces, [ACCOUNT])

        await turns.play(begin())
        await turns.play(follow(), *(work(calls) for calls in works), kills=kills)
        await turns.play(finish())

    asyncio.run(play())


@settings(max_examples=100, deadline=None, database=None)
@given(linking=st.sampled_from(LINKING), chance=st.randoms())
def test_a_link_made_while_its_list_is_deleted_does_not_stay(linking: Call, chance: Random) -> None:
    async def play() -> None:
        clock = Clock()
        turns = Turns(chance, clock, seconds=[0])
        database = mongo_shim.database(turns)

        async def begin() -> None:
            await mongo.migrate(database, COLLECTIONS)
            faces = process(database, clock)
            await faces.create_list(ACCOUNT, ListDraft(list_id=LISTS[0]))
            await faces.create_faces(ACCOUNT, drafts(FACES[:1], []))

        await turns.play(begin())
        await turns.play(do(process(database, clock), linking), do(process(database, clock), (delete_list, LISTS[0])))
        await turns.play(require_whole(database))

    asyncio.run(play())


@settings(max_examples=60, deadline=None, database=None)
@given(made=calls, before=st.lists(calls, max_size=4), chance=st.randoms())
def test_a_call_made_again_completes_what_a_killed_one_began(made: Call, before: list[Call], chance: Random) -> None:
    async def play() -> None:
        clock = Clock()
        turns = Turns(chance, clock, seconds=[0])
        once, twice = mongo_shim.database(turns), mongo_shim.database(turns)

        async def prepare(database: AsyncDatabase[Document]) -> None:
            await mongo.migrate(database, COLLECTIONS)
            faces = process(database, clock)
            for call in before:
                await do(faces, call)

        async def compare() -> None:
            await MongoFaceStore(twice, clock).finish_deletions()
            assert await state(process(twice, clock)) == await state(process(once, clock))

        for database in (once, twice):
            await turns.play(prepare(database))
        await turns.play(do(process(twice, clock), made), kills=1)
        for database in (once, twice):
            await turns.play(do(process(database, clock), made))
        await turns.play(compare())

    asyncio.run(play())


@pytest.fixture
async def database() -> AsyncDatabase[Document]:
    database = mongo_shim.database()
    await mongo.migrate(database, COLLECTIONS)
    return database


async def test_a_list_made_again_has_none_of_the_faces_of_one_whose_deletion_was_broken_off(
    database: AsyncDatabase[Document],
) -> None:
    faces, draft = process(database, Clock()), ListDraft(list_id=LISTS[0])
    await faces.create_list(ACCOUNT, draft)
    await faces.create_faces(ACCOUNT, drafts(FACES, LISTS[:1]))
    await MongoLists(database).mark(ACCOUNT, LISTS[:1], 1)
    await faces.create_list(ACCOUNT, draft)
    assert await faces.members(ACCOUNT, LISTS[0], Page()) == []
    await require_whole(database)


async def test_what_is_left_of_a_deleted_list_goes_when_no_write_can_be_under_way(
    database: AsyncDatabase[Document],
) -> None:
    clock = Clock()
    faces, store = process(database, clock), MongoFaceStore(database, clock)
    await faces.create_list(ACCOUNT, ListDraft(list_id=LISTS[0]))
    await delete_list(faces, ACCOUNT, LISTS[0])
    clock.advance(MARK_MS / 1000)
    await store.finish_deletions()
    assert await database["lists"].count_documents({}) == 1
    clock.advance(1)
    await store.finish_deletions()
    assert await database["lists"].count_documents({}) == 0


async def test_a_refused_write_is_told_without_the_descriptors_it_was_of(
    database: AsyncDatabase[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    [draft] = drafts(FACES[:1], [])

    async def refuse(operations: list[Any], **_: Any) -> None:
        raise BulkWriteError({"writeErrors": [{"code": 121, "op": operations[0]._doc}], "writeConcernErrors": []})

    store = MongoFaceStore(database)
    monkeypatch.setattr(store._documents, "bulk_write", refuse, raising=False)
    unused: Any = None
    with pytest.raises(MienError) as told:
        await Faces(store, unused).create_faces(ACCOUNT, [draft])
    assert told.value.code is Code.INTERNAL
    assert (str(told.value), told.value.__cause__, told.value.__suppress_context__) == (
        "1 Internal server error: MongoDB refused to write faces: codes [121]",
        None,
        True,
    )
