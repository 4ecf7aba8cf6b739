"""Handlers and emissions through the gateway, with real photos and the real models."""

import asyncio
import base64
import io
import json
from typing import Any

import aiohttp
import pytest

from libs.client import MienApiError, MienClient
from libs.common.ids import new_id
from libs.common.wire.handlers import Emission
from tests import photos
from tests.running import RunningSuite

EXTRACT = {"extract_face_descriptor": 1}
NOBODY_STORED: dict[str, Any] = {"face_sample_policy": {"store_sample": 0}}


def searching(list_id: str, **more: Any) -> dict[str, Any]:
    """Policies that recognise the members of a list."""
    search = {"label": "staff", "candidates": {"origin": "faces", "list_id": list_id}, "threshold": 0.5}
    return {"extract_policy": EXTRACT, "match_policy": [search], **more}


def enrolling(list_id: str) -> dict[str, Any]:
    """Policies that make every face a member of a list."""
    face = {"store_face": 1, "set_sample_as_avatar": 1, "link_to_lists_policy": [{"list_id": list_id}]}
    return {"extract_policy": EXTRACT, "storage_policy": {"face_policy": face}}


async def enrol(client: MienClient, list_id: str, picture: bytes, name: str) -> str:
    handler_id = await client.handlers.create(enrolling(list_id))
    [event] = (await client.handlers.emit(handler_id, picture, user_data=name)).events
    assert event.face is not None
    return event.face.face_id


async def refusal(awaitable: Any) -> MienApiError:
    with pytest.raises(MienApiError) as refused:
        await awaitable
    return refused.value


async def test_a_handler_lives_with_every_default_written_out(client: MienClient) -> None:
    handler_id = await client.handlers.create({"extract_policy": EXTRACT}, description="gate 50%_")
    handler = await client.handlers.get(handler_id)
    assert handler.policies is not None
    assert handler.policies.extract_policy.extract_face_descriptor == 1
    assert handler.policies.storage_policy.event_policy.wait_saving == 1
    assert (handler.version, await client.handlers.check(handler_id)) == (1, True)

    await client.handlers.replace(handler_id, {}, description="gate B")
    replaced = await client.handlers.get(handler_id)
    assert (replaced.version, replaced.description, replaced.create_time) == (2, "gate B", handler.create_time)

    await client.handlers.create(handler_type=1, description="GATE")
    assert [one.handler_id for one in await client.handlers.list(description="gate B")] == [handler_id]
    assert (await client.handlers.count(), await client.handlers.count(handler_type=1)) == (2, 1)

    await client.handlers.delete(handler_id)
    assert not await client.handlers.check(handler_id)
    assert (await refusal(client.handlers.get(handler_id))).error_code == 34000


async def test_another_account_sees_nothing_of_it(client: MienClient, suite: RunningSuite) -> None:
    handler_id = await client.handlers.create({})
    list_id = await client.lists.create()
    async with MienClient(suite.url, account=new_id()) as other:
        for call in (
            other.handlers.get(handler_id),
            other.handlers.replace(handler_id, {}),
            other.handlers.delete(handler_id),
            other.handlers.emit(handler_id, photos.astronaut_jpeg()),
        ):
            error = await refusal(call)
            assert (error.status, error.error_code) == (404, 34000)
        assert await other.handlers.list() == []
        stolen = await refusal(other.handlers.create(searching(list_id)))
        assert (stolen.status, stolen.error_code) == (400, 22005)
        assert list_id in stolen.detail


@pytest.mark.parametrize(
    ("policies", "code", "where"),
    [
        ({"detect_policy": {"estimate_mask": 1}}, 200010, "estimate_mask"),
        ({"extract_policy": {"extract_basic_attributes": 1}}, 200010, "basic_attributes"),
        ({"detect_policy": {"estimate_emotions": 1}}, 200011, "emotion"),
        ({"conditional_tags_policy": [{"tag": "x", "filters": {"gender": 1}}]}, 34009, "conditional_tags_policy.0"),
        ({"detect_policy": {"multiface_policy": 7}}, 12022, "policies.detect_policy.multiface_policy"),
        ({"detect_policy": {"unknown": 1}}, 12022, "policies.detect_policy.unknown"),
    ],
)
async def test_policies_that_cannot_work_are_refused_with_the_reason(
    client: MienClient, policies: dict[str, Any], code: int, where: str
) -> None:
    for error in (await refusal(client.handlers.validate(policies)), await refusal(client.handlers.create(policies))):
        assert 400 <= error.status < 500
        assert error.error_code == code
        assert where in error.detail
    assert await client.handlers.count() == 0


async def test_a_photo_becomes_a_stored_queryable_event(client: MienClient) -> None:
    handler_id = await client.handlers.create(
        {
            "detect_policy": {"estimate_head_pose": 1, "estimate_quality": 1},
            "extract_policy": EXTRACT,
            "storage_policy": {"image_origin_policy": {"store_image": 1}},
        }
    )
    picture = photos.astronaut_jpeg()
    result = await client.handlers.emit(
        handler_id,
        ("gate.jpg", picture),
        source="gate-1",
        track_id="t-19",
        tags=["a", "a", "b"],
        user_data="hello",
        city="Graz",
        latitude=47.07,
        longitude=15.43,
        event_time="2024-05-04T09:30:10Z",
    )
    [event], [report] = result.events, result.images
    assert (report.status, report.error.error_code) == (1, 0)
    [detection] = event.detections
    face = detection.samples.face
    assert face is not None
    assert face.url == f"/6/samples/faces/{face.sample_id}"
    assert 150 < face.detection.rect.x + face.detection.rect.width / 2 < 280
    assert event.url == f"/6/events/{event.event_id}"
    assert event.matches is None
    assert event.face_attributes is not None
    assert event.face_attributes.score is not None

    stored = await client.events.get(event.event_id)
    assert (stored.source, stored.track_id, stored.tags, stored.user_data) == ("gate-1", "t-19", ["a", "b"], "hello")
    assert stored.location.city == "Graz"
    assert stored.create_time.isoformat() == "2024-05-04T09:30:10+00:00"
    assert stored.face_detections[0].sample_id == face.sample_id
    found = await client.events.find(handler_ids=[handler_id], sources=["gate-1"], tags=["b"], track_ids=["t-19"])
    assert [one.event_id for one in found] == [event.event_id]
    assert await client.events.find(sources=["gate-2"]) == []

    assert face.sample_id is not None
    assert detection.image_origin is not None
    assert (await client.images.get_face_sample(face.sample_id)).data[:2] == b"\xff\xd8"
    assert (await client.images.get(detection.image_origin.rsplit("/", 1)[1])).data == picture


async def test_people_are_recognised_tagged_and_strangers_are_registered(client: MienClient) -> None:
    staff, strangers = await client.lists.create("staff"), await client.lists.create("strangers")
    eileen = await enrol(client, staff, photos.astronaut_jpeg(), "Eileen")
    unknown = {"match": [{"label": "staff", "similarity__lt": 0.5}]}
    handler_id = await client.handlers.create(
        searching(
            staff,
            conditional_tags_policy=[
                {"tag": "known", "filters": {"match": [{"label": "staff", "similarity__gte": 0.5}]}}
            ],
            storage_policy={
                "face_policy": {
                    "store_face": 1,
                    "filters": unknown,
                    "link_to_lists_policy": [{"list_id": strangers}],
                }
            },
        )
    )
    result = await client.handlers.emit(
        handler_id, [("eileen.jpg", photos.astronaut_jpeg()), ("grace.jpg", photos.grace_hopper_jpeg())]
    )
    known, stranger = result.events
    assert known.matches is not None
    [match] = known.matches
    [candidate] = match.candidates
    assert (match.label, candidate["face"]["face_id"], candidate["face"]["user_data"]) == ("staff", eileen, "Eileen")
    assert candidate["similarity"] > 0.95
    assert (known.tags, known.face) == (["known"], None)
    assert stranger.matches is not None
    assert (stranger.tags, stranger.matches[0].candidates) == ([], [])
    assert stranger.face is not None
    assert stranger.face.lists == [strangers]

    top = await client.events.find(top_matching_candidates_label="staff", top_similar_object_ids=[eileen])
    assert [event.event_id for event in top] == [known.event_id]
    assert top[0].top_match is not None
    assert (top[0].top_match.object_type, top[0].top_match.similarity) == ("face", candidate["similarity"])


async def test_a_face_never_matches_itself_but_the_next_one_matches_it(client: MienClient) -> None:
    list_id = await client.lists.create()
    policies = searching(list_id, **enrolling(list_id))
    handler_id = await client.handlers.create({**policies, "extract_policy": EXTRACT})
    first = (await client.handlers.emit(handler_id, photos.astronaut_jpeg())).events[0]
    second = (await client.handlers.emit(handler_id, photos.astronaut_jpeg())).events[0]
    assert first.matches is not None
    assert second.matches is not None
    assert first.face is not None
    assert first.matches[0].candidates == []
    assert [found["face"]["face_id"] for found in second.matches[0].candidates] == [first.face.face_id]


async def test_past_events_are_candidates_and_targets_are_kept_to(client: MienClient) -> None:
    search = {
        "label": "seen",
        "candidates": {"origin": "events", "sources": ["gate-1"], "create_time__gte": "now-1d"},
        "targets": ["event_id", "source"],
    }
    handler_id = await client.handlers.create({"extract_policy": EXTRACT, "match_policy": [search]})
    first = (await client.handlers.emit(handler_id, photos.astronaut_jpeg(), source="gate-1")).events[0]
    second = (await client.handlers.emit(handler_id, photos.astronaut_jpeg(), source="gate-2")).events[0]
    assert second.matches is not None
    [candidate] = second.matches[0].candidates
    assert candidate["event"] == {"event_id": first.event_id, "source": "gate-1"}

    usual = {name: value for name, value in search.items() if name != "targets"}
    plain = await client.handlers.create({"extract_policy": EXTRACT, "match_policy": [usual]})
    [third] = (await client.handlers.emit(plain, photos.astronaut_jpeg())).events
    assert third.matches is not None
    assert set(third.matches[0].candidates[0]["event"]) == {
        "event_id",
        "create_time",
        "external_id",
        "handler_id",
        "source",
        "user_data",
    }
    endless = {**search, "targets": ["event_id", "match_result"]}
    error = await refusal(client.handlers.create({"extract_policy": EXTRACT, "match_policy": [endless]}))
    assert (error.error_code, "match_policy.0.targets" in error.detail) == (34009, True)


async def test_one_bad_picture_never_fails_the_batch(client: MienClient) -> None:
    good = photos.astronaut_jpeg()
    handler_id = await client.handlers.create({})
    result = await client.handlers.emit(
        handler_id,
        [("truncated.jpg", good[: len(good) // 2]), ("good.jpg", good), ("nobody.jpg", photos.nobody_jpeg())],
    )
    assert [(image.filename, image.status) for image in result.images] == [
        ("truncated.jpg", 0),
        ("good.jpg", 1),
        ("nobody.jpg", 1),
    ]
    assert result.images[0].error.error_code == 12031
    assert [event.detections[0].filename for event in result.events] == ["good.jpg"]


async def test_pictures_come_as_base64_stored_ids_and_samples(client: MienClient) -> None:
    handler_id = await client.handlers.create({"extract_policy": EXTRACT})
    picture = photos.astronaut_jpeg()
    image_id = await client.images.create(picture)
    first = await client.handlers.emit(handler_id, picture)
    sample = first.events[0].detections[0].samples.face
    assert sample is not None
    assert sample.sample_id is not None
    mixed = await client.handlers.emit(handler_id, ("inline.jpg", picture), image_ids=[image_id, new_id()])
    assert [image.status for image in mixed.images] == [1, 0, 1]
    assert mixed.images[1].error.error_code == 13003
    assert len(mixed.events) == 2

    again = await client.handlers.emit(handler_id, samples=[sample.sample_id], image_type=1)
    reused = again.events[0].detections[0].samples.face
    assert reused is not None
    assert reused.sample_id == sample.sample_id


async def test_addresses_are_refused_unless_the_operator_allows_them(client: MienClient) -> None:
    handler_id = await client.handlers.create({})
    result = await client.handlers.emit(handler_id, urls=["http://127.0.0.1:9/a.jpg"])
    assert (result.images[0].status, result.images[0].error.error_code, result.events) == (0, 23, [])


async def test_a_dynamic_handler_takes_its_policies_from_the_call(client: MienClient) -> None:
    dynamic, static = await client.handlers.create(handler_type=1), await client.handlers.create({})
    picture = photos.astronaut_jpeg()
    result = await client.handlers.emit(dynamic, picture, policies={"storage_policy": NOBODY_STORED}, meta={"lane": 4})
    sample = result.events[0].detections[0].samples.face
    assert sample is not None
    assert (sample.sample_id, result.events[0].meta) == (None, {"lane": 4})
    assert (await refusal(client.handlers.emit(dynamic, picture))).error_code == 34010
    refused = await refusal(client.handlers.emit(static, picture, policies={}))
    assert (refused.status, refused.error_code) == (403, 34007)
    faulty = await refusal(client.handlers.emit(dynamic, picture, policies={"match_policy": [{"label": "x"}]}))
    assert (faulty.error_code, "policies.match_policy.0.candidates" in faulty.detail) == (12022, True)


async def test_several_pictures_of_one_person_aggregate_into_one_event(client: MienClient) -> None:
    handler_id = await client.handlers.create({"extract_policy": EXTRACT})
    picture = photos.astronaut_jpeg()
    result = await client.handlers.emit(handler_id, [("a.jpg", picture), ("b.jpg", picture)], aggregate_attributes=1)
    [event] = result.events
    assert [detection.filename for detection in event.detections] == ["a.jpg", "b.jpg"]
    stored = await client.events.get(event.event_id)
    assert len(stored.face_detections) == 2


async def test_two_faces_where_one_is_allowed_is_an_error_of_that_picture(client: MienClient) -> None:
    two = photos.shared("face_recognition/test/obama_and_biden.jpg").read_bytes()
    strict = await client.handlers.create({"detect_policy": {"multiface_policy": 0}})
    best = await client.handlers.create({"detect_policy": {"multiface_policy": 2}})
    every = await client.handlers.create({})
    result = await client.handlers.emit(strict, [("two.jpg", two), ("one.jpg", photos.astronaut_jpeg())])
    assert [(image.status, image.error.error_code) for image in result.images] == [(0, 11038), (1, 0)]
    assert len(result.events) == 1
    assert len((await client.handlers.emit(best, two)).events) == 1
    assert len((await client.handlers.emit(every, two)).events) == 3, "and a child in the corner"
    aggregated = await refusal(client.handlers.emit(every, two, aggregate_attributes=1))
    assert (aggregated.status, aggregated.error_code) == (400, 11038)


async def test_rejected_faces_are_reported_with_the_reason(client: MienClient) -> None:
    strict = {"face_quality": {"estimate": 1, "filter": 1, "checks": {"face_width": {"threshold": {"min": 5000}}}}}
    handler_id = await client.handlers.create({"detect_policy": strict})
    result = await client.handlers.emit(handler_id, photos.astronaut_jpeg())
    assert (result.events, result.images[0].status) == ([], 1)
    [rejected] = result.filtered_detections.face_detections
    [reason] = rejected.filter_reasons
    assert (reason.filter_name, reason.threshold_value) == ("face_width", {"min": 5000.0, "max": None})
    assert reason.object_value < 5000


async def test_a_check_whose_model_is_missing_is_refused_by_name(client: MienClient) -> None:
    checks = {"left_eye": {}, "head_yaw": {}}
    refused = await refusal(
        client.handlers.create({"detect_policy": {"face_quality": {"estimate": 1, "checks": checks}}})
    )
    assert (refused.status, refused.error_code) == (400, 200010)
    assert "estimate_eyes_attributes: no model is installed for eyes" in refused.detail


async def test_an_event_that_is_not_stored_is_still_answered(client: MienClient) -> None:
    handler_id = await client.handlers.create({"storage_policy": {"event_policy": {"store_event": 0}}})
    [event] = (await client.handlers.emit(handler_id, photos.astronaut_jpeg())).events
    assert event.url is None
    assert not await client.events.check(event.event_id)


async def test_an_event_nobody_waits_for_is_saved_all_the_same(client: MienClient) -> None:
    handler_id = await client.handlers.create({"storage_policy": {"event_policy": {"wait_saving": 0}}})
    [event] = (await client.handlers.emit(handler_id, photos.astronaut_jpeg())).events
    async with asyncio.timeout(10):
        while not await client.events.check(event.event_id):  # noqa: ASYNC110 (another process saves it)
            await asyncio.sleep(0.02)


async def test_a_list_that_vanished_fails_the_call_and_leaves_nothing_behind(client: MienClient) -> None:
    list_id = await client.lists.create()
    handler_id = await client.handlers.create(enrolling(list_id))
    await client.lists.delete(list_id)
    error = await refusal(client.handlers.emit(handler_id, photos.astronaut_jpeg()))
    assert (error.status, error.error_code) == (400, 22003)
    assert (await client.faces.count(), await client.events.find()) == (0, [])


async def test_raw_events_are_stored_once_and_searchable(client: MienClient) -> None:
    handler_id, event_id = new_id(), new_id()
    source = (
        await client.handlers.emit(await client.handlers.create({"extract_policy": EXTRACT}), photos.astronaut_jpeg())
    ).events[0]
    descriptor = await client.events.descriptor(source.event_id)
    raw = {
        "event_id": event_id,
        "source": "edge",
        "event_create_time": "2024-01-01T00:00:00Z",
        "face_descriptor": {"version": 1001, "data": base64.b64encode(descriptor.descriptor).decode(), "score": 0.9},
        "aggregate_estimations": {"face": {"attributes": {"basic_attributes": {"age": 41, "gender": 0}}}},
    }
    for _ in range(2):
        assert await client.handlers.save_event(handler_id, raw) == event_id
    [stored] = await client.events.find(sources=["edge"])
    assert (stored.event_id, stored.age, stored.gender, stored.handler_id) == (event_id, 41, 0, handler_id)
    matches = await client.matcher.faces(
        [{"type": "event", "id": source.event_id}], [{"filters": {"origin": "events", "sources": ["edge"]}}]
    )
    assert [match.event["event_id"] for match in matches[0].matches[0].result if match.event] == [event_id]


@pytest.mark.parametrize("wait_saving", [True, False])
async def test_a_raw_event_under_an_id_of_another_account_leaves_that_accounts_event_as_it_is(
    client: MienClient, suite: RunningSuite, wait_saving: bool
) -> None:
    event_id, handler_id = new_id(), new_id()
    await client.handlers.save_event(handler_id, {"event_id": event_id, "source": "mine", "user_data": "before"})
    mine = await client.events.get(event_id)

    async with MienClient(suite.url, account=new_id()) as other:
        stolen = other.handlers.save_event(
            handler_id, {"event_id": event_id, "source": "theirs", "user_data": "after"}, wait_saving=wait_saving
        )
        if wait_saving:
            error = await refusal(stolen)
            assert (error.status, error.error_code) == (409, 12043)
            assert event_id in error.detail
        else:
            assert await stolen == event_id  # what the contract's page says of it
            await other.handlers.save_event(handler_id, {"source": "later"}, wait_saving=False)
            async with asyncio.timeout(10):
                while not await other.events.find(sources=["later"]):  # noqa: ASYNC110 (another process saves it)
                    await asyncio.sleep(0.02)
        assert await other.events.find(sources=["theirs"]) == []
        assert (await refusal(other.events.get(event_id))).status == 404

    assert await client.events.get(event_id) == mine


@pytest.mark.parametrize("wait_saving", [True, False])
@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("face_descriptor", {"version": 1001, "data": "AAAA"}, 31006),
        ("body_descriptor", {"version": 1001, "data": base64.b64encode(bytes(512)).decode()}, 31006),
        ("meta", {"text": "x" * (2 * 1024 * 1024)}, 12022),
    ],
)
async def test_a_raw_event_that_could_not_be_stored_is_refused_whether_or_not_anybody_waits(
    client: MienClient, wait_saving: bool, field: str, value: Any, code: int
) -> None:
    wrong = await refusal(client.handlers.save_event(new_id(), {field: value}, wait_saving=wait_saving))
    assert (wrong.status, wrong.error_code) == (400, code)
    assert wrong.detail.startswith(f"{field}: ")


@pytest.mark.parametrize(
    "keys",
    [{"face_id": "nobody"}, {"face_id": 7}, {"face_id": "1b1c0b0e-3a57-4b0f-9d63-3b6a1d6f0c11", "external_id": 7}, {}],
)
async def test_a_raw_match_whose_best_candidate_cannot_be_named_is_refused(
    client: MienClient, keys: dict[str, Any]
) -> None:
    matches = [{"label": "x", "candidates": [{"face": keys, "similarity": 0.9}]}]
    wrong = await refusal(client.handlers.save_event(new_id(), {"matches": matches}))
    assert (wrong.status, wrong.error_code, wrong.detail.startswith("matches")) == (400, 12022, True)


async def post(suite: RunningSuite, path: str, data: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    """A request no client of ours would send."""
    headers.setdefault("Luna-Account-Id", new_id())
    async with (
        aiohttp.ClientSession() as session,
        session.post(suite.url + path, data=data, headers=headers) as answer,
    ):
        return answer.status, json.loads(await answer.read())


async def test_requests_that_are_wrong_as_a_whole(client: MienClient, suite: RunningSuite) -> None:
    handler_id = await client.handlers.create({})
    account = {"Luna-Account-Id": (await client.handlers.get(handler_id)).account_id}
    events = f"/6/handlers/{handler_id}/events"
    jpeg = {"Content-Type": "image/jpeg", **account}
    for path, data, headers, expected in (
        (events, b"", jpeg, (400, 12002)),
        (events, b"x", {"Content-Type": "audio/mpeg", **account}, (415, 12024)),
        (f"{events}?latitude=1", photos.astronaut_jpeg(), jpeg, (400, 12012)),
        (f"{events}?image_type=9", photos.astronaut_jpeg(), jpeg, (400, 12012)),
        (f"{events}?colour=red", photos.astronaut_jpeg(), jpeg, (400, 12012)),
        (f"/6/handlers/{new_id()}/events", photos.astronaut_jpeg(), jpeg, (404, 34000)),
        ("/6/handlers/not-an-id/events", photos.astronaut_jpeg(), jpeg, (404, 34000)),
        ("/6/handlers", b"{", {"Content-Type": "application/json", **account}, (400, 12001)),
        ("/6/handlers", b"{}", {"Content-Type": "application/json", **account}, (400, 12022)),
        ("/6/nothing", b"{}", account, (404, 12013)),
        ("/6/lists", b"{}", {"Content-Type": "application/json", "Luna-Account-Id": "me"}, (400, 12016)),
        (events, photos.astronaut_jpeg(), {**jpeg, "Luna-Event-Time": "yesterday"}, (400, 12016)),
    ):
        status, body = await post(suite, path, data, **headers)
        assert (status, body["error_code"]) == expected, (path, body)
        assert body["detail"]
        assert body["link"].endswith(f"#code-{body['error_code']}")


async def test_an_upload_of_200_mb_is_refused_at_the_door(client: MienClient, suite: RunningSuite) -> None:
    handler_id = await client.handlers.create({})
    try:
        status, body = await post(
            suite, f"/6/handlers/{handler_id}/events", io.BytesIO(bytes(200_000_000)), **{"Content-Type": "image/jpeg"}
        )
    except aiohttp.ClientConnectionError:
        return  # the door was shut while we still pushed
    assert (status, body["error_code"]) == (413, 12030)


async def test_callbacks_need_the_operators_leave(client: MienClient) -> None:
    hook = {"type": "http", "url": "http://acs.example/hook"}
    error = await refusal(client.handlers.create({"storage_policy": {"callbacks": [hook]}}))
    assert (error.error_code, "storage_policy.callbacks.0.url" in error.detail) == (34009, True)


async def test_sixteen_callers_at_once_get_what_one_gets(client: MienClient) -> None:
    handler_id = await client.handlers.create({"extract_policy": EXTRACT})
    answers: list[Emission] = await asyncio.gather(
        *(client.handlers.emit(handler_id, photos.astronaut_jpeg()) for _ in range(16))
    )
    boxes = {
        repr(answer.events[0].detections[0].samples.face.detection.rect)
        for answer in answers
        if answer.events[0].detections[0].samples.face
    }
    assert len(boxes) == 1
    assert len({answer.events[0].event_id for answer in answers}) == 16


async def test_an_id_that_is_no_uuid_is_simply_not_there(client: MienClient, suite: RunningSuite) -> None:
    account = {"Luna-Account-Id": new_id()}
    async with aiohttp.ClientSession(suite.url, headers=account) as session:
        for method, path, body, expected in (
            ("GET", "/6/handlers/x", None, (404, 34000)),
            ("PUT", "/6/handlers/x", {"policies": {}}, (404, 34000)),
            ("DELETE", "/6/handlers/x", None, (404, 34000)),
            ("GET", "/6/events/x", None, (404, 23001)),
            ("GET", "/6/faces/x", None, (404, 22002)),
            ("GET", "/6/lists/x", None, (404, 22003)),
            ("GET", "/6/images/x", None, (404, 13003)),
            ("POST", "/6/handlers/x/events/raw", {}, (400, 12012)),
            ("PUT", "/6/faces/x", {}, (400, 12012)),
        ):
            async with session.request(method, path, json=body) as answer:
                found = await answer.json()
                assert (answer.status, found["error_code"]) == expected, (method, path, found)
