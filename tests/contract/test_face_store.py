"""Properties of every face store: filters and paging against a plain Python oracle, the feed against replay."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeVar

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from libs.common import clock, descriptors
from libs.common.errors import Code, MienError
from libs.common.wire.base import Page
from libs.common.wire.faces import (
    AttributeDraft,
    DescriptorDraft,
    Face,
    FaceDraft,
    FaceFilter,
    FaceList,
    FacePatch,
    Link,
    ListDraft,
    ListFilter,
    StoredBasicAttributes,
    TemporaryAttributeDraft,
)
from services.faces.service import Faces
from tests.clocks import Clock
from tests.contract.face_stores import EXAMPLES, STORES, Place, Stores, descriptor, sqlite, uid
from tests.contract.following import Follower, Replica, everything

ACCOUNTS = uid(0xA1), uid(0xA2)
START_MS = 1_700_000_000_000
IDS = [uid(number) for number in range(8)]
WORDS = ["", "Ada", "ADA lovelace", "STRASSE", "straße", "Жанна", "жаннА", "100%", "a_b", "back\\slash", 'q"uote']


@pytest.fixture(params=list(STORES))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def opened(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    async with STORES[kind](Place(tmp_path, request)) as opened:
        yield opened


def on_every_store(
    examples: int, **drawn: st.SearchStrategy[Any]
) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[[str, pytest.FixtureRequest], None]]:
    """Tries a property on every store, each example on an empty one; it takes the service, its clock, what is drawn."""

    def test_of(holds: Callable[..., Coroutine[Any, Any, None]]) -> Callable[[str, pytest.FixtureRequest], None]:
        async def example(kind: str, request: pytest.FixtureRequest, values: dict[str, Any]) -> None:
            with TemporaryDirectory() as folder:
                async with STORES[kind](Place(Path(folder), request, wiped=True)) as stores:
                    turned = Clock(START_MS)
                    assume(stores.has_nul or "\\x00" not in repr(values))
                    await holds(stores.faces(turned), turned, **values)

        def test(kind: str, request: pytest.FixtureRequest) -> None:
            @settings(max_examples=round(examples * EXAMPLES.get(kind, 1)), deadline=None, database=None)
            @given(**drawn)
            def every(**values: Any) -> None:
                asyncio.run(example(kind, request, values))

            every()

        test.__name__ = test.__qualname__ = holds.__name__
        return test

    return test_of


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


ids = st.sampled_from(IDS)
words = st.sampled_from(WORDS)
moments = st.integers(-1, 6).map(lambda second: clock.render(clock.from_ms(START_MS + second * 1000)))
face_drafts = st.builds(
    FaceDraft,
    face_id=ids,
    user_data=words,
    event_id=optional(st.sampled_from(IDS[:2])),
    external_id=optional(st.sampled_from(["x", "y", "z", "x\0y"])),
    lists=st.lists(st.sampled_from(IDS[:2]), unique=True),
    attribute=optional(st.builds(AttributeDraft, attribute_id=st.sampled_from(IDS[:2]))),
)
F = TypeVar("F", FaceFilter, ListFilter)


def filters(model: type[F], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[F]:
    """One condition alone as often as any combination of them."""
    alone = [st.builds(model, **{name: values}) for name, values in fields.items()]
    return st.one_of(st.one_of(alone), st.builds(model, **{name: optional(values) for name, values in fields.items()}))


face_filters = filters(
    FaceFilter,
    user_data=words | st.sampled_from(["a", "ss", "ан", "%", "_", "\\"]),
    event_id=st.sampled_from(IDS[:3]),
    list_id=st.sampled_from(IDS[:3]),
    face_ids=st.lists(ids),
    attribute_ids=st.lists(st.sampled_from(IDS[:3])),
    external_ids=st.lists(st.sampled_from(["x", "y", "no", "x\0y"])),
    face_id__gte=ids,
    face_id__lt=ids,
    create_time__gte=moments,
    create_time__lt=moments,
)
list_filters = filters(
    ListFilter,
    user_data=words | st.sampled_from(["a", "A", "%"]),
    user_data__eq=words,
    create_time__gte=moments,
    create_time__lt=moments,
    last_update_time__gte=moments,
    last_update_time__lt=moments,
    list_ids=st.lists(ids),
    list_id__gte=ids,
    list_id__lt=ids,
)


async def delete_lists(faces: Faces, account: str, list_ids: list[str], with_faces: bool) -> None:
    await faces.delete_lists(account, list_ids, with_faces=with_faces)


def between(low: Any, value: Any, high: Any) -> bool:
    return (low is None or low <= value) and (high is None or value < high)


def moment_between(low: str | None, value: Any, high: str | None) -> bool:
    return between(low and clock.parse(low), value, high and clock.parse(high))


def face_passes(face: Face, source: str | None, where: FaceFilter) -> bool:
    return (
        (where.user_data is None or where.user_data.casefold() in face.user_data.casefold())
        and where.event_id in (None, face.event_id)
        and (where.list_id is None or where.list_id in face.lists)
        and (where.face_ids is None or face.face_id in where.face_ids)
        and (where.attribute_ids is None or source in where.attribute_ids)
        and (where.external_ids is None or face.external_id in where.external_ids)
        and between(where.face_id__gte, face.face_id, where.face_id__lt)
        and moment_between(where.create_time__gte, face.create_time, where.create_time__lt)
    )


def list_passes(one: FaceList, where: ListFilter) -> bool:
    return (
        (where.user_data is None or where.user_data in one.user_data)
        and where.user_data__eq in (None, one.user_data)
        and (where.list_ids is None or one.list_id in where.list_ids)
        and between(where.list_id__gte, one.list_id, where.list_id__lt)
        and moment_between(where.create_time__gte, one.create_time, where.create_time__lt)
        and moment_between(where.last_update_time__gte, one.last_update_time, where.last_update_time__lt)
    )


async def all_pages(find: Callable[[Page], Coroutine[Any, Any, list[Any]]], page_size: int) -> list[Any]:
    """Everything a listing gives, page by page, up to the first empty page."""
    found: list[Any] = []
    for number in range(1, 1000):
        page = await find(Page(page=number, page_size=page_size))
        if not page:
            return found
        assert len(page) <= page_size
        found += page
    raise AssertionError("the listing does not end")


@on_every_store(
    50,
    drafts=st.lists(face_drafts, min_size=1, unique_by=lambda draft: draft.face_id),
    wheres=st.lists(face_filters, min_size=4, max_size=10),
    size=st.integers(1, 4),
)
async def test_pages_of_faces_hold_exactly_those_that_pass(faces: Faces, turned: Clock, drafts, wheres, size) -> None:
    mine, theirs = ACCOUNTS
    for one in IDS[:2]:
        await faces.create_list(mine, ListDraft(list_id=one))
        raw = TemporaryAttributeDraft(attribute_id=one, descriptors=[descriptor()])
        await faces.create_attributes(mine, [raw])
    await faces.create_faces(theirs, [FaceDraft(user_data=word) for word in WORDS])
    stored: list[tuple[Face, str | None]] = []
    for place, draft in enumerate(drafts):
        [face] = await faces.create_faces(mine, [draft])
        stored.append((face, draft.attribute.attribute_id if draft.attribute else None))
        turned.advance(place % 2)
    for where in wheres:
        passing = [(face, source) for face, source in stored if face_passes(face, source, where)]
        expected = sorted((face for face, _ in passing), key=lambda face: face.face_id)
        assert await faces.select_faces(mine, where) == [face.face_id for face in expected]
        assert await faces.count_faces(mine, where) == len(passing)
        owning = sum(source is not None for _, source in passing)
        assert await faces.count_faces_with_attributes(mine, where) == owning
        if where.face_id__gte is None and where.face_id__lt is None:
            expected.sort(key=lambda face: face.create_time, reverse=True)
        assert await all_pages(partial(faces.find_faces, mine, where), size) == expected


@on_every_store(
    50,
    drawn=st.dictionaries(ids, words, min_size=1),
    touched=st.sets(ids),
    wheres=st.lists(list_filters, min_size=4, max_size=10),
    size=st.integers(1, 4),
)
async def test_pages_of_lists_hold_exactly_those_that_pass(
    faces: Faces, turned: Clock, drawn, touched, wheres, size
) -> None:
    mine, theirs = ACCOUNTS
    await faces.create_list(theirs, ListDraft(user_data="Ada"))
    for place, (list_id, user_data) in enumerate(drawn.items()):
        await faces.create_list(mine, ListDraft(list_id=list_id, user_data=user_data))
        turned.advance(place % 2)
    turned.advance(1)
    await faces.create_faces(mine, [FaceDraft(lists=sorted(touched & drawn.keys()))])
    every = [await faces.face_list(mine, list_id) for list_id in sorted(drawn)]
    for where in wheres:
        expected = [one for one in every if list_passes(one, where)]
        if where.list_id__gte is None and where.list_id__lt is None:
            expected.sort(key=lambda one: one.create_time, reverse=True)
        assert await all_pages(partial(faces.find_lists, mine, where), size) == expected
        assert await faces.count_lists(mine, where) == len(expected)


@on_every_store(20, members=st.sets(ids), size=st.integers(1, 4))
async def test_pages_of_a_list_hold_each_of_its_faces_once(faces: Faces, turned: Clock, members, size) -> None:
    list_id = await faces.create_list(ACCOUNTS[0], ListDraft())
    drafts = [FaceDraft(face_id=one, lists=[list_id] if one in members else []) for one in IDS]
    await faces.create_faces(ACCOUNTS[0], drafts)
    found = await all_pages(partial(faces.members, ACCOUNTS[0], list_id), size)
    assert found == sorted(members)


# The feed

VERSIONS = {1001: 128, 1002: 4}
LISTS = {IDS[0]: ACCOUNTS[0], IDS[1]: ACCOUNTS[0], IDS[2]: ACCOUNTS[1]}


@pytest.fixture(autouse=True)
def other_version(monkeypatch: pytest.MonkeyPatch) -> None:
    other = dataclasses.replace(descriptors.DLIB_RESNET, number=1002, length=VERSIONS[1002])
    monkeypatch.setitem(descriptors.VERSIONS, 1002, other)


def raw_descriptors(versions: set[int], seed: int) -> list[DescriptorDraft]:
    return [descriptor(seed, version, VERSIONS[version]) for version in sorted(versions)]


accounts = st.sampled_from(ACCOUNTS)
few_ids = st.sampled_from(IDS[:4])
list_ids = st.sampled_from(list(LISTS))
some_ids = st.lists(few_ids, min_size=1, max_size=3)
attribute_drafts = st.builds(
    AttributeDraft,
    basic_attributes=optional(st.builds(StoredBasicAttributes, age=optional(st.just(30)))),
    descriptors=st.builds(raw_descriptors, st.sets(st.sampled_from(list(VERSIONS))), st.integers(0, 3)),
    face_descriptor_samples=st.lists(st.sampled_from(IDS[:2]), max_size=1),
)
gallery_drafts = st.builds(
    FaceDraft, face_id=few_ids, lists=st.lists(list_ids, unique=True), attribute=optional(attribute_drafts)
)
actions: st.SearchStrategy[Literal["attach", "detach"]] = st.sampled_from(["attach", "detach"])
operations = st.one_of(
    st.tuples(st.just(Faces.create_faces), accounts, st.lists(gallery_drafts, min_size=1, max_size=3)),
    st.tuples(st.just(Faces.put_face), accounts, gallery_drafts),
    st.tuples(st.just(Faces.patch_face), accounts, few_ids, st.just(FacePatch(user_data="new"))),
    st.tuples(st.just(Faces.delete_faces), accounts, some_ids),
    st.tuples(st.just(Faces.put_face_attribute), accounts, few_ids, attribute_drafts),
    st.tuples(st.just(Faces.patch_face_attribute), accounts, few_ids, attribute_drafts),
    st.tuples(st.just(Faces.delete_face_attribute), accounts, few_ids),
    st.tuples(st.just(Faces.link), accounts, st.builds(Link, list_id=list_ids, face_ids=some_ids, action=actions)),
    st.tuples(st.just(Faces.create_list), accounts, st.builds(ListDraft, list_id=list_ids)),
    st.tuples(st.just(delete_lists), accounts, st.lists(list_ids, min_size=1, max_size=2), st.booleans()),
)


async def present(faces: Faces) -> Replica:
    return await everything(faces, ACCOUNTS)


@on_every_store(120, played=st.lists(operations, max_size=12), size=st.integers(1, 5))
async def test_replaying_the_feed_from_any_revision_gives_the_present_state(
    faces: Faces, turned: Clock, played: list[Any], size: int
) -> None:
    for place, (list_id, account) in enumerate(LISTS.items()):
        await faces.create_list(account, ListDraft(list_id=list_id))
        raw = AttributeDraft(descriptors=raw_descriptors({1001}, place))
        await faces.create_faces(account, [FaceDraft(face_id=IDS[place], lists=[list_id], attribute=raw)])
    followers = [Follower(size)]
    for operation, *arguments in played:
        follower = followers[-1].again()
        await follower.catch_up(faces)
        followers.append(follower)
        try:
            await operation(faces, *arguments)
        except MienError:
            page = await faces.changes(follower.revision, 1, follower.late)
            assert page.rows == [], "a refused operation left a change"
        turned.advance(1)
    state = await present(faces)
    for follower in followers:
        await follower.catch_up(faces)
        assert follower.replica == state
    log = [row.object_id for row in (await faces.changes(0, 1000, [])).rows]
    assert len(log) == len(set(log)), "the log keeps more than the latest change of a face"


async def test_a_follower_misses_nothing_while_others_write(opened: Stores) -> None:
    faces = opened.faces(Clock())

    async def writer(number: int) -> None:
        for _ in range(15):
            [face] = await faces.create_faces(ACCOUNTS[number % 2], [FaceDraft()])
            if number % 3 == 0:
                await faces.delete_faces(face.account_id, [face.face_id])

    follower = Follower(3)
    writing = asyncio.gather(*(writer(number) for number in range(8)))
    while not writing.done():
        await follower.catch_up(faces)
    await writing
    await follower.catch_up(faces)
    assert follower.replica == await present(faces)


# Accounts, temporary attributes and lists over time


async def test_the_store_itself_keeps_accounts_apart(opened: Stores) -> None:
    mine, theirs = ACCOUNTS
    store, attributes = opened.store, opened.temporary
    turned, every = Clock(), Page(page_size=100)
    faces = opened.faces(turned)
    list_id = await faces.create_list(mine, ListDraft())
    raw = TemporaryAttributeDraft(descriptors=[descriptor()])
    [temporary] = await faces.create_attributes(mine, [raw])
    copy = AttributeDraft(attribute_id=temporary)
    [face] = await faces.create_faces(mine, [FaceDraft(lists=[list_id], attribute=copy)])
    before = (
        await present(faces),
        await faces.face_list(mine, list_id),
        await faces.attribute(mine, temporary),
    )

    assert await store.faces(theirs, [face.face_id]) == []
    assert await store.find_faces(theirs, FaceFilter(list_id=list_id), every) == []
    assert await store.select_faces(theirs, FaceFilter()) == []
    assert await store.count_faces(theirs, FaceFilter()) == 0
    assert await store.face_attributes(theirs, [face.face_id]) == []
    assert await attributes.get(theirs, [temporary], turned()) == []
    assert await store.lists(theirs, [list_id]) == []
    assert await store.find_lists(theirs, ListFilter(), every) == []
    assert await store.count_lists(theirs, ListFilter()) == 0
    assert await store.members(theirs, list_id, every) == []
    assert not await store.patch_face(theirs, face.face_id, {"user_data": "stolen"})
    assert not await store.patch_list(theirs, list_id, "stolen")
    assert await attributes.delete(theirs, [temporary], turned()) == 0
    await store.delete_faces(theirs, [face.face_id], turned(), all_or_none=False)
    await store.delete_lists(theirs, [list_id])
    for refused in (
        store.edit_attribute(theirs, face.face_id, lambda _: None, turned()),
        store.attach(theirs, list_id, [face.face_id], turned()),
        store.detach(theirs, list_id, [face.face_id], turned()),
        store.delete_faces(theirs, [face.face_id], turned(), all_or_none=True),
    ):
        with pytest.raises(MienError):
            await refused
    after = (
        await present(faces),
        await faces.face_list(mine, list_id),
        await faces.attribute(mine, temporary),
    )
    assert after == before


@pytest.mark.parametrize("with_faces", [True, False])
async def test_who_joins_a_list_at_the_last_moment_goes_with_it_where_its_faces_do(
    opened: Stores, monkeypatch: pytest.MonkeyPatch, with_faces: bool
) -> None:
    account, faces = ACCOUNTS[0], opened.faces()
    doomed, kept = await faces.create_list(account, ListDraft()), await faces.create_list(account, ListDraft())
    early, late, stranger = (FaceDraft(face_id=one, lists=[doomed, kept]) for one in IDS[:3])
    await faces.create_faces(account, [early, stranger.model_copy(update={"lists": [kept]})])
    delete = opened.store.delete_lists

    async def deleted_just_after_somebody_joined(*arguments: Any) -> Any:
        await faces.create_faces(account, [late])
        return await delete(*arguments)

    monkeypatch.setattr(opened.store, "delete_lists", deleted_just_after_somebody_joined)
    await faces.delete_lists(account, [doomed], with_faces=with_faces)
    left = await faces.find_faces(account, FaceFilter(), Page(page_size=10))
    assert {face.face_id for face in left} == ({IDS[2]} if with_faces else set(IDS[:3]))
    assert all(face.lists == [kept] for face in left)


async def test_an_id_that_many_want_at_once_is_one_accounts(opened: Stores) -> None:
    faces = opened.faces()
    draft = TemporaryAttributeDraft(attribute_id=uid(), basic_attributes=StoredBasicAttributes(age=1))
    puts = [faces.put_attribute(account, draft, force=False) for account in ACCOUNTS * 4]
    outcomes = await asyncio.gather(*puts, return_exceptions=True)
    assert [one for one in outcomes if not isinstance(one, MienError)] == [True]
    assert {one.code for one in outcomes if isinstance(one, MienError)} == {Code.REQUEST_CONFLICT}


async def test_attributes_of_one_call_are_stored_all_or_none(opened: Stores) -> None:
    mine, theirs = ACCOUNTS
    faces, basics = opened.faces(), StoredBasicAttributes(age=1)
    free, taken = [TemporaryAttributeDraft(attribute_id=uid(), basic_attributes=basics) for _ in range(2)]
    await faces.create_attributes(theirs, [taken])
    with pytest.raises(MienError):
        await faces.create_attributes(mine, [free, taken])
    assert await faces.attributes(mine, [free.attribute_id or ""]) == []
    assert await faces.create_attributes(mine, [free, free]) == [free.attribute_id] * 2


async def test_the_sweep_drops_only_what_has_expired(tmp_path: Path) -> None:
    async with sqlite(tmp_path) as opened:
        turned = Clock()
        faces = opened.faces(turned)
        basics = StoredBasicAttributes(age=40)
        short = [TemporaryAttributeDraft(basic_attributes=basics, ttl=1) for _ in range(3)]
        await faces.create_attributes(ACCOUNTS[0], short)
        [lasting] = await faces.create_attributes(ACCOUNTS[0], [TemporaryAttributeDraft(basic_attributes=basics)])
        assert await opened.temporary.sweep(turned(), 10) == 0
        turned.advance(1)
        assert await opened.temporary.sweep(turned(), 2) == 2
        await faces.sweep()
        assert await opened.temporary.sweep(turned(), 10) == 0
        assert [one.attribute_id for one in await faces.attributes(ACCOUNTS[0], [lasting])] == [lasting]


async def test_an_expired_attribute_gives_up_its_id(opened: Stores) -> None:
    turned = Clock()
    faces = opened.faces(turned)
    draft = TemporaryAttributeDraft(attribute_id=uid(), basic_attributes=StoredBasicAttributes(age=1), ttl=60)
    assert await faces.put_attribute(ACCOUNTS[0], draft, force=False)
    turned.advance(60)
    changed = draft.model_copy(update={"basic_attributes": StoredBasicAttributes(age=2)})
    assert await faces.put_attribute(ACCOUNTS[1], changed, force=False)
    assert (await faces.attribute(ACCOUNTS[1], draft.attribute_id or "")).basic_attributes == changed.basic_attributes


async def test_the_time_of_update_moves_with_members_and_their_attributes(opened: Stores) -> None:
    turned = Clock()
    faces, account = opened.faces(turned), ACCOUNTS[0]
    list_id = await faces.create_list(account, ListDraft())
    bystander = await faces.create_list(account, ListDraft())
    raw = AttributeDraft(descriptors=[descriptor()])
    face, gone = await faces.create_faces(account, [FaceDraft(attribute=raw), FaceDraft(lists=[list_id])])

    async def moves(call: Coroutine[Any, Any, Any]) -> bool:
        turned.advance(1)
        await call
        return (await faces.face_list(account, list_id)).last_update_time == clock.from_ms(turned())

    def link(action: Literal["attach", "detach"]) -> Coroutine[Any, Any, None]:
        return faces.link(account, Link(list_id=list_id, face_ids=[face.face_id], action=action))

    assert await moves(link("attach"))
    assert not await moves(link("attach"))
    assert await moves(faces.patch_face_attribute(account, face.face_id, raw))
    assert await moves(faces.put_face_attribute(account, face.face_id, raw))
    assert await moves(faces.delete_face_attribute(account, face.face_id))
    assert not await moves(faces.patch_list(account, list_id, "renamed"))
    assert not await moves(faces.patch_face(account, face.face_id, FacePatch(user_data="renamed")))
    assert await moves(link("detach"))
    assert not await moves(link("detach"))
    assert await moves(faces.create_faces(account, [FaceDraft(face_id=uid(7), lists=[list_id])]))
    assert await moves(faces.put_face(account, FaceDraft(face_id=uid(7))))
    assert await moves(faces.delete_face(account, gone.face_id))
    untouched = await faces.face_list(account, bystander)
    assert untouched.last_update_time == untouched.create_time


async def test_everything_is_there_after_the_store_is_opened_again(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    account, listed, place = ACCOUNTS[0], uid(), Place(tmp_path, request)
    async with STORES[kind](place) as opened:
        faces = opened.faces()
        await faces.create_list(account, ListDraft(list_id=listed))
        draft = FaceDraft(lists=[listed], attribute=AttributeDraft(descriptors=[descriptor()]))
        [face] = await faces.create_faces(account, [draft])
        [temporary] = await faces.create_attributes(account, [TemporaryAttributeDraft(descriptors=[descriptor()])])
        before = (
            await present(faces),
            await faces.changes(0, 10, []),
            await faces.attribute(account, temporary),
        )
    async with STORES[kind](place) as opened:
        faces = opened.faces()
        assert before == (
            await present(faces),
            await faces.changes(0, 10, []),
            await faces.attribute(account, temporary),
        )
        await faces.delete_faces(account, [face.face_id])
        assert (await faces.changes(0, 10, [])).revision > before[1].revision
