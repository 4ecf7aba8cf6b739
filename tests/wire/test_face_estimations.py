"""Masks, liveness and glasses through the platform with the catalogue's models: ``/sdk``, ``/liveness``, and events."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from libs.client import MienClient
from libs.common.ids import new_id
from tests.photos import shared
from tests.running import RunningSuite
from tests.unit.remote_sdk.models import FOLDER, library

MASKED, ALIVE = "mask/masked_face.jpg", "liveness/image_T1.jpg"
PRINT, SCREEN = "liveness/image_F1.jpg", "liveness/image_F2.jpg"
WEARER, BARE = "glasses/with_8.jpg", "glasses/without_3.jpg"
MODELS = {"mask": "aizoo-mask 260", "liveness": "minifasnet 2.7+4.0", "glasses": "glasses-mobilenetv3 fp16"}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSuite]:
    """With the catalogue's models."""
    library()
    pytest.importorskip("openvino", reason="openvino runs the optional models")
    running = RunningSuite(tmp_path_factory.mktemp("estimations") / "data", MIEN_MODELS_DIR=str(FOLDER)).start()
    yield running
    assert running.stop() == 0


@pytest.fixture
async def client(suite: RunningSuite) -> AsyncIterator[MienClient]:
    async with MienClient(suite.url, account=new_id()) as client:
        yield client


def attributes(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of the only face of each picture."""
    return [
        person["face"]["detection"]["attributes"]
        for image in answer["images_estimations"]
        for person in image["estimations"]
    ]


async def test_faces_are_estimated_in_the_words_of_the_contract(client: MienClient) -> None:
    pictures = [shared(path) for path in (MASKED, ALIVE, WEARER, BARE)]
    answer = await client.sdk(pictures, estimate_mask=1, estimate_glasses=1, estimate_liveness=1)
    found = attributes(answer)
    assert [each["mask"]["predominant_mask"] for each in found] == ["medical_mask", *["missing"] * 3]
    assert set(found[0]["mask"]["estimations"]) == {"missing", "medical_mask", "occluded"}
    assert [each["glasses"] for each in found[2:]] == [{"glasses": "eyeglasses"}, {"glasses": "no_glasses"}]
    assert found[1]["liveness"]["prediction"] == "real"
    assert set(found[1]["liveness"]["estimations"]) == {"quality", "probability"}
    assert MODELS.items() <= answer["models"].items()


async def test_liveness_tells_people_from_pictures_of_people(client: MienClient) -> None:
    answer = await client.liveness([shared(path) for path in (ALIVE, PRINT, SCREEN)])
    found = [image["liveness"][0] for image in answer["images"]]
    assert [each["prediction"] for each in found] == ["real", "spoof", "spoof"]
    assert all(each["rect"]["width"] > 100 for each in found)
    assert answer["models"] == {"face_detection": "yunet n", "liveness": MODELS["liveness"]}

    whole = await client.liveness([shared(SCREEN), shared(SCREEN)], aggregate=1, liveness_threshold=0.01)
    assert whole["aggregate_estimations"]["liveness"]["prediction"] == "real"
    doubtful = await client.liveness(shared(ALIVE), quality_threshold=1.0)
    assert doubtful["images"][0]["liveness"][0]["prediction"] == "unknown"


async def test_states_let_through_only_whom_they_name(client: MienClient) -> None:
    pictures = [shared(path) for path in (MASKED, ALIVE, SCREEN)]
    answer = await client.sdk(pictures, mask_states=[1], liveness_states=[1])
    assert [len(image["estimations"]) for image in answer["images_estimations"]] == [0, 1, 0]
    assert attributes(answer) == [{}], "used, not returned"
    rejected = answer["filtered_detections"]["face_detections"]
    reasons = [each["filter_reasons"][0] for each in rejected]
    assert [(each["filter_name"], each["object_value"]) for each in reasons] == [
        ("mask_states", 2),
        ("liveness_states", 0),
    ]


async def test_of_a_warp_liveness_is_not_known_and_does_not_pass_for_real(client: MienClient) -> None:
    [person] = (await client.sdk(shared(WEARER), estimate_face_warp=1))["images_estimations"][0]["estimations"]
    warp = b64decode(person["face"]["warp"])
    answer = await client.sdk(warp, image_type=1, estimate_mask=1, estimate_glasses=1, estimate_liveness=1)
    [found] = attributes(answer)
    assert set(found) == {"mask", "glasses"}
    assert (found["mask"]["predominant_mask"], found["glasses"]["glasses"]) == ("missing", "eyeglasses")
    for states, passing in (([1], 0), ([1, 2], 1)):
        answer = await client.sdk(warp, image_type=1, liveness_states=states)
        assert len(attributes(answer)) == passing


async def test_events_are_found_by_mask_and_by_liveness(client: MienClient) -> None:
    detect = {"estimate_mask": 1, "estimate_glasses": 1, "estimate_liveness": {"estimate": 1}}
    tags = [{"tag": "spoof", "filters": {"liveness": [0]}}]
    handler_id = await client.handlers.create({"detect_policy": detect, "conditional_tags_policy": tags})
    emission = await client.handlers.emit(handler_id, [shared(path) for path in (MASKED, ALIVE, SCREEN)])
    masked, alive, spoof = [event.event_id for event in emission.events]

    async def found(**where: Any) -> set[str]:
        return {event.event_id for event in await client.events.find(**where)}

    assert await found(masks=[2]) == {masked}
    assert await found(liveness=[0]) == await found(tags=["spoof"]) == {spoof}
    assert await found(masks=[1], liveness=[1]) == {alive}
    kept = await client.events.get(spoof)
    assert (kept.mask, kept.liveness) == (1, 0)


async def test_an_emission_reports_of_people_and_bodies_what_sdk_says_of_the_picture(client: MienClient) -> None:
    picture = shared("face_recognition/test/obama_and_biden.jpg")
    policies = {
        "detect_policy": {"detect_body": 1, "estimate_people_count": 1},
        "extract_policy": {"extract_body_descriptor": 1},
    }
    result = await client.handlers.emit(await client.handlers.create(policies), picture)
    answer = await client.sdk(picture, detect_body=1, estimate_body_descriptor=1, estimate_people_count=1)
    [said] = answer["images_estimations"]
    assert result.images[0].image_estimations.model_dump(mode="json", exclude_none=True) == said["image_estimations"]
    assert said["image_estimations"]["people"]["count"] == len(said["estimations"]) > 2
    assert [event.body_attributes and event.body_attributes.score for event in result.events] == [
        person["body"]["descriptor"]["score"] if person["body"] else None for person in said["estimations"]
    ]
