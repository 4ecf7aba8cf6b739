"""What callers may send to remote_sdk, odd requests above all; and ``/liveness`` and ``/iso`` with real photos."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgpack
import pytest
import pytest_asyncio
from PIL import Image as Pillow

from libs.common.settings import SdkSettings
from services.remote_sdk.iso import CHECKS
from tests.photos import astronaut_jpeg, grace_hopper_jpeg, nobody_jpeg
from tests.wire.inference import ACCOUNT, STORED_ID, Running, couple, form, jpeg, opened, starting

pytestmark = pytest.mark.asyncio(loop_scope="module")

COLLINS = {"x": 760, "y": 50, "width": 130, "height": 140}
WALL = {"x": 620, "y": 400, "width": 80, "height": 80}
OUTSIDE = {"x": 5000, "y": 5000, "width": 80, "height": 80}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Running]:
    async with starting() as start:
        yield await start(SdkSettings(device="cpu", precision="fp32", workers=1, max_images=5))


def base64_of(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def as_json(**body: Any) -> tuple[io.BytesIO, str]:
    """A stream, because aiohttp warns of large bytes."""
    return io.BytesIO(json.dumps(body).encode()), "application/json"


async def refusal(running: Running, body: Any, kind: str | None, **query: Any) -> tuple[int, int, str]:
    """Status, code and detail of a call that is refused."""
    status, answer = await running.sdk(body, kind, **query)
    return status, answer["error_code"], answer["detail"]


async def test_every_json_form_may_stand_in_one_body_and_the_order_is_kept(running: Running) -> None:
    body = as_json(
        urls=["http://me:secret@example.org/a@b.jpg?key=secret"],
        samples=[STORED_ID],
        image_ids=[STORED_ID],
        images=[
            {"image": base64_of(grace_hopper_jpeg()), "filename": "hopper.jpg"},
            {"image_id": STORED_ID, "bucket": "visionlabs-samples", "filename": "mine"},
        ],
    )
    status, answer = await running.sdk(*body)
    images = answer["images_estimations"]
    assert status == 200
    assert [image["filename"] for image in images] == [
        "http://example.org/a@b.jpg",
        STORED_ID,
        STORED_ID,
        "hopper.jpg",
        "mine",
    ]
    assert [image["error"]["error_code"] for image in images] == [23, 0, 0, 0, 0]
    assert [len(image["estimations"]) for image in images] == [0, 1, 1, 1, 1]


async def test_a_form_may_mix_formats_and_encodings(running: Running) -> None:
    png = io.BytesIO()
    opened(astronaut_jpeg()).save(png, "PNG")
    data = aiohttp.FormData()
    data.add_field("a", png.getvalue(), filename="a.png", content_type="image/png")
    data.add_field("b", base64_of(astronaut_jpeg()), filename="b.jpg", content_type="image/x-jpeg-base64")
    data.add_field("c", astronaut_jpeg(), filename="c", content_type="application/octet-stream")
    data.add_field("d", astronaut_jpeg(), filename="d.png", content_type="image/png")
    _, answer = await running.sdk(data, None)
    assert [image["error"]["error_code"] for image in answer["images_estimations"]] == [0, 0, 0, 12025]
    assert [len(image["estimations"]) for image in answer["images_estimations"]] == [1, 1, 1, 0]


async def test_hints_say_where_faces_are_in_json_too(running: Running) -> None:
    both = base64_of(couple())
    hints = ([COLLINS, WALL, OUTSIDE], [WALL], [OUTSIDE], [])
    body = as_json(images=[{"image": both, "face_bounding_boxes": boxes} for boxes in hints])
    _, answer = await running.sdk(*body)
    found = [image["estimations"] for image in answer["images_estimations"]]
    assert [len(each) for each in found] == [1, 0, 0, 2]
    assert found[0][0]["face"]["detection"]["rect"]["x"] > 700


async def test_hints_have_to_mean_one_picture(running: Running) -> None:
    def hinted(*names: str, pictures: tuple[str, ...] = ("a.jpg", "b.jpg")) -> aiohttp.FormData:
        boxes = [{"filename": name, "face_bounding_boxes": [COLLINS]} for name in names]
        return form(*((name, nobody_jpeg()) for name in pictures), face_bounding_boxes=boxes)

    assert (await running.sdk(hinted("b.jpg"), None))[0] == 200
    for body, said in (
        (hinted("c.jpg"), "no pictures are called 'c.jpg'"),
        (hinted("a.jpg", "a.jpg"), "face_bounding_boxes.1.filename: 'a.jpg' has its boxes already"),
        (hinted("a.jpg", pictures=("a.jpg", "a.jpg")), "2 pictures are called 'a.jpg'"),
    ):
        status, code, detail = await refusal(running, body, None)
        assert (status, code) == (400, 12022)
        assert said in detail


async def test_pictures_may_share_a_name_and_be_called_anything(running: Running) -> None:
    names = ["Ådne 图.jpg", "../../etc/passwd", "same.jpg", "same.jpg"]
    _, answer = await running.sdk(form(*((name, nobody_jpeg()) for name in names)), None)
    assert [image["filename"] for image in answer["images_estimations"]] == names
    _, answer = await running.sdk(
        *as_json(images=[{"image": base64_of(nobody_jpeg()), "filename": name} for name in names])
    )
    assert [image["filename"] for image in answer["images_estimations"]] == names


@pytest.mark.parametrize(
    ("body", "kind", "query", "expected"),
    [
        (b"", "image/jpeg", {}, (400, 12002)),
        (b"", None, {}, (400, 12002)),
        (b"{}", "application/json", {}, (400, 12022)),
        (b"{", "application/json", {}, (400, 12001)),
        (b"[]", "application/json", {}, (400, 12022)),
        (b"\x80", "application/msgpack", {}, (415, 12024)),
        (b"abc", "text/plain", {}, (415, 12024)),
        (b"abc", "image", {}, (400, 12017)),
        (b"abc", "multipart/form-data", {}, (400, 12017)),
        (b"abc", "image/jpeg", {"detect_face": "true"}, (400, 12012)),
        (b"abc", "image/jpeg", {"detect_face": ""}, (400, 12012)),
        (b"abc", "image/jpeg", {"image_type": 3}, (400, 12012)),
        (b"abc", "image/jpeg", {"mask_states": "1,x"}, (400, 12012)),
        (b"abc", "image/jpeg", {"yaw_threshold": "nan"}, (400, 12012)),
        (b"abc", "image/jpeg", {"liveness_threshold": 1.01}, (400, 12012)),
        (json.dumps({"images": [{"filename": "a"}]}).encode(), "application/json", {}, (400, 12022)),
        (json.dumps({"images": [{"url": "http://a", "image": "aa"}]}).encode(), "application/json", {}, (400, 12022)),
        (json.dumps({"images": [{"url": "http://a", "bucket": "b"}]}).encode(), "application/json", {}, (400, 12022)),
        (json.dumps({"urls": ["http://a"] * 6}).encode(), "application/json", {}, (400, 12042)),
        (json.dumps({"urls": ["http://a"], "no_such_field": 1}).encode(), "application/json", {}, (400, 12022)),
    ],
)
async def test_a_wrong_request_is_refused_as_a_whole(
    running: Running, body: bytes, kind: str | None, query: dict[str, Any], expected: tuple[int, int]
) -> None:
    status, code, detail = await refusal(running, body, kind, **query)
    assert (status, code) == expected
    assert detail


@pytest.mark.parametrize("path", ["/sdk", "/iso"])
async def test_what_only_handlers_take_is_refused_instead_of_passed_over(running: Running, path: str) -> None:
    for body, kind, names in (
        (*as_json(image_ids=[STORED_ID], policies={}, meta={"lane": 4}), "policies, meta: "),
        (form(("a.jpg", nobody_jpeg()), policies={"detect_policy": {}}), None, "policies: "),
    ):
        status, answer = await running.post(path, body, kind)
        assert (status, answer["error_code"]) == (400, 12022)
        assert answer["detail"].startswith(names)


async def test_a_parameter_given_twice_is_refused(running: Running) -> None:
    url = f"{running.url}/1/sdk?detect_face=1&detect_face=0"
    async with running.session.post(url, data=b"a", headers={"Content-Type": "image/jpeg"}) as answer:
        assert (answer.status, (await answer.json())["error_code"]) == (400, 12012)


async def test_too_many_pictures_in_a_form_are_refused(running: Running) -> None:
    body = form(*((f"{number}.jpg", b"x") for number in range(6)))
    assert (await refusal(running, body, None))[:2] == (400, 12042)


async def test_only_the_wrong_entry_of_a_body_fails(running: Running) -> None:
    boxes = [COLLINS] * 101
    body = as_json(
        images=[
            {"image": "this is no base64!"},
            {"image": ""},
            {"image": base64_of(couple()), "face_bounding_boxes": boxes},
            {"image": base64_of(astronaut_jpeg())},
        ]
    )
    _, answer = await running.sdk(*body)
    images = answer["images_estimations"]
    assert [image["error"]["error_code"] for image in images] == [12031, 12002, 12042, 0]
    assert [image["status"] for image in images] == [0, 0, 0, 1]


async def test_answers_in_msgpack_say_the_same_as_in_json(running: Running) -> None:
    asked: dict[str, Any] = {"estimate_portrait": 1, "estimate_head_pose": 1, "extract_exif": 1}
    _, said = await running.sdk(grace_hopper_jpeg(), **asked)
    headers = {**ACCOUNT, "Accept": "application/msgpack", "Content-Type": "image/jpeg"}
    async with running.session.post(
        f"{running.url}/1/sdk", data=grace_hopper_jpeg(), params=asked, headers=headers
    ) as answer:
        assert answer.content_type == "application/msgpack"
        assert msgpack.unpackb(await answer.read()) == said
    async with running.session.post(
        f"{running.url}/1/sdk", data=grace_hopper_jpeg(), headers={**headers, "Accept": "image/png"}
    ) as answer:
        assert (answer.status, (await answer.json())["error_code"]) == (406, 12023)


async def test_a_portrait_is_measured_where_it_is_asked_for(running: Running) -> None:
    [face] = await running.faces(grace_hopper_jpeg(), estimate_portrait=1)
    portrait = face["detection"]["portrait"]
    assert (portrait["image_width"], portrait["image_height"]) == (512, 600)
    assert 70 < portrait["eye_distance"] < 95
    assert 0.33 < portrait["head_width"] < 0.4
    assert 0.46 < portrait["head_height"] < 0.54
    assert 0.47 < portrait["horizontal_center"] < 0.55
    warp = base64.b64decode((await running.faces(grace_hopper_jpeg(), estimate_face_warp=1))[0]["warp"])
    [of_warp] = await running.faces(warp, image_type=1, estimate_portrait=1)
    assert "portrait" not in of_warp["detection"]


# /iso and /liveness


def checks_of(estimation: dict[str, Any]) -> dict[str, Any]:
    iso = estimation["face"]["detection"]["iso"]
    return {check["name"]: check for check in iso["checks"]}


async def test_iso_judges_what_can_be_seen_and_says_what_cannot(running: Running) -> None:
    status, answer = await running.post("/iso", grace_hopper_jpeg())
    [image] = answer["images"]
    [estimation] = image["estimations"]
    checks = checks_of(estimation)
    assert (status, image["status"], list(checks)) == (200, 1, list(CHECKS))
    passed = {name for name, check in checks.items() if check["result"] == 1}
    assert {"faces_count", "head_yaw", "head_roll", "head_horizontal_center", "dark_quality", "indent_upper"} <= passed
    assert checks["eye_distance"]["result"] == 0
    assert checks["eye_distance"]["object_value"] < 90
    assert checks["eye_distance"]["threshold"] == {"min": 90, "max": None}
    assert (checks["glasses"]["result"], checks["glasses"]["object_value"]) == (None, None)
    assert "no model is installed for glasses" in checks["glasses"]["missing"]
    assert estimation["face"]["detection"]["iso"]["status"] == 0
    assert answer["models"]["quality"] == "mien-quality 1"


async def test_a_picture_made_as_the_standard_asks_passes(running: Running) -> None:
    asked = "faces_count,head_roll,aspect_ratio,head_horizontal_center,head_vertical_center,head_width,head_height"
    portrait = opened(grace_hopper_jpeg()).crop((106, 15, 426, 420)).resize((632, 800))
    _, answer = await running.post("/iso", jpeg(portrait), checks=f"{asked},eye_distance,dynamic_range")
    [estimation] = answer["images"][0]["estimations"]
    wrong = {name: check["object_value"] for name, check in checks_of(estimation).items() if check["result"] != 1}
    assert wrong == {}
    assert estimation["face"]["detection"]["iso"]["status"] == 1

    turned = jpeg(portrait.rotate(12, Pillow.Resampling.BICUBIC))
    _, answer = await running.post("/iso", turned, checks="head_roll,head_width")
    checks = checks_of(answer["images"][0]["estimations"][0])
    assert (checks["head_roll"]["result"], checks["head_width"]["result"]) == (0, 1)


async def test_iso_counts_every_face_and_judges_those_of_the_policy(running: Running) -> None:
    answers = await asyncio.gather(
        *(running.post("/iso", couple(), checks="faces_count", multiface_policy=policy) for policy in (0, 1, 2))
    )
    [forbidden], [several], [best] = [answer["images"] for _, answer in answers]
    assert (forbidden["status"], forbidden["error"]["error_code"], forbidden["estimations"]) == (0, 11038, [])
    assert [checks_of(each)["faces_count"]["object_value"] for each in several["estimations"]] == [2, 2]
    [judged] = best["estimations"]
    assert (checks_of(judged)["faces_count"]["object_value"], checks_of(judged)["faces_count"]["result"]) == (2, 0)

    _, alone = await running.post("/iso", grace_hopper_jpeg(), checks="faces_count,head_roll", multiface_policy=2)
    assert [each["face"]["detection"]["iso"]["status"] for each in alone["images"][0]["estimations"]] == [1]


async def test_iso_takes_every_body_form_and_keeps_failures_apart(running: Running) -> None:
    body = form(("a.jpg", astronaut_jpeg()), ("broken.jpg", astronaut_jpeg()[:5000]), ("none.jpg", nobody_jpeg()))
    status, answer = await running.post("/iso", body, None)
    assert status == 200
    assert [(image["filename"], image["status"]) for image in answer["images"]] == [
        ("a.jpg", 1),
        ("broken.jpg", 0),
        ("none.jpg", 1),
    ]
    assert [len(image["estimations"]) for image in answer["images"]] == [1, 0, 0]


async def test_iso_and_liveness_name_what_is_wrong_before_any_picture_is_read(running: Running) -> None:
    refusals: list[tuple[str, dict[str, Any], tuple[int, int], str]] = [
        ("/iso", {"checks": "head_yaw,red_eyes"}, (400, 12012), "red_eyes"),
        ("/iso", {"checks": ""}, (400, 12012), "checks"),
        ("/iso", {"image_type": 1}, (400, 12012), "image_type"),
        ("/liveness", {"aggregate": 2}, (400, 12012), "aggregate"),
        ("/liveness", {"liveness_threshold": -1}, (400, 12012), "liveness_threshold"),
        ("/liveness", {}, (400, 200010), "MiniFASNet"),
    ]
    for path, query, expected, word in refusals:
        status, answer = await running.post(path, b"no picture", **query)
        assert (status, answer["error_code"]) == expected, path
        assert word in answer["detail"]


async def test_the_documentation_shows_both(running: Running) -> None:
    async with running.session.get(f"{running.url}/1/docs/spec") as answer:
        spec = await answer.json()
    for path, parameter, model in (
        ("iso", "checks", "IsoAnswer"),
        ("liveness", "quality_threshold", "LivenessAnswer"),
        ("sdk", "deepfake_states", "SdkAnswer"),
    ):
        operation = spec["paths"][f"/1/{path}"]["post"]
        assert parameter in {each["name"] for each in operation["parameters"]}
        assert {"image/jpeg", "multipart/form-data", "application/json"} <= set(operation["requestBody"]["content"])
        form = operation["requestBody"]["content"]["application/json"]["schema"]
        assert form == {"$ref": "#/components/schemas/JsonPictures"}
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert schema == {"$ref": f"#/components/schemas/{model}"}
    forms = spec["components"]["schemas"]
    assert {"urls", "samples", "image_ids", "images"} == set(forms["JsonPictures"]["properties"])
    assert {"image", "image_id", "bucket", "face_bounding_boxes"} <= set(forms["Entry"]["properties"])
