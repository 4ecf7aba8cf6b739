"""One estimation out of several: means, majorities, and what only some know."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.descriptors import vector
from libs.common.errors import Code, MienError, success_body
from libs.common.wire.estimations import (
    BasicAttributes,
    BodyAttributes,
    BodyBasicAttributes,
    Colors,
    Descriptor,
    Emotions,
    FaceAttributes,
    Glasses,
    HeadPose,
    Headwear,
    Rect,
)
from libs.common.wire.sdk import BodyAggregate, BodyResult, FaceResult, ImageResult, Person, SdkParams
from services.remote_sdk.aggregation import aggregated_body, aggregated_face, together


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
    assert (found.yaw, found.pitch) == pytest.approx((yaw, pitch), abs=1e-6)


def body(headwear: int, *colours: str, age: int = 30) -> BodyAttributes:
    return BodyAttributes.model_validate(
        {
            "basic_attributes": {"apparent_age": age},
            "upper_body": {"headwear": {"state": headwear}, "upper_clothing": {"colors": list(colours)}},
        }
    )


def test_colours_are_united_and_codes_go_by_majority() -> None:
    found = together([body(0, "blue", age=30), body(2, "undefined"), body(0, "red", "blue", age=40)])
    assert found.upper_body is not None
    assert found.upper_body.upper_clothing == Colors(colors=["blue", "red"])
    assert found.upper_body.headwear == Headwear(state=0)
    assert found.basic_attributes == BodyBasicAttributes(apparent_age=33)
    assert together([body(2, "undefined")] * 2).upper_body == body(2, "undefined").upper_body


def test_a_predominant_word_without_a_share_goes_by_majority() -> None:
    def mouth(smile: str, regular: float) -> FaceAttributes:
        smile_type = {"predominant_type": smile, "estimations": {"regular": regular, "with_teeth": 0.1}}
        return FaceAttributes(mouth_attributes={"smile": 0.5, "properties": {"smile_type": smile_type}})

    found = together([mouth("none", 0.2), mouth("none", 0.3), mouth("regular", 0.9)]).mouth_attributes
    assert found is not None
    assert found["properties"]["smile_type"]["predominant_type"] == "none"


def test_landmarks_are_those_of_the_first_picture() -> None:
    eyes = [FaceAttributes(eyes_attributes={"left_eye": {"iris_landmarks": [[at, 2]]}}) for at in (1, 7)]
    assert together(eyes) == eyes[0]


def result(filename: str, *persons: Person) -> ImageResult:
    return ImageResult.model_validate(
        {"filename": filename, "status": 1, "error": success_body(), "persons": list(persons)}
    )


def alive(prediction: str, quality: float, probability: float) -> Person:
    found = {"prediction": prediction, "estimations": {"quality": quality, "probability": probability}}
    attributes = FaceAttributes.model_validate({"liveness": found})
    return Person(face=FaceResult(rect=Rect(x=0, y=0, width=50, height=50), score=0.9, attributes=attributes))


@pytest.mark.parametrize(
    ("pictures", "expected"),
    [
        ((("unknown", 0.2, 0.1), ("real", 0.9, 0.96), ("real", 0.7, 0.9)), ("real", 0.8, 0.93)),
        ((("real", 0.9, 0.9), ("spoof", 0.9, 0.5)), ("spoof", 0.9, 0.7)),
        ((("unknown", 0.1, 0.9), ("unknown", 0.3, 0.5)), ("unknown", 0.2, 0.7)),
    ],
)
def test_liveness_goes_by_the_pictures_that_allow_a_verdict_whatever_their_order(
    pictures: tuple[tuple[str, float, float], ...], expected: tuple[str, float, float]
) -> None:
    params = SdkParams(estimate_liveness=1, liveness_threshold=0.88, quality_threshold=0.5)
    for order in permutations(pictures):
        whole = aggregated_face([result(str(n), alive(*each)) for n, each in enumerate(order)], params)
        assert whole is not None
        assert whole.attributes.liveness is not None
        found = whole.attributes.liveness
        assert (found.prediction, found.estimations.quality, found.estimations.probability) == expected


def described(version: int, values: np.ndarray, score: float) -> Person:
    found = Descriptor(version=version, data=values.astype("<f4").tobytes(), score=score)
    return Person(face=FaceResult(rect=Rect(x=0, y=0, width=50, height=50), score=0.9, descriptor=found))


def test_descriptors_of_length_one_have_a_mean_of_length_one_and_others_their_plain_mean() -> None:
    def mean(version: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        people = [described(version, first, 0.75), described(version, second, 0.25)]
        whole = aggregated_face([result(str(n), each) for n, each in enumerate(people)], SdkParams())
        assert whole is not None
        assert whole.descriptor is not None
        return vector(version, whole.descriptor.data)

    one, other = np.eye(128)[:2]
    assert np.allclose(mean(1002, one, other), (3 * one + other) / np.sqrt(10), atol=1e-6)
    assert np.allclose(mean(1001, 1.4 * one, 1.2 * other), 1.05 * one + 0.3 * other, atol=1e-6)
    assert np.isfinite(mean(1002, one, -one)).all()
    assert np.allclose(mean(1002, one, one), one, atol=1e-6)


def test_bodies_are_put_together_like_faces_and_need_to_be_alone() -> None:
    def clad(colour: str) -> Person:
        rect = Rect(x=0, y=0, width=50, height=150)
        return Person(body=BodyResult(rect=rect, score=0.9, attributes=body(0, colour)))

    whole = aggregated_body([result("a", clad("red")), result("b", clad("blue")), result("none")])
    assert whole == BodyAggregate(attributes=together([body(0, "red"), body(0, "blue")]))
    assert aggregated_body([result("none")]) is None
    with pytest.raises(MienError, match="two: shows 2") as refused:
        aggregated_body([result("one", clad("red")), result("two", clad("red"), clad("blue"))])
    assert refused.value.code is Code.SEVERAL_BODIES
