"""remote_sdk over HTTP, and its port in process and over RPC, with real models and real photos."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgpack
import numpy as np
import pytest
import pytest_asyncio
import simplejpeg
from PIL import Image as Pillow
from prometheus_client import REGISTRY

from libs.common import ports
from libs.common.descriptors import unpack_sdk, vector
from libs.common.errors import Code, MienError
from libs.common.http.fetch import Fetcher
from libs.common.http.peers import Peers
from libs.common.rpc import remote
from libs.common.settings import FetchSettings, SdkSettings
from libs.common.wire.estimations import Rect
from libs.common.wire.images import StoredImage
from libs.common.wire.sdk import FaceResult, Image, SdkParams, SdkResult
from services.remote_sdk import app as remote_sdk
from services.remote_sdk.slots import SLOTS
from tests.photos import astronaut_jpeg, grace_hopper_jpeg, nobody_jpeg, shared
from tests.unit.remote_sdk.finding import estimated
from tests.wire.inference import STORED_ID, Running, Start, Stored, couple, form, jpeg, opened, starting

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVERYTHING: dict[str, Any] = {
    f"estimate_{name}": 1 for name in ("head_pose", "landmarks5", "quality", "face_descriptor", "face_warp")
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def serving() -> AsyncIterator[Start]:
    async with starting() as start:
        yield start


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(serving: Start) -> Running:
    """fp32, so that results do not depend on the machine."""
    return await serving(SdkSettings(device="cpu", precision="fp32", workers=2, max_image_pixels=1_000_000))


@pytest.fixture(params=["in process", "rpc"])
def port(request: pytest.FixtureRequest, running: Running) -> ports.Sdk:
    if request.param == "rpc":
        return remote(ports.Sdk, Peers([running.url]), running.session)  # type: ignore[type-abstract]
    return running.part.service


def descriptor_of(face: dict[str, Any]) -> np.ndarray:
    version, raw = unpack_sdk(base64.b64decode(face["descriptor"]["sdk_descriptor"]))
    return vector(version, raw)


def centre_x(face: dict[str, Any]) -> float:
    rect = face["detection"]["rect"]
    return rect["x"] + rect["width"] / 2


async def test_a_portrait_gives_everything_that_is_asked_for(running: Running) -> None:
    status, answer = await running.sdk(astronaut_jpeg(), **EVERYTHING)

    [image] = answer["images_estimations"]
    [person] = image["estimations"]
    face, detection = person["face"], person["face"]["detection"]
    assert (status, image["status"], person["body"]) == (200, 1, None)
    assert 200 < centre_x(face) < 250
    assert detection["score"] > 0.9
    outer, inner, other_outer, other_inner, nose = np.array(detection["landmarks5"])
    assert other_outer[0] < other_inner[0] < nose[0] < inner[0] < outer[0]
    assert nose[1] > outer[1]
    assert set(detection["attributes"]) == {"head_pose"}
    assert all(abs(angle) < 10 for angle in detection["attributes"]["head_pose"].values())
    assert all(value > 0.8 for value in detection["quality"].values())
    assert simplejpeg.decode_jpeg(base64.b64decode(face["warp"])).shape == (250, 250, 3)
    assert (face["descriptor"]["version"], descriptor_of(face).shape) == (1001, (128,))
    assert 0.7 < face["descriptor"]["score"] <= 1
    assert answer["models"] == {
        "face_detection": "dlib-mmod 1",
        "landmarks5": "dlib-sp5 1",
        "face_descriptor": "dlib-resnet 1",
        "head_pose": "mien-pose-5pt 1",
        "quality": "mien-quality 1",
    }


async def test_by_default_only_the_detection_comes_back(running: Running) -> None:
    [face] = await running.faces(astronaut_jpeg())
    assert set(face) == {"detection"}
    assert set(face["detection"]) == {"rect", "score", "attributes"}
    assert face["detection"]["attributes"] == {}


async def test_a_picture_without_a_face_is_a_success_without_estimations(running: Running) -> None:
    assert await running.faces(nobody_jpeg(), **EVERYTHING) == []
    assert await running.faces(astronaut_jpeg(), detect_face=0, **EVERYTHING) == []


async def test_one_broken_picture_among_several_fails_alone_and_in_place(running: Running) -> None:
    body = form(("a.jpg", astronaut_jpeg()), ("broken.jpg", astronaut_jpeg()[:9000]), ("b.jpg", grace_hopper_jpeg()))
    status, answer = await running.sdk(body, None)
    images = answer["images_estimations"]
    assert status == 200
    assert [(image["filename"], image["status"]) for image in images] == [("a.jpg", 1), ("broken.jpg", 0), ("b.jpg", 1)]
    assert [image["error"]["error_code"] for image in images] == [0, 12031, 0]
    assert [len(image["estimations"]) for image in images] == [1, 0, 1]


async def test_pictures_may_be_stored_ones_and_each_failure_is_its_own(running: Running) -> None:
    missing = "00000000-0000-4000-8000-000000000000"
    body = json.dumps({"urls": ["http://example.org/a.jpg"], "image_ids": [STORED_ID, missing]})
    _, answer = await running.sdk(body, "application/json")
    assert [image["error"]["error_code"] for image in answer["images_estimations"]] == [23, 0, 13003]


async def test_wrong_pictures_name_their_fault(running: Running) -> None:
    png = io.BytesIO()
    opened(astronaut_jpeg()).save(png, "PNG")
    assert await running.image_error(png.getvalue()) == 12025
    assert await running.image_error(astronaut_jpeg()[:-9000]) == 12031
    assert await running.image_error(b"no picture at all", "image/png") == 12025
    assert await running.image_error(jpeg(Pillow.new("RGB", (1200, 1200)))) == 12032
    assert len(await running.faces(png.getvalue(), "image/png")) == 1


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"detect_face": 2}, "detect_face"),
        ({"yaw_threshold": 181}, "yaw_threshold"),
        ({"score_threshold": -0.1}, "score_threshold"),
        ({"multiface_policy": 3}, "multiface_policy"),
        ({"mask_states": "4"}, "mask_states"),
        ({"no_such_parameter": 1}, "no_such_parameter"),
    ],
)
async def test_a_wrong_parameter_is_named(running: Running, query: dict[str, Any], name: str) -> None:
    status, answer = await running.sdk(astronaut_jpeg(), **query)
    assert (status, answer["error_code"]) == (400, 12012)
    assert name in answer["detail"]


@pytest.mark.parametrize(
    ("flag", "value", "slot"),
    [
        *((f"estimate_{name}", 1, name) for name in ("landmarks68", "gaze", "mask", "glasses", "liveness", "deepfake")),
        *((f"estimate_{name}", 1, name) for name in ("basic_attributes", "face_occlusion", "image_modification")),
        *((f"estimate_{name}", 1, name) for name in ("body_descriptor", "upper_body", "lower_body", "accessories")),
        *((f"estimate_{name}", 1, name) for name in ("body_basic_attributes", "people_count")),
        ("estimate_eyes_attributes", 1, "eyes"),
        ("estimate_mouth_attributes", 1, "mouth"),
        ("estimate_body_warp", 1, "body_detection"),
        ("detect_body", 1, "body_detection"),
        ("mask_states", "1,2", "mask"),
        ("liveness_states", "1", "liveness"),
        ("deepfake_states", "0", "deepfake"),
    ],
)
async def test_an_estimator_without_a_model_is_refused_by_name(
    running: Running, flag: str, value: Any, slot: str
) -> None:
    status, answer = await running.sdk(astronaut_jpeg(), **{flag: value})
    assert (status, answer["error_code"]) == (400, 200010)
    assert f"{flag}: no model is installed for {slot}" in answer["detail"]


async def test_a_sensitive_estimator_has_to_be_allowed_first(serving: Start, running: Running) -> None:
    status, answer = await running.sdk(astronaut_jpeg(), estimate_emotions=1)
    assert (status, answer["error_code"]) == (403, 200011)
    assert "MIEN_SDK_ALLOW=emotion" in answer["detail"]

    allowing = await serving(SdkSettings(device="cpu", workers=1, allow=["emotion"]))
    status, answer = await allowing.sdk(astronaut_jpeg(), estimate_emotions=1)
    assert (status, answer["error_code"]) == (400, 200010)


async def test_several_faces_come_largest_first(running: Running) -> None:
    first, second = await running.faces(couple())
    assert centre_x(first) < 600 < centre_x(second)
    assert first["detection"]["rect"]["width"] > second["detection"]["rect"]["width"]


async def test_multiface_policy_forbids_or_keeps_the_best(running: Running) -> None:
    assert await running.image_error(couple(), multiface_policy=0) == 11038
    assert len(await running.faces(astronaut_jpeg(), multiface_policy=0)) == 1
    [best] = await running.faces(couple(), multiface_policy=2)
    assert centre_x(best) < 600


async def test_thresholds_reject_with_the_reason_and_do_not_return_the_estimation(running: Running) -> None:
    turned = jpeg(opened(astronaut_jpeg()).rotate(20, Pillow.Resampling.BICUBIC))
    status, answer = await running.sdk(
        turned, roll_threshold=10, yaw_threshold=90, score_threshold=0.99, estimate_quality=1
    )

    [image] = answer["images_estimations"]
    [filtered] = answer["filtered_detections"]["face_detections"]
    roll, score = filtered["filter_reasons"]
    assert (status, image["status"], image["estimations"], filtered["filename"]) == (200, 1, [], image["filename"])
    assert (roll["filter_name"], roll["threshold_value"]) == ("roll_threshold", 10)
    assert -25 < roll["object_value"] < -10
    assert (score["filter_name"], score["threshold_value"]) == ("score_threshold", 0.99)
    detection = filtered["detection"]["sample"]["detection"]
    assert (detection["attributes"], detection["quality"]["dark"] > 0.9) == ({}, True)
    assert answer["models"]["head_pose"] == "mien-pose-5pt 1"

    assert len(await running.faces(turned, roll_threshold=30)) == 1


async def test_exif_orientation_is_followed_unless_told_otherwise(running: Running) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 3
    upside_down = jpeg(opened(astronaut_jpeg()).rotate(180), exif=exif)

    _, answer = await running.sdk(upside_down, extract_exif=1)
    [image] = answer["images_estimations"]
    assert image["exif"]["Orientation"] == 3
    [upright] = await running.faces(astronaut_jpeg())
    assert abs(centre_x(image["estimations"][0]["face"]) - centre_x(upright)) < 10

    faces = await running.faces(upside_down, use_exif_info=0, multiface_policy=1)
    assert all(abs(centre_x(face) - centre_x(upright)) > 20 for face in faces)


async def test_a_warp_describes_the_same_face_without_detection(running: Running) -> None:
    [original] = await running.faces(grace_hopper_jpeg(), **EVERYTHING)
    warp = base64.b64decode(original["warp"])

    [again] = await running.faces(warp, image_type=1, **EVERYTHING)

    assert again["detection"]["rect"] == {"x": 0, "y": 0, "width": 250, "height": 250}
    assert "landmarks5" not in again["detection"]
    assert again["detection"]["attributes"] == {}
    assert np.linalg.norm(descriptor_of(again) - descriptor_of(original)) < 0.15
    [filtered] = await running.faces(warp, image_type=1, yaw_threshold=0)
    assert filtered["detection"]["score"] == 1


async def test_a_warp_of_another_size_is_refused(running: Running) -> None:
    assert await running.image_error(astronaut_jpeg(), image_type=1) == 12034


async def test_boxes_say_where_the_faces_are(running: Running) -> None:
    def boxes(*rects: dict[str, int]) -> list[dict[str, Any]]:
        return [{"filename": "couple.jpg", "face_bounding_boxes": list(rects)}]

    collins = {"x": 760, "y": 50, "width": 130, "height": 140}
    wall = {"x": 620, "y": 400, "width": 80, "height": 80}
    outside = {"x": 5000, "y": 5000, "width": 80, "height": 80}

    [face] = await running.faces(
        form(("couple.jpg", couple()), face_bounding_boxes=boxes(collins, wall, outside)), None, **EVERYTHING
    )
    [searched] = await running.faces(astronaut_jpeg(), **EVERYTHING)

    assert 760 < centre_x(face) < 890
    assert np.linalg.norm(descriptor_of(face) - descriptor_of(searched)) < 0.25
    nothing = form(("couple.jpg", couple()), face_bounding_boxes=boxes(wall))
    assert await running.faces(nothing, None) == []
    many = form(("couple.jpg", couple()), face_bounding_boxes=boxes(*[collins] * 101))
    assert await running.image_error(many, None) == 12042


async def test_aggregation_makes_one_person_of_several_pictures(running: Running) -> None:
    half = opened(astronaut_jpeg()).resize((256, 256))
    body = form(("a.jpg", astronaut_jpeg()), ("none.jpg", nobody_jpeg()), ("half.jpg", jpeg(half)))
    _, answer = await running.sdk(body, None, aggregate_attributes=1, **EVERYTHING)

    faces = [image["estimations"][0]["face"] for image in answer["images_estimations"] if image["estimations"]]
    whole = answer["aggregate_estimations"]["face"]
    scores = np.array([face["descriptor"]["score"] for face in faces])
    vectors = np.stack([descriptor_of(face) for face in faces])
    assert scores[0] > scores[1] + 0.2
    assert np.allclose(descriptor_of(whole), scores @ vectors / scores.sum(), atol=1e-5)
    yaws = [face["detection"]["attributes"]["head_pose"]["yaw"] for face in faces]
    assert whole["attributes"]["head_pose"]["yaw"] == pytest.approx(np.mean(yaws))
    assert set(whole["quality"]) == {"blurriness", "dark", "illumination", "specularity", "light"}
    assert answer["aggregate_estimations"]["body"] is None


async def test_aggregation_needs_one_face_per_picture(running: Running) -> None:
    status, answer = await running.sdk(couple(), aggregate_attributes=1)
    assert (status, answer["error_code"]) == (400, 11038)

    status, answer = await running.sdk(couple(), aggregate_attributes=1, multiface_policy=2, estimate_quality=1)
    assert status == 200
    assert answer["aggregate_estimations"]["face"]["quality"]["light"] > 0.9

    _, answer = await running.sdk(nobody_jpeg(), aggregate_attributes=1)
    assert answer["aggregate_estimations"] == {"face": None, "body": None}


async def test_msgpack_answers_carry_raw_bytes(running: Running) -> None:
    headers = {"Accept": "application/msgpack", "Content-Type": "image/jpeg"}
    async with running.session.post(
        f"{running.url}/1/sdk", data=astronaut_jpeg(), params=EVERYTHING, headers=headers
    ) as answer:
        content = msgpack.unpackb(await answer.read())
    face = content["images_estimations"][0]["estimations"][0]["face"]
    assert answer.content_type == "application/msgpack"
    assert unpack_sdk(face["descriptor"]["sdk_descriptor"])[0] == 1001
    assert face["warp"].startswith(b"\xff\xd8")


async def test_sixteen_callers_at_once_get_what_each_gets_alone(running: Running) -> None:
    photos = [astronaut_jpeg(), grace_hopper_jpeg(), couple(), nobody_jpeg()]
    alone = [await running.faces(photo, **EVERYTHING) for photo in photos]

    together = await asyncio.gather(*(running.faces(photos[caller % 4], **EVERYTHING) for caller in range(16)))

    for caller, faces in enumerate(together):
        expected = alone[caller % 4]
        assert [face["detection"] for face in faces] == [face["detection"] for face in expected]
        assert [face["warp"] for face in faces] == [face["warp"] for face in expected]
        for face, same in zip(faces, expected, strict=True):
            assert np.allclose(descriptor_of(face), descriptor_of(same), atol=1e-5)


async def test_too_much_at_once_is_refused_with_a_time_to_retry(serving: Start) -> None:
    small = await serving(SdkSettings(device="cpu", workers=1, queue_limit=1))

    async def status() -> tuple[int, str | None]:
        headers = {"Content-Type": "image/jpeg"}
        async with small.session.post(f"{small.url}/1/sdk", data=couple(), headers=headers) as answer:
            await answer.read()
            return answer.status, answer.headers.get("Retry-After")

    answers = await asyncio.gather(*(status() for _ in range(8)))
    assert (200, None) in answers
    assert {answer for answer in answers if answer[0] != 200} == {(503, "1")}


async def test_one_picture_need_not_wait_for_all_those_of_a_long_call(serving: Start) -> None:
    slow = await serving(SdkSettings(device="cpu", workers=1, detect_long_side=200, queue_limit=30))
    photo, before = astronaut_jpeg(), computed()
    row = form(*((f"{number}.jpg", photo) for number in range(80)))
    long = asyncio.create_task(slow.sdk(row, None))
    await until(lambda: computed() > before)
    began = computed()
    await slow.faces(photo)
    assert computed() - began < 30
    status, answer = await long
    assert status == 200
    assert [image["filename"] for image in answer["images_estimations"]] == [f"{number}.jpg" for number in range(80)]


async def test_pictures_of_callers_that_went_are_not_computed(serving: Start) -> None:
    """A caller's patience may be shorter than the queue; those who still wait come before it."""
    slow = await serving(SdkSettings(device="cpu", workers=1))
    url = urlsplit(slow.url)
    body = couple()
    request = f"POST /1/sdk HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
    before = computed()
    writers = []
    for _ in range(60):
        _, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(request.encode() + body)
        await writer.drain()
        writers.append(writer)
    await until(lambda: computed() > before)
    for writer in writers:
        writer.transport.abort()
    assert len(await slow.faces(couple())) == 2
    assert computed() - before < 40


async def test_pictures_are_not_fetched_for_callers_that_went(serving: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def never(*_: str) -> StoredImage:
        begun.set()
        try:
            return await asyncio.Future()
        finally:
            ended.set()

    monkeypatch.setattr(Stored, "get", never)
    waiting = await serving(SdkSettings(device="cpu", workers=1))
    body = io.BytesIO(json.dumps({"image_ids": [STORED_ID]}).encode())
    caller = asyncio.create_task(waiting.sdk(body, "application/json"))
    await begun.wait()
    caller.cancel()
    await asyncio.wait_for(ended.wait(), 10)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(0.01)


def computed() -> float:
    """How many pictures the compute threads of this process have looked at."""
    return REGISTRY.get_sample_value("mien_sdk_batch_size_sum", {"stage": "look"}) or 0.0


async def test_more_pictures_than_allowed_are_refused_as_a_whole(running: Running, port: ports.Sdk) -> None:
    status, answer = await running.sdk(json.dumps({"image_ids": [STORED_ID] * 101}), "application/json")
    assert (status, answer["error_code"]) == (400, 12042)
    with pytest.raises(MienError) as refused:
        await port.estimate([Image(filename="a", data=b"x")] * 101, SdkParams())
    assert refused.value.code is Code.TOO_MANY


async def test_health_answers_the_capabilities_once_the_models_are_warm(running: Running) -> None:
    while True:  # a fresh server answers 503 until then
        async with running.session.get(f"{running.url}/1/healthcheck") as answer:
            body = await answer.json()
        if answer.status == 200:
            break
        assert (answer.status, body["error_code"]) == (503, 12033)
    estimators = body["capabilities"]["estimators"]
    assert (body["capabilities"]["device"], body["capabilities"]["precision"]) == ("cpu", "fp32")
    assert set(estimators) == set(SLOTS)
    available = {name for name, each in estimators.items() if each["available"]}
    assert available == {"face_detection", "landmarks5", "face_descriptor", "head_pose", "quality"}
    assert all(estimators[name]["model"] and estimators[name]["licence"] for name in available)
    assert {estimators[name]["device"] for name in available} == {"cpu"}
    assert estimators["quality"]["provider"] == "numpy"
    assert all(estimators[name]["missing"] for name in set(SLOTS) - available)
    assert estimators["face_descriptor"]["descriptor_version"] == 1001
    async with running.session.get(f"{running.url}/1/capabilities") as answer:
        assert await answer.json() == body["capabilities"]


async def test_the_documentation_names_the_content_types_and_the_answer(running: Running) -> None:
    async with running.session.get(f"{running.url}/1/docs/spec") as answer:
        spec = await answer.json()
    operation = spec["paths"]["/1/sdk"]["post"]
    assert {"image/jpeg", "image/webp", "multipart/form-data"} <= set(operation["requestBody"]["content"])
    detection = spec["components"]["schemas"]["FaceDetection"]
    assert {"rect", "score", "landmarks5", "quality", "attributes"} <= set(detection["properties"])


async def test_the_port_gives_the_same_in_process_and_over_the_wire(port: ports.Sdk) -> None:
    params = SdkParams.model_validate({**EVERYTHING, "aggregate_attributes": 1})
    images = [
        Image(filename="a", data=astronaut_jpeg(), content_type="image/jpeg"),
        Image(filename="b", data=b"nothing", content_type="image/jpeg"),
    ]

    result = await port.estimate(images, params)

    assert isinstance(result, SdkResult)
    assert [(image.filename, image.status) for image in result.images] == [("a", 1), ("b", 0)]
    [person] = result.images[0].persons
    face = person.face
    assert isinstance(face, FaceResult)
    assert face.descriptor is not None
    assert result.aggregate is not None
    assert result.aggregate.descriptor is not None
    assert vector(1001, face.descriptor.data) == pytest.approx(vector(1001, result.aggregate.descriptor.data), abs=1e-5)
    assert (await port.capabilities()).estimators["mask"].available is False
    assert (await port.estimate([], SdkParams())).images == []


async def test_the_port_refuses_before_any_work(port: ports.Sdk) -> None:
    params = SdkParams(estimate_mask=1, liveness_states=[1])
    for call in (port.require(params), port.estimate([], params)):
        with pytest.raises(MienError, match=r"estimate_mask: .*; liveness_states: ") as refused:
            await call
        assert refused.value.code is Code.ESTIMATOR_MISSING
    await port.require(SdkParams(estimate_face_descriptor=1))


async def test_boxes_over_the_port_may_reach_over_the_edge(port: ports.Sdk) -> None:
    hint = Rect(x=-50, y=-50, width=500, height=400)
    result = await port.estimate([Image(filename="a", data=astronaut_jpeg(), face_bounding_boxes=[hint])], SdkParams())
    assert len(result.images[0].persons) == 1


@pytest.mark.parametrize(
    "path", ["face_recognition/misc/obama_partial_face.jpg", "face_recognition/misc/obama_partial_face2.jpg"]
)
async def test_a_face_cut_by_the_frame_is_found_and_scores_lower(running: Running, path: str) -> None:
    [face] = await running.faces(shared(path).read_bytes(), estimate_face_descriptor=1)
    [whole] = await running.faces(
        shared("face_recognition/misc/obama_small.jpg").read_bytes(), estimate_face_descriptor=1
    )
    assert face["descriptor"]["score"] < whole["descriptor"]["score"]
    assert np.linalg.norm(descriptor_of(face) - descriptor_of(whole)) < 0.6


async def test_start_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    fetcher = Fetcher(FetchSettings())
    await remote_sdk.build(SdkSettings(models_dir=tmp_path / "gone"), Stored(), fetcher)  # type: ignore[arg-type]
    assert f"no folder {tmp_path / 'gone'}" in caplog.text
    on_gpu = await remote_sdk.build(SdkSettings(device="cuda"), Stored(), fetcher)  # type: ignore[arg-type]
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(MienError, match="cannot start: device cuda was asked for"):
        await on_gpu.start()
    with pytest.raises(MienError, match="warming"):
        await on_gpu.health()
    with pytest.raises(MienError, match="loading"):
        await on_gpu.service.estimate([Image(filename="a", data=b"x")], SdkParams())

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    bare = await remote_sdk.build(SdkSettings(device="cpu"), Stored(), fetcher)  # type: ignore[arg-type]
    with pytest.raises(MienError, match=r"cannot start: .*pip install"):
        await bare.start()
    await bare.stop()
    await on_gpu.stop()
    await fetcher.close()


# With the optional models of the shared folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def richer(serving: Start) -> Running:
    folder = shared("../models")
    pytest.importorskip("openvino", reason="openvino runs the optional models")
    return await serving(SdkSettings(models_dir=folder, device="cpu", precision="fp32", workers=2, allow=["emotion"]))


KINDS = ("head_pose", "landmarks5", "landmarks68", "basic_attributes", "emotions", "face_descriptor", "face_warp")
ESTIMATED: dict[str, Any] = {f"estimate_{kind}": 1 for kind in KINDS}


async def test_installed_models_estimate_and_are_named(richer: Running) -> None:
    status, answer = await richer.sdk(astronaut_jpeg(), **ESTIMATED)

    [image] = answer["images_estimations"]
    [person] = image["estimations"]
    detection = person["face"]["detection"]
    assert status == 200
    assert set(detection["attributes"]) == {"head_pose", "basic_attributes", "emotions"}
    assert detection["attributes"]["basic_attributes"]["gender"] == 0
    assert 20 < detection["attributes"]["basic_attributes"]["age"] < 45
    assert detection["attributes"]["emotions"]["predominant_emotion"] == "happiness"
    assert len(detection["landmarks68"]) == 68
    left, right, nose, corner, other = np.array(detection["landmarks5"])
    assert left[0] < nose[0] < right[0], "the eye on the left of the picture comes first"
    assert max(left[1], right[1]) < nose[1] < min(corner[1], other[1])
    assert answer["models"] == {
        "face_detection": "yunet n",
        "landmarks5": "yunet n",
        "face_descriptor": "dlib-resnet 1",
        "head_pose": "head-pose-estimation-adas-0001 FP16",
        "landmarks68": "face-api-landmarks68 1",
        "emotions": "face-api-expression 1",
        "basic_attributes": "face-api-age-gender 1",
    }


async def test_eyes_gaze_and_mouth_are_estimated_with_what_they_build_on(richer: Running) -> None:
    wanted: dict[str, Any] = {f"estimate_{kind}": 1 for kind in ("gaze", "eyes_attributes", "mouth_attributes")}
    status, answer = await richer.sdk(astronaut_jpeg(), **wanted)

    detection = answer["images_estimations"][0]["estimations"][0]["face"]["detection"]
    found = detection["attributes"]
    assert (status, set(found)) == (200, {"gaze", "eyes_attributes", "mouth_attributes"})
    [alone] = estimated(astronaut_jpeg(), "gaze-estimation-adas-0002", "head-pose-estimation-adas-0001")
    assert found["gaze"] == pytest.approx(alone["gaze"].model_dump(), abs=0.1)
    assert {eye["state"] for eye in found["eyes_attributes"].values()} == {"open"}
    assert found["mouth_attributes"]["smile"] > 0.9
    assert found["mouth_attributes"]["properties"]["smile_type"]["predominant_type"] == "with_teeth"
    assert "landmarks68" not in detection
    assert answer["models"] == {
        "face_detection": "yunet n",
        "head_pose": "head-pose-estimation-adas-0001 FP16",
        "gaze": "gaze-estimation-adas-0002 FP16",
        "eyes": "open-closed-eye-0001 FP32",
        "mouth": "face-api-landmarks68 1",
    }
    [original] = await richer.faces(astronaut_jpeg(), estimate_face_warp=1)
    [warp] = await richer.faces(base64.b64decode(original["warp"]), image_type=1, **wanted)
    assert warp["detection"]["attributes"] == {"eyes_attributes": found["eyes_attributes"]}


async def test_a_face_has_nearly_the_same_descriptor_whoever_found_it(richer: Running, running: Running) -> None:
    for photo in (astronaut_jpeg(), grace_hopper_jpeg()):
        [one], [other] = [await each.faces(photo, estimate_face_descriptor=1) for each in (richer, running)]
        assert np.linalg.norm(descriptor_of(one) - descriptor_of(other)) < 0.3
        assert one["detection"]["score"] > 0.8


async def test_a_warp_is_estimated_but_has_no_landmarks_and_no_pose(richer: Running) -> None:
    [original] = await richer.faces(astronaut_jpeg(), estimate_face_warp=1)
    _, answer = await richer.sdk(base64.b64decode(original["warp"]), image_type=1, **ESTIMATED)
    found = answer["images_estimations"][0]["estimations"][0]["face"]
    assert set(found["detection"]["attributes"]) == {"basic_attributes", "emotions"}
    assert not {"landmarks5", "landmarks68"} & set(found["detection"])
    assert set(answer["models"]) == {"basic_attributes", "emotions", "face_descriptor"}
    assert found["detection"]["attributes"]["emotions"]["predominant_emotion"] == "happiness"


async def test_estimations_of_several_pictures_are_put_together(richer: Running) -> None:
    half = jpeg(opened(astronaut_jpeg()).resize((256, 256)))
    body = form(("a.jpg", astronaut_jpeg()), ("half.jpg", half), ("none.jpg", nobody_jpeg()))
    _, answer = await richer.sdk(
        body, None, aggregate_attributes=1, estimate_basic_attributes=1, estimate_emotions=1, estimate_landmarks68=1
    )
    faces = [image["estimations"][0]["face"] for image in answer["images_estimations"] if image["estimations"]]
    each = [face["detection"]["attributes"] for face in faces]
    whole = answer["aggregate_estimations"]["face"]["attributes"]
    ages = [attributes["basic_attributes"]["age"] for attributes in each]
    assert whole["basic_attributes"]["age"] == round(float(np.mean(ages)))
    assert whole["basic_attributes"]["gender"] == 0
    shares = [attributes["emotions"]["estimations"]["happiness"] for attributes in each]
    assert whole["emotions"]["estimations"]["happiness"] == pytest.approx(np.mean(shares))
    assert whole["emotions"]["predominant_emotion"] == "happiness"


async def test_a_threshold_on_angles_uses_the_model_of_the_slot(richer: Running) -> None:
    turned = shared("face_recognition/train/kit_harington/john2.jpeg").read_bytes()
    status, answer = await richer.sdk(turned, yaw_threshold=15)
    [filtered] = answer["filtered_detections"]["face_detections"]
    [reason] = filtered["filter_reasons"]
    assert (status, reason["filter_name"]) == (200, "yaw_threshold")
    assert reason["object_value"] < -15
    assert answer["models"]["head_pose"] == "head-pose-estimation-adas-0001 FP16"


async def test_capabilities_and_metrics_say_where_each_model_runs(richer: Running) -> None:
    async with richer.session.get(f"{richer.url}/1/capabilities") as answer:
        estimators = (await answer.json())["estimators"]
    provider = estimators["emotions"]["provider"]
    assert provider.startswith("openvino ")
    assert (estimators["emotions"]["device"], estimators["emotions"]["precision"]) == ("cpu", "fp32")
    assert estimators["face_descriptor"]["provider"].startswith("openvino ")
    assert estimators["quality"]["provider"] == "numpy"
    assert any("WIDER" in warning for warning in estimators["face_detection"]["warnings"])
    async with richer.session.get(f"{richer.url}/metrics") as answer:
        metrics = await answer.text()
    assert f'mien_sdk_model{{device="cpu",model="yunet",precision="fp32",provider="{provider}"}} 1.0' in metrics


async def test_a_damaged_model_is_a_refusal_to_start(tmp_path: Path) -> None:
    weights = shared("../models/yunet/yunet_n_dynamic.onnx").read_bytes()
    (tmp_path / "yunet").mkdir()
    (tmp_path / "yunet" / "yunet_n_dynamic.onnx").write_bytes(weights[:-1] + b"!")
    fetcher = Fetcher(FetchSettings())
    settings = SdkSettings(models_dir=tmp_path, device="cpu", workers=1)
    part = await remote_sdk.build(settings, Stored(), fetcher)  # type: ignore[arg-type]
    with pytest.raises(MienError, match=r"cannot start: model yunet at .* has sha256"):
        await part.start()
    await part.stop()
    await fetcher.close()
