"""The ``face_quality`` policy: what it asks for, what it allows, and what cannot be meant."""

from __future__ import annotations

from typing import Any

import pytest

from libs.common.errors import Code, MienError
from libs.common.wire.estimations import FaceAttributes, Gaze, HeadPose, Quality, Rect
from libs.common.wire.policies import Policies
from libs.common.wire.sdk import FaceResult
from services.handlers import requirements
from services.handlers.face_checks import USUAL, examine

FACE = FaceResult(
    rect=Rect(x=0, y=0, width=180, height=240),
    score=0.9,
    attributes=FaceAttributes(
        head_pose=HeadPose(pitch=0, roll=8, yaw=-5),
        quality=Quality(blurriness=0.9, dark=1, illumination=0.9, specularity=0.9, light=0.5),
        gaze=Gaze(pitch=None, yaw=3.5),
        eyes_attributes={"left_eye": {"state": "open"}, "right_eye": {"state": "closed"}},
    ),
)


def policies(**checks: Any) -> Policies:
    return Policies.model_validate({"detect_policy": {"face_quality": {"estimate": 1, "checks": checks}}})


def results(**checks: Any) -> dict[str, tuple[Any, Any, int]]:
    found = examine(FACE, policies(**checks).detect_policy.face_quality)
    assert found.status == int(all(check.result for check in found.checks))
    return {check.name: (check.object_value, check.threshold, check.result) for check in found.checks}


def test_without_names_what_every_deployment_can_estimate_is_checked() -> None:
    found = results()
    assert tuple(found) == USUAL
    assert [name for name, (_, _, passed) in found.items() if not passed] == ["light_quality"]
    assert found["face_width"] == (180, {"min": 180, "max": None}, 1)


def test_what_is_switched_off_is_not_checked() -> None:
    assert set(USUAL) - set(results(head_yaw={"estimate": 0})) == {"head_yaw"}
    assert set(results(head_yaw={"estimate": 0}, head_roll={})) == {"head_roll"}


def test_a_threshold_replaces_only_the_bound_it_names() -> None:
    assert results(head_yaw={"threshold": {"min": -3}}) == {"head_yaw": (-5, {"min": -3, "max": 5}, 0)}
    assert results(light_quality={"threshold": {"min": 0.5}}) == {"light_quality": (0.5, {"min": 0.5, "max": 1}, 1)}


def test_words_are_allowed_one_by_one_and_what_is_not_known_fails() -> None:
    either = {"threshold": ["open", "closed"]}
    assert results(left_eye={}, right_eye={}, gaze_pitch={}) == {
        "left_eye": ("open", ["open"], 1),
        "right_eye": ("closed", ["open"], 0),
        "gaze_pitch": (None, {"min": -5, "max": 5}, 0),
    }
    assert results(right_eye=either)["right_eye"] == ("closed", ["open", "closed"], 1)


def test_a_policy_asks_for_what_its_checks_read_and_for_nothing_else() -> None:
    def asked(**checks: Any) -> set[str]:
        params = requirements.sdk_params(policies(**checks)).model_dump()
        return {name for name, value in params.items() if name.startswith("estimate_") and value}

    always = asked(face_width={})
    assert asked() - always == {"estimate_head_pose", "estimate_quality"}
    assert asked(left_eye={}, mouth_open={}, gaze_yaw={"estimate": 0}) - always == {
        "estimate_eyes_attributes",
        "estimate_mouth_attributes",
    }


def test_checks_do_not_make_faces_be_looked_for() -> None:
    bodies = Policies.model_validate({"detect_policy": {"detect_face": 0, "face_quality": {"estimate": 1}}})
    assert requirements.sdk_params(bodies).detect_face == 0


@pytest.mark.parametrize(
    ("name", "threshold", "code", "said"),
    [
        ("red_eyes", None, Code.ESTIMATOR_MISSING, "no model is installed for it"),
        ("head_yaw", ["open"], Code.BAD_POLICIES, 'a numeric check takes {"min": x, "max": y}'),
        ("left_eye", {"min": 1}, Code.BAD_POLICIES, "a list of words among open, closed, occluded"),
        ("left_eye", ["ajar"], Code.BAD_POLICIES, "a list of words among open, closed, occluded"),
        ("left_eye", [], Code.BAD_POLICIES, "a list of words among open, closed, occluded"),
    ],
)
def test_a_check_that_cannot_be_meant_is_refused_by_its_path(name: str, threshold: Any, code: Code, said: str) -> None:
    faulty = policies(**{name: {"threshold": threshold}})
    with pytest.raises(MienError) as refused:
        requirements.check(faulty, callbacks_allowed=False)
    assert refused.value.code is code
    assert f"policies.detect_policy.face_quality.checks.{name}" in refused.value.detail
    assert said in refused.value.detail
    faulty.detect_policy.face_quality.checks[name].estimate = 0
    requirements.check(faulty, callbacks_allowed=False)
