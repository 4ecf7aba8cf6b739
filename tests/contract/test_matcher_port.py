"""The port Matcher, in process and over HTTP, over real stores of faces and events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libs.common import descriptors
from libs.common.descriptors import DEFAULT_BODY, pack_sdk
from libs.common.errors import Code, MienError
from libs.common.ids import new_id
from libs.common.wire.estimations import Descriptor
from libs.common.wire.faces import AttributeDraft, DescriptorDraft, Link, ListDraft, TemporaryAttributeDraft
from tests.contract.face_stores import Place
from tests.contract.matching import OTHER_FACE, World, event, face, found, open_world, raw, request, similarity, vector

MINE, THEIRS = new_id(), new_id()
ALL_FACES: dict[str, Any] = {"filters": {"origin": "faces"}, "targets": ["face_id"]}
ALL_EVENTS: dict[str, Any] = {"filters": {"origin": "events"}, "targets": ["event_id"]}
PROBE = raw(vector(0.0))


@pytest.fixture(params=[("embedded", "in process"), ("embedded", "http"), ("scaled", "http")], ids=" ".join)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(Place(tmp_path, request), *request.param) as world:
        yield world


@pytest.fixture
def other_version(monkeypatch: pytest.MonkeyPatch) -> int:
    """A registered face version that matching does not use."""
    monkeypatch.setitem(descriptors.VERSIONS, OTHER_FACE.number, OTHER_FACE)
    return OTHER_FACE.number


async def refused(call: Awaitable[Any], code: Code, *named: str) -> None:
    """``call`` fails with that code and status 400, and its detail names every one of ``named``."""
    with pytest.raises(MienError) as failure:
        await call
    assert (failure.value.code, failure.value.status) == (code, 400)
    assert all(name in failure.value.detail for name in named), failure.value.detail


def uid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


# Memory equals the stores


async def test_a_face_is_a_candidate_from_its_acknowledged_creation_until_its_deletion(world: World) -> None:
    rng = np.random.default_rng(0)

    async def live(lists: list[str]) -> None:
        for _ in range(4):
            own = rng.standard_normal(128).astype("<f4").tobytes()
            [made] = await world.faces.create_faces(MINE, [face(own, lists=lists)])
            for matcher in (world.matcher, world.replica):
                narrow = {"filters": {"origin": "faces", "list_id": lists[0]}, "limit": 1, "threshold": 0.9}
                asked = request([raw(own)], {**ALL_FACES, "limit": 1, "threshold": 0.9}, narrow)
                assert found(await matcher.match_faces(MINE, asked)) == [[[made.face_id], [made.face_id]]]
            await world.faces.delete_faces(MINE, [made.face_id])
            for matcher in (world.replica, world.matcher):
                assert found(await matcher.match_faces(MINE, asked)) == [[[], []]]

    lists = [await world.faces.create_list(MINE, ListDraft()) for _ in range(3)]
    await asyncio.gather(*(live([lists[number % 3]]) for number in range(12)))


async def test_lists_follow_links_and_end_with_the_list(world: World) -> None:
    first, second = [await world.faces.create_list(MINE, ListDraft()) for _ in range(2)]
    [a, b] = await world.faces.create_faces(
        MINE, [face(vector(0.1), lists=[first]), face(vector(0.2), lists=[first, second])]
    )
    blocks = [{"filters": {"origin": "faces", "list_id": one}} for one in (first, second)]
    assert found(await world.match(MINE, [PROBE], *blocks)) == [[[a.face_id, b.face_id], [b.face_id]]]

    await world.faces.link(MINE, Link(list_id=first, face_ids=[b.face_id], action="detach"))
    await world.faces.link(MINE, Link(list_id=second, face_ids=[a.face_id], action="attach"))
    assert found(await world.match(MINE, [PROBE], *blocks)) == [[[a.face_id], [a.face_id, b.face_id]]]

    await world.faces.delete_list(MINE, second, with_faces=False)
    await refused(world.match(MINE, [PROBE], *blocks), Code.LISTS_MISSING, second)
    assert found(await world.match(MINE, [PROBE], ALL_FACES)) == [[[a.face_id, b.face_id]]]


async def test_a_face_is_found_by_the_descriptor_it_has_now(world: World) -> None:
    [made] = await world.faces.create_faces(MINE, [face(vector(1.0))])
    near = {**ALL_FACES, "threshold": 0.9}
    assert found(await world.match(MINE, [raw(vector(1.0)), raw(vector(2.0))], near)) == [[[made.face_id]], [[]]]

    await world.faces.put_face(MINE, face(vector(2.0), face_id=made.face_id))
    assert found(await world.match(MINE, [raw(vector(1.0)), raw(vector(2.0))], near)) == [[[]], [[made.face_id]]]

    await world.faces.delete_face_attribute(MINE, made.face_id)
    assert found(await world.match(MINE, [raw(vector(2.0))], ALL_FACES)) == [[[]]]


async def test_accounts_never_mix(world: World) -> None:
    theirs_list = await world.faces.create_list(THEIRS, ListDraft())
    [mine] = await world.faces.create_faces(MINE, [face(vector(0.3))])
    [theirs] = await world.faces.create_faces(THEIRS, [face(vector(), lists=[theirs_list], external_id="x")])
    their_event = event(THEIRS, vector(), external_id="x", track_id="x")
    await world.events.save(THEIRS, [their_event], [])
    [their_attribute] = await world.faces.create_attributes(
        THEIRS, [TemporaryAttributeDraft(descriptors=[DescriptorDraft(descriptor=vector(), version=1001)])]
    )
    blocks = [
        ALL_FACES,
        ALL_EVENTS,
        {"filters": {"origin": "faces", "face_ids": [theirs.face_id, mine.face_id]}},
        {"filters": {"origin": "events", "event_ids": [their_event.event_id]}},
        {"filters": {"origin": "attributes", "attribute_ids": [their_attribute]}},
    ]
    assert found(await world.match(MINE, [PROBE], *blocks)) == [[[mine.face_id], [], [mine.face_id], [], []]]

    in_their_list = {"filters": {"origin": "faces", "list_id": theirs_list}}
    await refused(world.match(MINE, [PROBE], in_their_list), Code.LISTS_MISSING, theirs_list)
    for reference, code in [
        ({"type": "face", "id": theirs.face_id}, Code.FACE_MISSING),
        ({"type": "event", "id": their_event.event_id}, Code.EVENTS_MISSING),
        ({"type": "attribute", "id": their_attribute}, Code.ATTRIBUTE_MISSING),
        ({"type": "face_external_id", "id": "x"}, Code.NO_FACE_WITH_EXTERNAL_ID),
        ({"type": "event_external_id", "id": "x"}, Code.EVENTS_MISSING),
        ({"type": "track_id", "id": "x"}, Code.EVENTS_MISSING),
    ]:
        await refused(world.match(MINE, [reference], ALL_FACES), code, reference["id"])


# Results


async def test_best_first_ties_by_lower_id_threshold_inclusive_then_limit(world: World) -> None:
    ids = [uid(number) for number in range(4)]
    drafts = [face(vector(x), face_id=one) for one, x in zip(ids, (0.4, 0.3, -0.3, 0.5), strict=True)]
    await world.faces.create_faces(MINE, list(reversed(drafts)))

    def block(threshold: float, limit: int) -> dict[str, Any]:
        return {**ALL_FACES, "threshold": threshold, "limit": limit}

    [everything] = (await world.match(MINE, [PROBE], block(0, 9)))[0].matches
    scores = [match.similarity for match in everything.result]
    assert scores == pytest.approx([similarity(x) for x in (0.3, 0.3, 0.4, 0.5)], rel=1e-6)
    answer = await world.match(MINE, [PROBE], block(0, 1), block(scores[2], 9), block(np.nextafter(scores[2], 1), 9))
    assert found(answer) == [[[ids[1]], [ids[1], ids[2], ids[0]], [ids[1], ids[2]]]]


async def test_every_reference_is_searched_in_every_block_in_order(world: World) -> None:
    [a, b] = await world.faces.create_faces(MINE, [face(vector(1.0)), face(vector(0, 1.0))])
    references = [raw(vector(0, 1.0), id="p"), {"type": "face", "id": a.face_id}]
    only_b = {"filters": {"origin": "faces", "face_ids": [b.face_id]}, "targets": ["face_id", "similarity"]}

    answer = await world.match(MINE, references, {**ALL_FACES, "limit": 1}, only_b)
    assert [one.reference for one in answer] == [{"type": "raw_descriptor", "id": "p"}, references[1]]
    assert found(answer) == [[[b.face_id], [b.face_id]], [[a.face_id], [b.face_id]]]
    assert answer[0].matches[1].model_dump() == {
        "filters": {"origin": "faces", "face_ids": [b.face_id]},
        "result": [{"face": {"face_id": b.face_id}, "similarity": similarity(0)}],
    }


async def test_filters_narrow_the_candidates(world: World) -> None:
    inside = await world.faces.create_list(MINE, ListDraft())
    [a, b, c] = await world.faces.create_faces(
        MINE,
        [
            face(vector(0.1), user_data="Ada", lists=[inside]),
            face(vector(0.2), user_data="Bob", lists=[inside], external_id="e-1"),
            face(vector(0.3), user_data="Adele"),
        ],
    )
    filters = [
        {"user_data": "ad"},
        {"user_data": "ad", "list_id": inside},
        {"external_ids": ["e-1"]},
        {"face_ids": []},
        {"list_id": inside, "account_id": MINE},
        {"account_id": THEIRS},
    ]
    answer = await world.match(MINE, [PROBE], *({"filters": {"origin": "faces", **one}} for one in filters))
    assert found(answer) == [[[a.face_id, c.face_id], [a.face_id], [b.face_id], [], [a.face_id, b.face_id], []]]
    assert [block.filters for block in answer[0].matches] == [{"origin": "faces", **one} for one in filters]


async def test_events_are_candidates_and_references(world: World) -> None:
    gate, hall = event(MINE, vector(0.1), source="gate"), event(MINE, vector(0.2), source="hall", tags=["vip"])
    await world.events.save(MINE, [gate, hall, event(MINE, source="gate")], [])
    by_source = {"filters": {"origin": "events", "sources": ["hall"]}, "targets": ["event_id", "tags"]}
    answer = await world.match(MINE, [{"type": "event", "id": gate.event_id}], ALL_EVENTS, by_source)
    assert found(answer) == [[[gate.event_id, hall.event_id], [hall.event_id]]]
    assert answer[0].matches[1].result[0].event == {"event_id": hall.event_id, "tags": ["vip"]}

    await world.events.delete(MINE, [gate.event_id])
    assert found(await world.match(MINE, [PROBE], ALL_EVENTS)) == [[[hall.event_id]]]


async def test_temporary_attributes_are_candidates_and_references(world: World) -> None:
    drafts = [
        TemporaryAttributeDraft(descriptors=[DescriptorDraft(descriptor=vector(x), version=1001)]) for x in (0.5, 0.1)
    ]
    [far, near] = await world.faces.create_attributes(MINE, drafts)
    block = {"filters": {"origin": "attributes", "attribute_ids": [far, near, new_id()]}, "targets": ["attribute_id"]}
    assert found(await world.match(MINE, [PROBE, {"type": "attribute", "id": far}], block)) == [
        [[near, far]],
        [[far, near]],
    ]


async def test_an_external_or_track_id_gives_one_answer_per_object_that_has_it(world: World) -> None:
    faces = await world.faces.create_faces(
        MINE, [face(vector(0.1), external_id="x"), face(vector(0.2), external_id="x"), face(external_id="x")]
    )
    events = [event(MINE, vector(0.1 * number), track_id="t", external_id="x") for number in (1, 2)]
    await world.events.save(MINE, [*events, event(MINE, track_id="t")], [])

    first = {**ALL_FACES, "limit": 1}
    answer = await world.match(MINE, [{"type": "face_external_id", "id": "x"}], first)
    described = {one.face_id for one in faces[:2]}
    assert {one.reference["face_id"] for one in answer} == described
    assert [[[one.reference["face_id"]]] for one in answer] == found(answer)
    for kind, name in (("track_id", "t"), ("event_external_id", "x")):
        answer = await world.match(MINE, [{"type": kind, "id": name}], {**ALL_EVENTS, "limit": 1})
        assert sorted(one.reference["event_id"] for one in answer) == sorted(one.event_id for one in events)
        assert [[[one.reference["event_id"]]] for one in answer] == found(answer)


async def test_the_default_targets_are_the_whole_record_without_descriptors(world: World) -> None:
    [made] = await world.faces.create_faces(MINE, [face(vector(), user_data="Ada")])
    seen = event(MINE, vector(), meta={"lane": 4})
    await world.events.save(MINE, [seen], [])
    answer = await world.match(MINE, [PROBE], {"filters": {"origin": "faces"}}, {"filters": {"origin": "events"}})
    face_match, event_match = (block.result[0] for block in answer[0].matches)
    assert face_match.face == made.model_dump(mode="json")
    assert event_match.event is not None
    assert event_match.event["meta"] == {"lane": 4}
    assert not {"face_descriptor", "body_descriptor"} & event_match.event.keys()


# Refusals


async def test_a_reference_without_a_fitting_descriptor_is_refused(world: World, other_version: int) -> None:
    [bare, older, empty] = await world.faces.create_faces(
        MINE,
        [
            face(),
            face(vector(), other_version),
            face().model_copy(update={"attribute": AttributeDraft.model_validate({"basic_attributes": {"age": 3}})}),
        ],
    )
    eyeless = event(MINE, track_id="t")
    await world.events.save(MINE, [eyeless], [])
    missing = new_id()
    for reference, code, named in [
        ({"type": "face", "id": missing}, Code.FACE_MISSING, missing),
        ({"type": "face", "id": bare.face_id}, Code.NO_FACE_ATTRIBUTES, bare.face_id),
        ({"type": "face", "id": empty.face_id}, Code.DESCRIPTOR_MISSING, empty.face_id),
        ({"type": "face", "id": older.face_id}, Code.REFERENCE_VERSION, str(other_version)),
        ({"type": "event", "id": missing}, Code.EVENTS_MISSING, missing),
        ({"type": "event", "id": eyeless.event_id}, Code.DESCRIPTOR_MISSING, eyeless.event_id),
        ({"type": "track_id", "id": "t"}, Code.DESCRIPTOR_MISSING, eyeless.event_id),
        ({"type": "attribute", "id": missing}, Code.ATTRIBUTE_MISSING, missing),
        (raw(vector(), other_version, id="p"), Code.REFERENCE_VERSION, "'p'"),
        (raw(vector(), 7), Code.DESCRIPTOR_VERSION_UNKNOWN, "7"),
        (raw(b"1234"), Code.BAD_DESCRIPTOR, "512"),
        ({"type": "sdk_descriptor", "data": b"no header"}, Code.BAD_DESCRIPTOR, "header"),
    ]:
        await refused(world.match(MINE, [PROBE, reference], ALL_FACES), code, named)
    assert found(await world.match(MINE, [PROBE], ALL_FACES)) == [[[]]]


async def test_a_match_that_is_too_large_or_asks_for_unknown_keys_is_refused(world: World) -> None:
    async def refuse(references: list[Any], block: dict[str, Any], code: Code, named: str) -> None:
        await refused(world.match(MINE, references, block), code, named)

    await refuse([PROBE], {**ALL_FACES, "limit": 1001}, Code.TOO_MANY_CANDIDATES, "1000")
    await refuse([PROBE] * 1001, ALL_FACES, Code.TOO_MANY, "references")
    await refuse([PROBE] * 101, {**ALL_FACES, "limit": 1000}, Code.TOO_MANY_CANDIDATES, "100000")
    await refuse(
        [PROBE], {**ALL_FACES, "targets": ["face_id", "age"]}, Code.FACE_TARGET_UNKNOWN, "candidates.0.targets"
    )
    await refuse([PROBE], {**ALL_EVENTS, "targets": ["face_descriptor"]}, Code.BAD_BODY, "face_descriptor")


def body(*components: float) -> bytes:
    """As :func:`vector`, of a body."""
    return vector(*components) * 2


async def test_bodies_are_matched_with_events_by_what_events_keep_of_bodies(world: World) -> None:
    near, far = (Descriptor(version=DEFAULT_BODY, data=body(place)) for place in (0.1, 0.2))
    both, other = event(MINE, vector(0.1), body_descriptor=near), event(MINE, vector(0.1))
    faceless, theirs = event(MINE, body_descriptor=far), event(THEIRS, body_descriptor=near)
    await world.events.save(MINE, [both, other, faceless], [])
    await world.events.save(THEIRS, [theirs], [])

    async def nearest(reference: dict[str, Any]) -> list[str | None]:
        [answer] = await world.matcher.match_bodies(MINE, request([reference], ALL_EVENTS))
        return [match.event["event_id"] for match in answer.matches[0].result if match.event]

    assert await nearest(raw(body(0.1), DEFAULT_BODY)) == [both.event_id, faceless.event_id]
    assert await nearest({"type": "event", "id": faceless.event_id}) == [faceless.event_id, both.event_id]
    await world.events.delete(MINE, [both.event_id])
    assert await nearest(raw(body(0.1), DEFAULT_BODY)) == [faceless.event_id]


async def test_what_has_no_body_is_not_matched_by_one(world: World) -> None:
    seen = event(MINE, vector())
    await world.events.save(MINE, [seen], [])

    async def refuse(reference: Any, block: dict[str, Any], code: Code) -> None:
        await refused(world.matcher.match_bodies(MINE, request([reference], block)), code)

    await refuse({"type": "event", "id": seen.event_id}, ALL_EVENTS, Code.BODY_DESCRIPTOR_MISSING)
    await refuse(raw(vector(), DEFAULT_BODY), ALL_EVENTS, Code.BAD_DESCRIPTOR)
    await refuse(raw(vector(), 2999), ALL_EVENTS, Code.DESCRIPTOR_VERSION_UNKNOWN)
    await refuse(raw(vector()), ALL_EVENTS, Code.REFERENCE_VERSION)
    await refuse({"type": "face", "id": new_id()}, ALL_EVENTS, Code.BAD_BODY)
    await refuse(raw(body(), DEFAULT_BODY), ALL_FACES, Code.BAD_BODY)


async def test_an_sdk_descriptor_is_a_reference(world: World) -> None:
    [made] = await world.faces.create_faces(MINE, [face(vector(0.1))])
    answer = await world.match(MINE, [{"type": "sdk_descriptor", "data": pack_sdk(1001, vector(0.1))}], ALL_FACES)
    assert (answer[0].reference, found(answer)) == ({"type": "sdk_descriptor"}, [[[made.face_id]]])
