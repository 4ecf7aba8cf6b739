"""One estimation out of several: means, majorities, and what only some know."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.wire.estimations import BasicAttributes, Emotions, FaceAttributes, Glasses, HeadPose
from services.remote_sdk.aggregation import together


def test_numbers_are_averaged_and_words_go_by_majority() -> None:
    parts = [
        FaceAttributes(
            head_pose=HeadPose(pitch=0, roll=2, yaw=yaw),
            basic_attributes=BasicAttributes(age=age, gender=gender),  # type: ignore[arg-type]
            glasses=Glasses(glasses=glasses),  # type: ignore[arg-type]
        )
        for yaw, age, gender, glasses in (
            (10, 30, 1, "eyeglasses"),
            (20, 33, 1, "no_glasses"),
            (0, 31, 0, "no_glasses"),
        )
    ]
    found = together(parts)
    assert found.head_pose == HeadPose(pitch=0, roll=2, yaw=10)
    assert found.basic_attributes == BasicAttributes(age=31, gender=1)
    assert found.glasses == Glasses(glasses="no_glasses")


def test_the_predominant_is_the_likeliest_of_the_means() -> None:
    first = Emotions(predominant_emotion="anger", estimations={"anger": 0.51, "fear": 0.49})
    second = Emotions(predominant_emotion="anger", estimations={"anger": 0.52, "fear": 0.48})
    third = Emotions(predominant_emotion="fear", estimations={"anger": 0.1, "fear": 0.9})
    found = together([first, second, third])
    assert found.predominant_emotion == "fear"
    assert found.estimations["anger"] == pytest.approx((0.51 + 0.52 + 0.1) / 3)


def test_what_only_some_pictures_tell_is_kept() -> None:
    some = [FaceAttributes(), FaceAttributes(basic_attributes=BasicAttributes(age=40))]
    assert together(some) == FaceAttributes(basic_attributes=BasicAttributes(age=40))


@given(st.floats(-180, 180), st.floats(-90, 90), st.integers(1, 5))
def test_the_same_several_times_is_itself(yaw: float, pitch: float, times: int) -> None:
    one = HeadPose(pitch=pitch, roll=0, yaw=yaw)
    found = together([one] * times)
    assert (found.yaw, found.pitch) == pytest.approx((yaw, pitch))
