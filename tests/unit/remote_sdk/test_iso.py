"""Checks after ISO/IEC 19794-5: what passes, what fails, and what nobody can say."""

from __future__ import annotations

from typing import Any

import pytest

from libs.common.errors import Code, MienError, success_body
from libs.common.wire.estimations import FaceAttributes, Gaze, Glasses, HeadPose, Mask, Portrait, Quality, Rect
from libs.common.wire.sdk import (
    Capabilities,
    Estimator,
    FaceResult,
    ImageResult,
    IsoQuery,
    Person,
    SdkParams,
    SdkResult,
)
from services.remote_sdk.iso import CHECKS, CheckAnswer, Examination, Iso
from services.remote_sdk.slots import SLOTS

PASSPORT = Portrait(
    image_width=620,
    image_height=800,
    eye_distance=120,
    horizontal_center=0.5,
    vertical_center=0.42,
    head_width=0.55,
    head_height=0.7,
    indent_left=120,
    indent_right=120,
    indent_upper=60,
    indent_lower=180,
    dynamic_range=7.6,
    background_uniformity=0.98,
    background_lightness=0.9,
)
BARE = Mask(predominant_mask="missing", estimations={"missing": 0.98, "medical_mask": 0.02, "occluded": 0.0})
HIDDEN = Mask(predominant_mask="missing", estimations={"missing": 0.4, "medical_mask": 0.3, "occluded": 0.3})
FACE = FaceResult(
    rect=Rect(x=120, y=100, width=340, height=450),
    score=0.95,
    attributes=FaceAttributes(
        head_pose=HeadPose(pitch=5, roll=-8, yaw=-5),
        quality=Quality(blurriness=0.9, dark=1, illumination=0.9, specularity=0.9, light=1),
        glasses=Glasses(glasses="eyeglasses"),
        eyes_attributes={"left_eye": {"state": "open"}, "right_eye": {"state": "open"}},
        mouth_attributes={"opened": 0.1, "occluded": None, "smile": 0.1},
        gaze=Gaze(pitch=5, yaw=-5),
        mask=BARE,
    ),
    portrait=PASSPORT,
)


def capabilities(*without: str) -> Capabilities:
    slots = {name: Estimator(name=name, available=name not in without, missing="install it") for name in SLOTS}
    return Capabilities(estimators=slots, device="cpu", precision="fp32", ready=True)


def examined(query: IsoQuery, *faces: FaceResult, without: tuple[str, ...] = ()) -> list[Iso]:
    image = ImageResult.model_validate(
        {"filename": "a.jpg", "status": 1, "error": success_body(), "persons": [Person(face=face) for face in faces]}
    )
    answer = Examination(query, capabilities(*without)).answer(SdkResult(images=[image]))
    return [each.face.detection.iso for each in answer.images[0].estimations]


def check(iso: Iso, name: str) -> CheckAnswer:
    return next(each for each in iso.checks if each.name == name)


def face_with(portrait: dict[str, Any] | None = None, **attributes: Any) -> FaceResult:
    return FACE.model_copy(
        update={
            "portrait": PASSPORT.model_copy(update=portrait or {}),
            "attributes": FACE.attributes.model_copy(update=attributes),
        }
    )


def test_a_picture_for_a_passport_passes_and_bounds_are_inclusive() -> None:
    [iso] = examined(IsoQuery(), FACE)
    assert [each.name for each in iso.checks] == list(CHECKS)
    assert [each.name for each in iso.checks if each.result != 1] == []
    assert iso.status == 1
    assert check(iso, "head_roll").model_dump() == {
        "name": "head_roll",
        "object_value": -8,
        "threshold": {"min": -8, "max": 8},
        "result": 1,
        "source": "7.2.2 Pose",
        "missing": None,
    }


@pytest.mark.parametrize(
    ("portrait", "attributes", "failing"),
    [
        ({"eye_distance": 89.9}, {}, "eye_distance"),
        ({"image_width": 800}, {}, "aspect_ratio"),
        ({"horizontal_center": 0.56}, {}, "head_horizontal_center"),
        ({"vertical_center": 0.29}, {}, "head_vertical_center"),
        ({"head_width": 0.76}, {}, "head_width"),
        ({"head_height": 0.59}, {}, "head_height"),
        ({"indent_upper": -1}, {}, "indent_upper"),
        ({"dynamic_range": 6.9}, {}, "dynamic_range"),
        ({"background_uniformity": 0.5}, {}, "background_uniformity"),
        ({}, {"head_pose": HeadPose(pitch=0, roll=0, yaw=5.1)}, "head_yaw"),
        ({}, {"glasses": Glasses(glasses="sunglasses")}, "glasses"),
        ({}, {"eyes_attributes": {"left_eye": {"state": "closed"}, "right_eye": {"state": "open"}}}, "left_eye"),
        ({}, {"mouth_attributes": {"opened": 0.9, "occluded": None, "smile": 0.1}}, "mouth_open"),
        ({}, {"mask": HIDDEN}, "mouth_occluded"),
    ],
)
def test_each_flaw_fails_its_own_check(portrait: dict[str, Any], attributes: dict[str, Any], failing: str) -> None:
    [iso] = examined(IsoQuery(), face_with(portrait, **attributes))
    assert [each.name for each in iso.checks if each.result != 1] == [failing]
    assert iso.status == 0


def test_without_an_estimator_there_is_no_verdict_and_no_compliance() -> None:
    query = IsoQuery(checks=["head_yaw", "glasses", "mask"])
    params = Examination(query, capabilities("glasses", "mask")).params()
    assert params == SdkParams(estimate_head_pose=1)

    [iso] = examined(query, FACE, without=("glasses", "mask"))
    assert [(each.result, each.missing) for each in iso.checks] == [
        (1, None),
        (None, "install it"),
        (None, "install it"),
    ]
    assert iso.status == 0


def test_what_a_picture_does_not_show_has_no_verdict() -> None:
    [iso] = examined(IsoQuery(checks=["background_uniformity"]), face_with({"background_uniformity": None}))
    assert (iso.checks[0].result, iso.checks[0].missing) == (None, "cannot be measured in this picture")


def test_a_picture_of_several_faces_does_not_comply_whichever_of_them_are_judged() -> None:
    small = FACE.model_copy(update={"rect": Rect(x=0, y=0, width=40, height=50)})
    every, best = IsoQuery(), IsoQuery(multiface_policy=2)
    assert [(iso.status, check(iso, "faces_count").object_value) for iso in examined(every, FACE, small)] == [
        (0, 2)
    ] * 2
    [iso] = examined(best, small, FACE)
    assert [each.name for each in iso.checks if each.result != 1] == ["faces_count"]
    assert check(iso, "faces_count").object_value == 2


def test_the_best_face_complies_when_it_is_the_only_one_or_nobody_counts() -> None:
    best = IsoQuery(multiface_policy=2)
    assert [iso.status for iso in examined(best, FACE)] == [1]
    assert Examination(best, capabilities()).params().multiface_policy == 1

    uncounted = IsoQuery(multiface_policy=2, checks=["head_yaw"])
    assert [iso.status for iso in examined(uncounted, FACE)] == [1]
    assert Examination(uncounted, capabilities()).params().multiface_policy == 2


def test_all_checks_ask_for_everything_they_need() -> None:
    params = Examination(IsoQuery(use_exif_info=0), capabilities()).params()
    asked = {name for name, value in params.model_dump().items() if name.startswith("estimate_") and value}
    assert asked == {each.flag for each in CHECKS.values()} - {"detect_face"}
    assert params.use_exif_info == 0


def test_an_unknown_check_is_named_beside_those_there_are() -> None:
    with pytest.raises(MienError, match=r"no red_eyes; there are faces_count, head_yaw") as refused:
        Examination(IsoQuery(checks=["head_yaw", "red_eyes"]), capabilities())
    assert refused.value.code is Code.BAD_QUERY
