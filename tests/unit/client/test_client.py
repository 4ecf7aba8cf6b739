"""What the client sends, and what it makes of the answers."""

import asyncio
import base64
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from libs.client import MienApiError, MienClient, MienUnreachable
from libs.common.ids import REQUEST_ID, new_id
from libs.common.wire.estimations import Rect
from libs.common.wire.faces import AttributeDraft, DescriptorDraft
from libs.common.wire.matcher import CandidateBlock, FaceCandidates, RawDescriptor, RawReference
from libs.common.wire.policies import DetectPolicy, Policies
from tests.unit.client.echo import ACCOUNT, Echo

JPEG, PNG = b"\xff\xd8\xff rest", b"\x89PNG\r\n\x1a\n rest"
NOTHING_SEEN = {"images": [], "events": []}
HANDLER = "ad01c0de-0000-4000-8000-000000000001"

OVERLOADED = {"error_code": 12033, "desc": "Too much work is waiting", "detail": "9 wait", "link": None}


async def test_every_call_names_the_account_and_a_request_id(echo: Echo, client: MienClient) -> None:
    echo.answer({"handlers_count": 3})
    assert await client.handlers.count(description="gate", handler_type=0) == 3
    assert (echo.last.method, echo.last.path) == ("GET", "/6/handlers/count")
    assert echo.last.query == {"description": "gate", "handler_type": "0"}
    assert echo.last.headers["Luna-Account-Id"] == ACCOUNT
    assert REQUEST_ID.match(echo.last.headers["Luna-Request-Id"])


async def test_one_picture_alone_is_the_body(echo: Echo, client: MienClient) -> None:
    echo.answer(NOTHING_SEEN, 201)
    await client.handlers.emit(HANDLER, PNG, tags=["vip", "staff"], aggregate_attributes=True, event_time="now-1h")
    assert echo.last.body == PNG
    assert echo.last.headers["Content-Type"] == "image/png"
    assert echo.last.headers["Luna-Event-Time"] == "now-1h"
    assert echo.last.query == {"tags": "vip,staff", "aggregate_attributes": "1"}


async def test_several_pictures_are_a_form_that_keeps_their_names(
    echo: Echo, client: MienClient, tmp_path: Path
) -> None:
    (tmp_path / "gate.jpg").write_bytes(JPEG)
    echo.answer(NOTHING_SEEN, 201)
    await client.handlers.emit(HANDLER, [tmp_path / "gate.jpg", ('Ка\nm "2" \udcff.png', PNG), b"noise"])
    assert [(part.filename, part.content_type, part.data) for part in echo.last.parts] == [
        ("gate.jpg", "image/jpeg", JPEG),
        ('Ка?m "2" ?.png', "image/png", PNG),
        ("image_2", "application/octet-stream", b"noise"),
    ]


async def test_policies_and_meta_travel_beside_the_picture(echo: Echo, client: MienClient) -> None:
    echo.answer(NOTHING_SEEN, 201)
    await client.handlers.emit(
        HANDLER,
        ("a.jpg", JPEG),
        policies=Policies(detect_policy=DetectPolicy(multiface_policy=2)),
        meta={"lane": 4},
        face_bounding_boxes={"a.jpg": [Rect(x=1, y=2, width=3, height=4)]},
    )
    *parts, picture = echo.last.parts
    assert picture.data == JPEG
    assert {part.name: part.data for part in parts} == {
        "policies": b'{"detect_policy":{"multiface_policy":2}}',
        "meta": b'{"lane":4}',
        "face_bounding_boxes": b'[{"filename":"a.jpg","face_bounding_boxes":[{"x":1,"y":2,"width":3,"height":4}]}]',
    }


async def test_given_and_named_pictures_together_are_json(echo: Echo, client: MienClient) -> None:
    echo.answer(NOTHING_SEEN, 201)
    await client.handlers.emit(HANDLER, ("a.jpg", JPEG), urls=["http://cam/1.jpg"], meta={"lane": 4})
    assert echo.last.json == {
        "urls": ["http://cam/1.jpg"],
        "images": [{"image": base64.b64encode(JPEG).decode(), "filename": "a.jpg"}],
        "meta": {"lane": 4},
    }


async def test_inference_takes_pictures_boxes_and_every_parameter(echo: Echo, client: MienClient) -> None:
    box = Rect(x=1, y=2, width=3, height=4)
    echo.answer({"images_estimations": []})
    await client.sdk(
        ("a.jpg", JPEG), face_bounding_boxes={"a.jpg": [box]}, estimate_portrait=True, liveness_states=[0, 2]
    )
    assert (echo.last.path, echo.last.query) == ("/6/sdk", {"estimate_portrait": "1", "liveness_states": "0,2"})
    assert echo.last.parts[0].name == "face_bounding_boxes"

    await client.sdk(("a.jpg", JPEG), image_ids=[HANDLER], face_bounding_boxes={"a.jpg": [box]})
    [entry] = echo.last.json["images"]
    assert entry["face_bounding_boxes"] == [{"x": 1, "y": 2, "width": 3, "height": 4}]


async def test_liveness_and_iso_are_asked_like_inference(echo: Echo, client: MienClient) -> None:
    echo.answer({"images": []})
    await client.liveness([("a.jpg", JPEG), ("b.jpg", JPEG)], aggregate=1, quality_threshold=0.5)
    assert (echo.last.path, echo.last.query) == ("/6/liveness", {"aggregate": "1", "quality_threshold": "0.5"})
    assert [part.filename for part in echo.last.parts] == ["a.jpg", "b.jpg"]

    assert await client.iso(urls=["http://cam/1.jpg"], checks=["head_yaw", "glasses"]) == {"images": []}
    assert (echo.last.path, echo.last.query) == ("/6/iso", {"checks": "head_yaw,glasses"})
    assert echo.last.json == {"urls": ["http://cam/1.jpg"], "images": []}


async def test_boxes_of_a_picture_that_is_not_given_are_refused(client: MienClient) -> None:
    with pytest.raises(ValueError, match=r"no picture given here is called b\.jpg"):
        await client.sdk(("a.jpg", JPEG), image_ids=[HANDLER], face_bounding_boxes={"b.jpg": []})


async def test_a_file_that_is_not_there_is_said_before_anything_is_sent(echo: Echo, client: MienClient) -> None:
    with pytest.raises(FileNotFoundError):
        await client.handlers.emit(HANDLER, Path("nowhere.jpg"))
    assert echo.asked == []


@pytest.mark.parametrize(
    "what", ["gate.jpg", bytearray(b"1"), ["gate.jpg"], ("a.jpg", "b"), [("a", b"1", b"2")], [bytearray(b"1")], [7]]
)
async def test_what_is_no_picture_is_named_before_anything_is_sent(echo: Echo, client: MienClient, what: Any) -> None:
    with pytest.raises(TypeError, match="a picture is bytes, a Path to a file, or a pair"):
        await client.sdk(what)
    assert echo.asked == []


async def test_filters_become_a_query(echo: Echo, client: MienClient) -> None:
    echo.answer({"events": []})
    await client.events.find(
        create_time__gte=datetime(2024, 5, 4, 9, 30, tzinfo=UTC),
        create_time__lt="now-1d",
        sources=["gate-1", "gate-2"],
        emotions=[1, "null"],
        user_data=None,
        page_size=50,
    )
    assert echo.last.query == {
        "create_time__gte": "2024-05-04T09:30:00.000Z",
        "create_time__lt": "now-1d",
        "sources": "gate-1,gate-2",
        "emotions": "1,null",
        "page": "1",
        "page_size": "50",
        "order": "desc",
    }


async def test_a_comma_in_a_list_of_a_query_is_refused_instead_of_split(client: MienClient) -> None:
    with pytest.raises(ValueError, match="sources: 'gate 1, north' holds a comma"):
        await client.events.find(sources=["gate 1, north"])


async def test_bytes_in_a_body_are_base64(echo: Echo, client: MienClient) -> None:
    raw = bytes(range(256)) * 2
    echo.answer({"face_id": new_id()}, 201)
    draft = AttributeDraft(descriptors=[DescriptorDraft(descriptor=raw, version=1001)])
    await client.faces.create(user_data="J. Doe", attribute=draft)
    text = base64.b64encode(raw).decode()
    assert echo.last.json == {
        "user_data": "J. Doe",
        "lists": [],
        "attribute": {"descriptors": [{"descriptor": text, "version": 1001}]},
    }
    echo.answer([], 200)
    echo.answers.pop(0)
    await client.matcher.faces(
        [RawReference(type="raw_descriptor", id="probe", data=RawDescriptor(descriptor=raw, version=1001))],
        [CandidateBlock(filters=FaceCandidates(origin="faces"), limit=2)],
    )
    assert echo.last.json == {
        "references": [{"type": "raw_descriptor", "id": "probe", "data": {"descriptor": text, "version": 1001}}],
        "candidates": [{"filters": {"origin": "faces"}, "limit": 2}],
    }


async def test_a_patch_sends_what_was_given_and_null_for_none(echo: Echo, client: MienClient) -> None:
    echo.answer(b"", 204)
    await client.faces.patch(new_id(), external_id=None, user_data="x")
    assert echo.last.json == {"external_id": None, "user_data": "x"}


async def test_a_refusal_carries_everything_the_platform_said(echo: Echo, client: MienClient) -> None:
    body = {"error_code": 34000, "desc": "Handler not found", "detail": f"handler {HANDLER}", "link": "http://x"}
    echo.answer(body, 404, Luna_Request_Id="1700000000,r")
    with pytest.raises(MienApiError, match=f"404 / 34000 Handler not found: handler {HANDLER}") as raised:
        await client.handlers.get(HANDLER)
    refusal = raised.value
    assert (refusal.status, refusal.error_code, refusal.desc) == (404, 34000, "Handler not found")
    assert (refusal.detail, refusal.request_id) == (f"handler {HANDLER}", "1700000000,r")


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"[]", b'{"error_code": "x", "desc": ""}', b"\xff"])
async def test_an_error_page_of_something_else_is_a_refusal_too(echo: Echo, client: MienClient, body: bytes) -> None:
    echo.answer(body, 502)
    with pytest.raises(MienApiError, match="502 / 1 Answer is not the platform's") as raised:
        await client.version()
    assert REQUEST_ID.match(raised.value.request_id)


async def test_a_refusal_for_overload_is_tried_again_a_few_times(echo: Echo, client: MienClient) -> None:
    echo.answer(OVERLOADED, 503, Retry_After="0")
    echo.answer(OVERLOADED, 503, Retry_After="0")
    echo.answer(NOTHING_SEEN, 201)
    await client.handlers.emit(HANDLER, [JPEG, PNG])
    assert [len(asked.parts) for asked in echo.asked] == [2, 2, 2]
    assert len({asked.headers["Luna-Request-Id"] for asked in echo.asked}) == 1

    echo.answers.clear()
    echo.answer(OVERLOADED, 503, Retry_After="0")
    with pytest.raises(MienApiError, match="12033"):
        await client.handlers.emit(HANDLER, JPEG)
    assert len(echo.asked) == 3 + 4


@pytest.mark.parametrize(("status", "headers"), [(503, {}), (500, {"Retry_After": "0"}), (504, {"Retry_After": "0"})])
async def test_what_may_have_been_done_is_never_sent_twice(
    echo: Echo, client: MienClient, status: int, headers: dict[str, str]
) -> None:
    echo.answer(OVERLOADED, status, **headers)
    with pytest.raises(MienApiError):
        await client.handlers.emit(HANDLER, JPEG)
    assert len(echo.asked) == 1


async def test_nobody_listening_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with MienClient(url, account=ACCOUNT) as client:
            with pytest.raises(MienUnreachable, match=f"{url} does not answer"):
                await client.health()


async def test_an_answer_that_takes_too_long_is_unreachable() -> None:
    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    writers: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with MienClient(f"http://127.0.0.1:{port}", account=ACCOUNT, timeout_s=0.05) as client:
            with pytest.raises(MienUnreachable, match=r"GET /healthcheck took over 0\.05 s"):
                await client.health()
        for writer in writers:
            writer.close()


async def test_head_tells_whether_something_exists(echo: Echo, client: MienClient) -> None:
    echo.answer(b"", 200)
    assert await client.lists.check(new_id())
    echo.answers.clear()
    echo.answer(b"", 404)
    assert not await client.lists.check(new_id())
    echo.answers.clear()
    echo.answer(b"", 500)
    with pytest.raises(MienApiError):
        await client.lists.check(new_id())


async def test_fields_of_a_newer_platform_are_passed_over(echo: Echo, client: MienClient) -> None:
    listed = {
        "list_id": new_id(),
        "account_id": ACCOUNT,
        "user_data": "staff",
        "create_time": "2024-05-04T09:30:10Z",
        "last_update_time": "2024-05-04T09:30:10Z",
        "colour": "green",
    }
    echo.answer({"lists": [listed], "total": 1})
    [found] = await client.lists.find(user_data__eq="staff")
    assert (found.user_data, found.create_time) == ("staff", datetime(2024, 5, 4, 9, 30, 10, tzinfo=UTC))


@pytest.mark.parametrize("content", [b"hello", {"lists": 5}, {"faces": []}, {"lists": [{"list_id": "x"}]}])
async def test_an_answer_of_another_shape_is_said_to_be_one(echo: Echo, client: MienClient, content: object) -> None:
    echo.answer(content)
    with pytest.raises(MienApiError, match="200 / 1 Answer does not fit the contract"):
        await client.lists.find()


async def test_targets_give_plain_keys_and_no_targets_whole_records(echo: Echo, client: MienClient) -> None:
    event_id = new_id()
    echo.answer({"events": [{"event_id": event_id}]})
    assert await client.events.find(targets=["event_id"]) == [{"event_id": event_id}]
    assert echo.last.query["targets"] == "event_id"
    whole = {"event_id": event_id, "account_id": ACCOUNT, "handler_id": HANDLER, "create_time": "2024-05-04T09:30:10Z"}
    echo.answer({"events": [whole]})
    echo.answers.pop(0)
    [event] = await client.events.find()
    assert (event.event_id, event.tags) == (event_id, [])


async def test_a_stored_picture_brings_its_metadata(echo: Echo, client: MienClient) -> None:
    echo.answer(JPEG, Content_Type="image/jpeg", X_Luna_Meta_Lane="4", X_Luna_Expiry_Date="2024-05-04T09:30:10Z")
    stored = await client.images.get(new_id())
    assert (stored.data, stored.content_type, stored.meta) == (JPEG, "image/jpeg", {"lane": "4"})
    assert stored.expires == datetime(2024, 5, 4, 9, 30, 10, tzinfo=UTC)


@pytest.mark.parametrize(("url", "account"), [("127.0.0.1:5000", ACCOUNT), ("ftp://x", ACCOUNT), ("http://x", "me")])
def test_a_wrong_address_or_account_is_refused_at_once(url: str, account: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        MienClient(url, account=account)
