"""Verdicts of liveness by the caller's thresholds, and the exact shape of the answer of ``POST /liveness``."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import success_body
from libs.common.http.routes import JSON, encode
from libs.common.wire.estimations import FaceAttributes, Liveness, LivenessEstimations, Rect
from libs.common.wire.sdk import (
    ErrorBody,
    FaceAggregate,
    FaceResult,
    ImageResult,
    LivenessQuery,
    Person,
    SdkParams,
    SdkResult,
)
from services.remote_sdk.aggregation import aggregated_face
from services.remote_sdk.liveness import liveness_answer
from services.remote_sdk.stages.rules import verdict

RECT = Rect(x=1, y=2, width=30, height=40)


def estimated(probability: float, quality: float = 1.0, prediction: str = "real") -> Liveness:
    found = LivenessEstimations(quality=quality, probability=probability)
    return Liveness.model_validate({"prediction": prediction, "estimations": found})


def image(filename: str, *liveness: Liveness) -> ImageResult:
    persons = [
        Person(face=FaceResult(rect=RECT, score=0.9, attributes=FaceAttributes(liveness=one))) for one in liveness
    ]
    return ImageResult.model_validate({"filename": filename, "status": 1, "error": success_body(), "persons": persons})


@pytest.mark.parametrize(
    ("given_one", "thresholds", "said"),
    [
        (estimated(0.88), {}, "real"),
        (estimated(0.87), {}, "spoof"),
        (estimated(0.5), {"liveness_threshold": 0.5}, "real"),
        (estimated(0.99, quality=0.2), {"quality_threshold": 0.3}, "unknown"),
        (estimated(0.01, quality=0.3), {"quality_threshold": 0.3}, "spoof"),
        (estimated(0.99, prediction="unknown"), {}, "unknown"),
    ],
)
def test_thresholds_make_the_verdict(given_one: Liveness, thresholds: dict[str, float], said: str) -> None:
    found = verdict(given_one, SdkParams.model_validate(thresholds))
    assert (found.prediction, found.estimations) == (said, given_one.estimations)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_never_makes_a_spoof_real(
    probability: float, quality: float, low: float, high: float
) -> None:
    low, high = sorted((low, high))
    strict = verdict(estimated(probability, quality), SdkParams(liveness_threshold=high))
    lenient = verdict(estimated(probability, quality), SdkParams(liveness_threshold=low))
    assert not (strict.prediction == "real" and lenient.prediction == "spoof")


def test_several_pictures_are_judged_by_their_mean() -> None:
    params = SdkParams(liveness_threshold=0.6)
    whole = aggregated_face([image("a", estimated(0.95)), image("b", estimated(0.5, prediction="spoof"))], params)
    assert whole is not None
    assert whole.attributes.liveness == estimated(0.725)
    images = [image("a", estimated(0.95)), image("b", estimated(0.1, prediction="spoof"))]
    judged = aggregated_face(images, params)
    assert judged is not None
    assert judged.attributes.liveness is not None
    assert judged.attributes.liveness.prediction == "spoof"


def test_the_answer_has_the_faces_the_failures_and_the_whole() -> None:
    result = SdkResult(
        images=[
            image("a.jpg", estimated(0.97, 0.95)),
            ImageResult(filename="b.jpg", status=0, error=ErrorBody(error_code=12031, desc="broken")),
        ],
        aggregate=FaceAggregate(attributes=FaceAttributes(liveness=estimated(0.97, 0.95))),
        models={"liveness": "one 1"},
    )
    shown = json.loads(encode(liveness_answer(result, LivenessQuery(aggregate=1)), JSON)[0])
    found = {"prediction": "real", "estimations": {"quality": 0.95, "probability": 0.97}}
    assert shown == {
        "images": [
            {
                "filename": "a.jpg",
                "status": 1,
                "error": {"error_code": 0, "desc": "Success", "detail": ""},
                "liveness": [{**found, "rect": {"x": 1, "y": 2, "width": 30, "height": 40}}],
            },
            {
                "filename": "b.jpg",
                "status": 0,
                "error": {"error_code": 12031, "desc": "broken", "detail": ""},
                "liveness": [],
            },
        ],
        "aggregate_estimations": {"liveness": found},
        "filtered_detections": {"face_detections": [], "body_detections": []},
        "models": {"liveness": "one 1"},
    }
    assert "aggregate_estimations" not in json.loads(encode(liveness_answer(result, LivenessQuery()), JSON)[0])
