"""Every method of the client against the running platform: both mean the same by every path, field and answer."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import orjson
import pytest

from libs.client import MienApiError, MienClient
from libs.client.calls import Answer, Calls
from libs.common.ids import new_id
from libs.common.wire.events import Event, StatsGroup
from libs.common.wire.faces import AttributeDraft, DescriptorDraft, StoredBasicAttributes
from tests import photos
from tests.running import RunningSuite

POLICIES = {
    "extract_policy": {"extract_face_descriptor": 1},
    "storage_policy": {"image_origin_policy": {"store_image": 1}},
}
NO_METHOD_ON_PURPOSE = {
    ("POST", "/6/liveness"),
    ("POST", "/6/iso"),
    ("GET", "/6/ws"),
    ("PATCH", "/6/lists/{list_id}/faces"),
    ("POST", "/6/samples/bodies"),
}
"""Tried elsewhere (inference and subscriptions have files of their own), or a second door to the same thing; so are
changes of single samples."""

CALLED: set[tuple[str, str]] = set()
"""Method and path of every call of this file, ids left out."""


@pytest.fixture(autouse=True, scope="module")
def recorder() -> Iterator[None]:
    """Notes what the client calls."""
    send = Calls.send

    async def noting(self: Calls, method: str, path: str, **options: Any) -> Answer:
        CALLED.add((method, re.sub(r"/[0-9a-f-]{36}", "/{}", options.get("prefix", "/6") + path)))
        return await send(self, method, path, **options)

    Calls.send = noting
    yield
    Calls.send = send


@pytest.fixture
async def descriptor(client: MienClient) -> DescriptorDraft:
    """A real descriptor, by way of an event."""
    handler_id = await client.handlers.create(POLICIES)
    emission = await client.handlers.emit(handler_id, photos.astronaut_jpeg())
    found = await client.events.descriptor(emission.events[0].event_id)
    return DescriptorDraft(descriptor=found.descriptor, version=found.version)


async def test_handlers_from_creation_to_deletion(client: MienClient) -> None:
    await client.handlers.validate(POLICIES)
    handler_id = await client.handlers.create(POLICIES, description="gate A")
    assert await client.handlers.check(handler_id)
    assert await client.handlers.count(description="gate") == 1
    [listed] = await client.handlers.list(description="gate", handler_type=0)
    assert listed.handler_id == handler_id
    assert listed.policies is not None
    assert listed.policies.extract_policy.extract_face_descriptor == 1
    await client.handlers.replace(handler_id, listed.policies, description="gate B")
    replaced = await client.handlers.get(handler_id)
    assert (replaced.description, replaced.policies, replaced.version) == ("gate B", listed.policies, 2)
    await client.handlers.delete(handler_id)
    assert not await client.handlers.check(handler_id)


async def test_an_emission_and_the_event_it_leaves(client: MienClient) -> None:
    handler_id = await client.handlers.create(POLICIES)
    moment = datetime(2024, 5, 4, 9, 30, 10, tzinfo=UTC)
    emission = await client.handlers.emit(
        handler_id,
        [("a.jpg", photos.astronaut_jpeg()), ("b.jpg", photos.nobody_jpeg()), b"noise"],
        meta={"lane": 4},
        event_time=moment,
        source="gate-1",
        tags=["vip"],
        city="Graz",
        latitude=47.07,
        longitude=15.43,
    )
    assert [(image.filename, image.status) for image in emission.images] == [("a.jpg", 1), ("b.jpg", 1), ("image_2", 0)]
    [emitted] = emission.events
    assert emitted.location.geo_position is not None
    event = await client.events.get(emitted.event_id)
    assert (event.source, event.tags, event.meta, event.create_time) == ("gate-1", ["vip"], {"lane": 4}, moment)
    assert await client.events.check(event.event_id)
    assert [found.event_id for found in await client.events.find(sources=["gate-1"], create_time__gte=moment)] == [
        event.event_id
    ]
    assert await client.events.find(create_time__gte=moment + timedelta(seconds=1)) == []
    assert await client.events.find(targets=["source"]) == [{"source": "gate-1"}]
    counts = await client.events.stats(group_by=[StatsGroup(column="source")])
    assert counts.event_stats == [["gate-1", 1]]

    sample_id, origin = event.face_detections[0].sample_id, event.face_detections[0].image_origin
    assert sample_id is not None
    assert origin is not None
    assert (await client.images.get_face_sample(sample_id)).content_type == "image/jpeg"
    again = await client.handlers.emit(handler_id, samples=[sample_id], image_type=1)
    assert len(again.events) == 1
    origin_id = origin.rsplit("/", 1)[-1]
    mixed = await client.handlers.emit(handler_id, ("mine.jpg", photos.nobody_jpeg()), image_ids=[origin_id])
    assert [image.filename for image in mixed.images] == [origin_id, "mine.jpg"]
    assert len(mixed.events) == 1


async def test_events_made_elsewhere(client: MienClient, suite: RunningSuite) -> None:
    event_id, handler_id = new_id(), new_id()
    assert await client.handlers.save_event(handler_id, {"event_id": event_id, "source": "x"}) == event_id
    stored = await client.events.get(event_id)
    async with MienClient(suite.url, account=new_id()) as other:
        copy = stored.model_copy(update={"event_id": new_id()})
        with pytest.raises(MienApiError, match="400"):
            await other.events.save([copy])
    more = Event(event_id=new_id(), account_id=stored.account_id, handler_id=handler_id, create_time=stored.create_time)
    await client.events.save([stored, more])
    assert {event.event_id for event in await client.events.find()} == {event_id, more.event_id}


async def test_faces_and_their_attributes(client: MienClient, descriptor: DescriptorDraft) -> None:
    list_id, face_id, other_id = await client.lists.create("staff"), new_id(), new_id()
    draft = AttributeDraft(descriptors=[descriptor], basic_attributes=StoredBasicAttributes(age=40))
    assert (
        await client.faces.create(face_id=face_id, user_data="Ada", external_id="a-1", lists=[list_id], attribute=draft)
        == face_id
    )
    await client.faces.put(other_id, user_data="Bob")
    assert [face.user_data for face in await client.faces.find(list_id=list_id)] == ["Ada"]
    assert await client.faces.find(targets=["user_data"], external_ids=["a-1"]) == [{"user_data": "Ada"}]
    assert (await client.faces.count(), await client.faces.count_with_attributes()) == (2, 1)
    await client.faces.patch(face_id, user_data="Ada L.", external_id=None)
    face = await client.faces.get(face_id)
    assert (face.user_data, face.external_id, face.lists) == ("Ada L.", None, [list_id])

    attribute = await client.faces.get_attributes(face_id)
    assert attribute.face_descriptor is not None
    assert attribute.face_descriptor.descriptor == descriptor.descriptor
    assert attribute.basic_attributes == StoredBasicAttributes(age=40)
    assert list(await client.faces.attribute_ids([face_id, other_id])) == [face_id]
    await client.faces.put_attributes(other_id, {"descriptors": [descriptor]})
    await client.faces.patch_attributes(other_id, {"basic_attributes": {"gender": 1}})
    patched = await client.faces.get_attributes(other_id, targets=["basic_attributes"])
    assert (patched.basic_attributes, patched.face_descriptor) == (StoredBasicAttributes(gender=1), None)
    assert (await client.faces.attribute_samples(other_id)).face_descriptor_samples == []
    await client.faces.delete_attributes(other_id)
    with pytest.raises(MienApiError, match="11032"):
        await client.faces.get_attributes(other_id)

    await client.faces.delete(face_id)
    assert not await client.faces.check(face_id)
    with pytest.raises(MienApiError, match="22004"):
        await client.faces.delete_many([other_id, face_id])
    await client.faces.delete_many([other_id, face_id], ignore_missing=True)
    assert await client.faces.count() == 0


async def test_temporary_attributes(client: MienClient, descriptor: DescriptorDraft) -> None:
    attribute_id = await client.attributes.create(AttributeDraft(descriptors=[descriptor]), ttl=60)
    assert await client.attributes.check(attribute_id)
    got = await client.attributes.get(attribute_id, descriptor_version=descriptor.version)
    assert got.face_descriptor is not None
    assert got.face_descriptor.descriptor == descriptor.descriptor
    assert [one.attribute_id for one in await client.attributes.find([attribute_id, new_id()])] == [attribute_id]
    await client.attributes.put(attribute_id, {"basic_attributes": {"age": 30}}, force=True)
    assert (await client.attributes.get(attribute_id)).basic_attributes == StoredBasicAttributes(age=30)
    assert (await client.attributes.samples(attribute_id)).basic_attributes_samples == []
    await client.attributes.delete(attribute_id)
    assert not await client.attributes.check(attribute_id)


async def test_lists_and_who_is_on_them(client: MienClient) -> None:
    list_id, second = await client.lists.create("staff", list_id=new_id()), await client.lists.create("guests")
    face_id = await client.faces.create(user_data="Ada")
    await client.lists.attach(list_id, [face_id])
    assert (await client.lists.get(list_id)).face_ids == [face_id]
    await client.lists.detach(list_id, [face_id])
    assert (await client.lists.get(list_id)).face_ids == []
    await client.lists.patch(list_id, user_data="crew")
    assert [found.list_id for found in await client.lists.find(user_data__eq="crew")] == [list_id]
    assert await client.lists.count(user_data="e") == 2
    await client.lists.delete(list_id)
    assert not await client.lists.check(list_id)
    await client.lists.attach(second, [face_id])
    await client.lists.delete_many([second], with_faces=True)
    assert not await client.faces.check(face_id)


async def test_matching_what_is_stored_and_what_is_given(client: MienClient, descriptor: DescriptorDraft) -> None:
    face_id = await client.faces.create(attribute=AttributeDraft(descriptors=[descriptor]))
    raw = {
        "type": "raw_descriptor",
        "id": "probe",
        "data": {"descriptor": descriptor.descriptor, "version": descriptor.version},
    }
    [answer] = await client.matcher.faces([raw], [{"filters": {"origin": "faces"}}, {"filters": {"origin": "events"}}])
    faces, events = answer.matches
    assert [match.face["face_id"] for match in faces.result if match.face] == [face_id]
    assert [match.similarity for match in events.result] == [pytest.approx(1, abs=1e-3)]
    [given] = await client.matcher.raw([raw], [{**raw, "id": "same"}], threshold=0.5)
    assert given.matches[0].result[0].similarity == pytest.approx(1, abs=1e-3)
    with pytest.raises(MienApiError) as refusal:
        await client.matcher.bodies([{"type": "event", "id": new_id()}], [{"filters": {"origin": "events"}}])
    assert refusal.value.status == 400


async def test_pictures_and_objects(client: MienClient) -> None:
    picture = photos.nobody_jpeg()
    image_id = await client.images.create(picture, ttl=60, meta={"lane": "4"})
    stored = await client.images.get(image_id)
    assert (stored.data, stored.content_type, stored.meta) == (picture, "image/jpeg", {"lane": "4"})
    assert stored.expires is not None
    await client.images.put(image_id, ("other.jpg", photos.astronaut_jpeg()))
    assert (await client.images.get(image_id)).data == photos.astronaut_jpeg()
    assert await client.images.check(image_id)
    await client.images.delete(image_id)
    assert not await client.images.check(image_id)
    await client.images.delete_many([await client.images.create(picture)])

    object_id = await client.images.create_object(b'{"a": 1}')
    assert orjson.loads((await client.images.get_object(object_id)).data) == {"a": 1}
    await client.images.put_object(object_id, b"hello", content_type="text/plain")
    assert (await client.images.get_object(object_id)).content_type.startswith("text/plain")
    await client.images.delete_object(object_id)
    assert not await client.images.check_object(object_id)
    await client.images.delete_objects([await client.images.create_object(b"[]")])
    with pytest.raises(MienApiError, match="13003"):
        await client.images.get_body_sample(new_id())


async def test_inference_without_storing(client: MienClient, descriptor: DescriptorDraft) -> None:
    answer = await client.sdk(
        [("a.jpg", photos.astronaut_jpeg()), b"noise"], estimate_face_descriptor=1, estimate_face_warp=True
    )
    first, second = answer["images_estimations"]
    assert (first["filename"], first["status"], second["status"]) == ("a.jpg", 1, 0)
    [estimation] = first["estimations"]
    assert estimation["face"]["descriptor"]["version"] == descriptor.version
    warp = await client.images.create_face_sample(b64decode(estimation["face"]["warp"]))
    by_id = await client.sdk(samples=[warp], image_type=1, estimate_face_descriptor=1)
    assert by_id["images_estimations"][0]["status"] == 1
    assert (await client.capabilities()).estimators["face_descriptor"].available
    assert "luna-handlers" in await client.version()
    assert (await client.health())["execution_time"] >= 0


async def test_every_public_route_has_a_method(suite: RunningSuite) -> None:
    if len(CALLED) < 50:
        pytest.skip("looks at what all tests of this file have called")
    async with aiohttp.ClientSession() as session, session.get(f"{suite.url}/6/docs/spec") as answer:
        paths = (await answer.json())["paths"]
    public = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    called = {(method, path) for method, path in public if (method, re.sub(r"\{\w+\}", "{}", path)) in CALLED}
    single_samples = {(method, path) for method, path in public if path.startswith("/6/samples/") and method != "GET"}
    assert public - called - NO_METHOD_ON_PURPOSE - single_samples == set()
