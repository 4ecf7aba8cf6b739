"""The port Faces, in process and over HTTP, on every store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from libs.common import ports
from libs.common.errors import Code, MienError
from libs.common.http.peers import Peers
from libs.common.http.server import Servers, build_app
from libs.common.ids import new_id
from libs.common.rpc import expose, remote
from libs.common.wire.base import Page
from libs.common.wire.faces import (
    AttributeDraft,
    FaceDraft,
    FaceFilter,
    Link,
    ListDraft,
    StoredBasicAttributes,
    TemporaryAttributeDraft,
)
from services.faces.service import Faces
from tests.clocks import Clock
from tests.contract.face_stores import STORES, Place, descriptor

MINE, THEIRS = new_id(), new_id()
ALL = Page(page_size=1000)


@dataclass
class World:
    """``port`` is under test; ``service`` arranges what the port has no method for."""

    port: ports.Faces
    service: Faces
    clock: Clock


async def _health() -> dict[str, object]:
    return {}


@pytest.fixture(params=[(store, door) for store in STORES for door in ("in process", "http")], ids=" ".join)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    store, door = request.param
    async with AsyncExitStack() as stack:
        clock = Clock()
        stores = await stack.enter_async_context(STORES[store](Place(tmp_path, request)))
        service = stores.faces(clock)
        port: ports.Faces = service
        if door == "http":
            servers = Servers()
            stack.push_async_callback(servers.stop)
            app = build_app("faces", [("", expose(ports.Faces, service))], _health)
            number = await servers.start(app, "127.0.0.1", 0)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            port = remote(ports.Faces, Peers([f"http://127.0.0.1:{number}"]), session)
        yield World(port, service, clock)


async def refused(call, code: Code, status: int, *named: str) -> None:
    """``call`` fails with that code and status, and its detail names every one of ``named``."""
    with pytest.raises(MienError) as failure:
        await call
    assert (failure.value.code, failure.value.status) == (code, status)
    assert all(name in failure.value.detail for name in named), failure.value.detail


async def test_a_face_is_stored_with_its_attribute_and_links(world: World) -> None:
    list_id = await world.service.create_list(MINE, ListDraft(user_data="staff"))
    sample, raw = new_id(), descriptor(1, score=0.75)
    draft = FaceDraft(
        event_id=new_id(),
        user_data="Ada",
        external_id="e-1",
        avatar="/6/images/a",
        lists=[list_id, list_id],
        attribute=AttributeDraft(
            basic_attributes=StoredBasicAttributes(age=36, gender=0, ethnicity=4),
            descriptors=[raw],
            face_descriptor_samples=[sample],
            basic_attributes_samples=[sample],
        ),
    )
    [face] = await world.port.create_faces(MINE, [draft])
    assert face.model_dump(exclude={"face_id", "create_time", "lists"}) == {
        "account_id": MINE,
        **draft.model_dump(include={"event_id", "user_data", "external_id", "avatar"}),
    }
    assert (face.lists, face.create_time.timestamp()) == ([list_id], world.clock.now_ms / 1000)
    assert await world.port.find_faces(MINE, FaceFilter(), ALL) == [face]
    [attribute] = await world.port.face_attributes(MINE, [face.face_id, new_id()])
    assert (attribute.face_id, attribute.account_id, attribute.expires) == (face.face_id, MINE, None)
    assert draft.attribute is not None
    assert attribute.basic_attributes == draft.attribute.basic_attributes
    assert attribute.descriptors == [raw]
    assert attribute.face_descriptor_samples == attribute.basic_attributes_samples == [sample]


async def test_creating_again_changes_nothing(world: World) -> None:
    [source] = await world.port.create_attributes(MINE, [TemporaryAttributeDraft(descriptors=[descriptor()], ttl=60)])
    draft = FaceDraft(face_id=new_id(), user_data="first", attribute=AttributeDraft(attribute_id=source))
    [first] = await world.port.create_faces(MINE, [draft])
    before = await world.port.changes(0, 10, [])
    world.clock.advance(60)
    changed = draft.model_copy(update={"user_data": "second"})
    other = FaceDraft(user_data="other")
    again, fresh, twice = await world.port.create_faces(MINE, [changed, other, changed])
    assert (again, twice, fresh.user_data) == (first, first, "other")
    assert len((await world.port.changes(before.revision, 10, [])).rows) == 1
    assert len(await world.port.face_attributes(MINE, [draft.face_id or ""])) == 1


async def test_simultaneous_creations_of_one_face_store_it_once(world: World) -> None:
    draft = FaceDraft(face_id=new_id(), user_data="one")
    answers = await asyncio.gather(*(world.port.create_faces(MINE, [draft]) for _ in range(8)))
    assert {face.face_id for [face] in answers} == {draft.face_id}
    assert len((await world.port.changes(0, 10, [])).rows) == 1


async def test_a_batch_is_stored_whole_or_not_at_all(world: World) -> None:
    good, missing = FaceDraft(user_data="good"), new_id()
    for bad, code in (
        (FaceDraft(lists=[missing]), Code.LISTS_MISSING),
        (FaceDraft(attribute=AttributeDraft(attribute_id=missing)), Code.ATTRIBUTE_MISSING),
    ):
        await refused(world.port.create_faces(MINE, [good, bad]), code, 400, missing)
    await refused(world.port.create_faces(MINE, [good] * 1001), Code.TOO_MANY, 400, "1001", "1000")
    assert await world.port.select_faces(MINE, FaceFilter()) == []
    assert await world.port.changes(0, 10, []) == await world.port.changes(0, 1, [])


@pytest.mark.parametrize(
    ("drafts", "code", "named"),
    [
        ([descriptor(version=77)], Code.DESCRIPTOR_VERSION_UNKNOWN, ["descriptors.0", "77"]),
        ([descriptor(), descriptor(length=4)], Code.BAD_DESCRIPTOR, ["descriptors.1", "512", "16"]),
        ([descriptor(1), descriptor(2)], Code.BAD_BODY, ["descriptors.1", "1001"]),
    ],
    ids=["unknown version", "wrong length", "same version twice"],
)
async def test_a_descriptor_that_cannot_be_is_refused(world: World, drafts, code: Code, named) -> None:
    face = FaceDraft(attribute=AttributeDraft(descriptors=drafts))
    await refused(world.port.create_faces(MINE, [face]), code, 400, "attribute.", *named)
    await refused(world.port.create_attributes(MINE, [TemporaryAttributeDraft(descriptors=drafts)]), code, 400, *named)


async def test_a_temporary_attribute_is_gone_when_its_time_is_up(world: World) -> None:
    basics = StoredBasicAttributes(age=20)
    short, long = await world.port.create_attributes(
        MINE,
        [
            TemporaryAttributeDraft(basic_attributes=basics, ttl=60),
            TemporaryAttributeDraft(descriptors=[descriptor(3)]),
        ],
    )
    found = {one.attribute_id: one for one in await world.port.attributes(MINE, [short, long, new_id()])}
    assert set(found) == {short, long}
    assert found[long].descriptors == [descriptor(3)]
    assert found[long].expires is not None
    assert found[long].expires.timestamp() * 1000 == world.clock.now_ms + 300_000
    world.clock.advance(59.999)
    assert len(await world.port.attributes(MINE, [short])) == 1
    world.clock.advance(0.001)
    assert [one.attribute_id for one in await world.port.attributes(MINE, [short, long])] == [long]
    draft = FaceDraft(attribute=AttributeDraft(attribute_id=short))
    await refused(world.port.create_faces(MINE, [draft]), Code.ATTRIBUTE_MISSING, 400, short)
    await world.service.sweep()
    assert [one.attribute_id for one in await world.port.attributes(MINE, [short, long])] == [long]


async def test_a_face_owns_a_copy_of_the_attribute_it_was_made_from(world: World) -> None:
    chosen = new_id()
    draft = TemporaryAttributeDraft(attribute_id=chosen, descriptors=[descriptor(4)])
    assert await world.port.create_attributes(MINE, [draft, draft]) == [chosen, chosen]
    [face] = await world.port.create_faces(MINE, [FaceDraft(attribute=AttributeDraft(attribute_id=chosen))])
    await world.port.delete_attributes(MINE, [chosen, new_id()])
    assert await world.port.attributes(MINE, [chosen]) == []
    [owned] = await world.port.face_attributes(MINE, [face.face_id])
    assert (owned.attribute_id, owned.descriptors, owned.expires) == (chosen, [descriptor(4)], None)
    assert await world.port.select_faces(MINE, FaceFilter(attribute_ids=[chosen])) == [face.face_id]


async def test_an_attribute_without_content_is_no_attribute(world: World) -> None:
    empty = AttributeDraft(basic_attributes=StoredBasicAttributes())
    [face] = await world.port.create_faces(MINE, [FaceDraft(attribute=empty)])
    assert await world.port.face_attributes(MINE, [face.face_id]) == []
    await refused(world.port.create_attributes(MINE, [TemporaryAttributeDraft()]), Code.BAD_BODY, 400)


async def test_an_account_sees_and_touches_only_its_own(world: World) -> None:
    list_id = await world.service.create_list(MINE, ListDraft())
    [temporary] = await world.port.create_attributes(MINE, [TemporaryAttributeDraft(descriptors=[descriptor()])])
    draft = FaceDraft(user_data="mine", lists=[list_id], attribute=AttributeDraft(attribute_id=temporary))
    [face] = await world.port.create_faces(MINE, [draft])
    taken = draft.model_copy(update={"face_id": face.face_id, "lists": [], "attribute": None})

    await refused(world.port.require_lists(THEIRS, [list_id]), Code.LISTS_MISSING, 400, list_id)
    await refused(world.port.create_faces(THEIRS, [taken]), Code.REQUEST_CONFLICT, 409, face.face_id)
    for intruder in (FaceDraft(lists=[list_id]), FaceDraft(attribute=draft.attribute)):
        await refused(world.port.create_faces(THEIRS, [intruder]), _missing(intruder), 400)
    stolen = TemporaryAttributeDraft(attribute_id=temporary, basic_attributes=StoredBasicAttributes(age=1))
    await refused(world.port.create_attributes(THEIRS, [stolen]), Code.REQUEST_CONFLICT, 409, temporary)
    await world.port.delete_faces(THEIRS, [face.face_id])
    await world.port.delete_attributes(THEIRS, [temporary])
    for where in (FaceFilter(), FaceFilter(face_ids=[face.face_id]), FaceFilter(list_id=list_id)):
        assert await world.port.find_faces(THEIRS, where, ALL) == []
        assert await world.port.select_faces(THEIRS, where) == []
    assert await world.port.face_attributes(THEIRS, [face.face_id]) == []
    assert await world.port.attributes(THEIRS, [temporary]) == []

    await world.port.require_lists(MINE, [list_id])
    assert await world.port.find_faces(MINE, FaceFilter(), ALL) == [face]
    assert len(await world.port.attributes(MINE, [temporary])) == 1


def _missing(intruder: FaceDraft) -> Code:
    return Code.LISTS_MISSING if intruder.lists else Code.ATTRIBUTE_MISSING


async def test_an_id_stays_with_its_account_after_deletion(world: World) -> None:
    draft = FaceDraft(face_id=new_id())
    await world.port.create_faces(MINE, [draft])
    await world.port.delete_faces(MINE, [draft.face_id or ""])
    await refused(world.port.create_faces(THEIRS, [draft]), Code.REQUEST_CONFLICT, 409)
    [back] = await world.port.create_faces(MINE, [draft])
    [row] = (await world.port.changes(0, 10, [])).rows
    assert (back.face_id, row.object_id, row.account_id, row.deleted) == (draft.face_id, draft.face_id, MINE, False)


async def test_require_lists_names_what_is_missing(world: World) -> None:
    list_id, first, second = await world.service.create_list(MINE, ListDraft()), new_id(), new_id()
    await world.port.require_lists(MINE, [])
    await world.port.require_lists(MINE, [list_id, list_id])
    await refused(world.port.require_lists(MINE, [first, list_id, second]), Code.LISTS_MISSING, 400, first, second)


async def test_deleting_faces_takes_attributes_and_links_along(world: World) -> None:
    list_id = await world.service.create_list(MINE, ListDraft())
    draft = FaceDraft(lists=[list_id], attribute=AttributeDraft(descriptors=[descriptor()]))
    kept, gone = await world.port.create_faces(MINE, [draft, draft])
    await world.port.delete_faces(MINE, [gone.face_id, new_id()])
    await world.port.delete_faces(MINE, [gone.face_id])
    assert await world.port.select_faces(MINE, FaceFilter(list_id=list_id)) == [kept.face_id]
    assert [one.face_id for one in await world.port.face_attributes(MINE, [kept.face_id, gone.face_id])] == [
        kept.face_id
    ]
    assert await world.service.members(MINE, list_id, ALL) == [kept.face_id]


async def test_the_feed_tells_the_present_state_of_what_changed(world: World) -> None:
    first_list, second_list = [await world.service.create_list(MINE, ListDraft()) for _ in range(2)]
    raw = descriptor(9)
    draft = FaceDraft(lists=[first_list], attribute=AttributeDraft(descriptors=[raw]))
    linked, deleted, untouched = await world.port.create_faces(MINE, [draft, draft, FaceDraft()])
    before = await world.port.changes(0, 10, [])
    assert (len(before.rows), before.more) == (3, False)
    link = Link(list_id=second_list, face_ids=[linked.face_id], action="attach")
    await world.service.link(MINE, link)
    await world.port.delete_faces(MINE, [deleted.face_id])
    after = await world.port.changes(before.revision, 10, [])
    assert [row.model_dump() for row in after.rows] == [
        {
            "object_id": linked.face_id,
            "account_id": MINE,
            "deleted": False,
            "descriptors": {raw.version: raw.descriptor},
            "lists": sorted([first_list, second_list]),
        },
        {"object_id": deleted.face_id, "account_id": MINE, "deleted": True, "descriptors": {}, "lists": []},
    ]
    await world.service.link(MINE, link)
    assert await world.port.changes(after.revision, 10, []) == after.model_copy(update={"rows": []})
    everything = await world.port.changes(0, 10, [])
    assert [row.object_id for row in everything.rows] == [untouched.face_id, linked.face_id, deleted.face_id]


async def test_the_feed_says_when_it_is_not_the_one_the_revision_came_from(world: World) -> None:
    await world.port.create_faces(MINE, [FaceDraft()])
    assert (await world.port.changes(99, 10, [])).model_dump() == {"revision": 1, "rows": [], "more": False, "late": []}
    await refused(world.port.changes(0, 0, []), Code.BAD_QUERY, 400, "limit")
