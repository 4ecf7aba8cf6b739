"""What of a call's parameters can have an effect, by the type of its pictures and what is looked for in them."""

from __future__ import annotations

import pytest

from libs.common.wire.sdk import SdkParams
from services.remote_sdk.reach import reaching
from services.remote_sdk.slots import asked

EVERYTHING = {
    **{name: 1 for name in SdkParams.model_fields if name.startswith("estimate_")},
    **{f"{kind}_states": [1] for kind in ("mask", "liveness", "deepfake")},
    **{f"{angle}_threshold": 20 for angle in ("yaw", "pitch", "roll")},
}
WARPED_FACE = {"quality", "eyes", "emotions", "mask", "glasses", "deepfake", "basic_attributes", "face_occlusion"}
BODY = {"body_descriptor", "body_basic_attributes", "upper_body", "lower_body", "accessories"}
AROUND = {"people_count", "objects", "vehicle_detection", "image_tags", "plate_text", "image_modification"}


def slots(**params: int) -> set[str]:
    """Those that are used when everything is asked for."""
    return {slot for _, slot in asked(reaching(SdkParams.model_validate({**EVERYTHING, **params})))}


def test_in_pictures_everything_is_looked_for_that_is_detected() -> None:
    face = WARPED_FACE | {"head_pose", "landmarks5", "landmarks68", "gaze", "mouth", "liveness", "face_descriptor"}
    assert slots(detect_body=1) == face | BODY | AROUND | {"face_detection", "body_detection"}
    assert slots() == face | AROUND | {"face_detection"}
    assert slots(detect_face=0) == AROUND | {"face_detection"}  # people are counted by their faces, too
    assert slots(detect_face=0, detect_body=1) == BODY | AROUND | {"face_detection", "body_detection"}
    assert slots(detect_face=0, estimate_people_count=0) == AROUND - {"people_count"}


@pytest.mark.parametrize("detecting", [{}, {"detect_face": 0}, {"detect_body": 1}])
def test_warps_show_one_face_or_one_body_and_no_more(detecting: dict[str, int]) -> None:
    assert slots(image_type=1, **detecting) == WARPED_FACE | {"face_descriptor"}
    assert slots(image_type=2, **detecting) == BODY


def test_what_reaches_everything_stays_as_it_is() -> None:
    params = SdkParams.model_validate({**EVERYTHING, "detect_body": 1, "score_threshold": 0.5})
    assert reaching(params) == params
