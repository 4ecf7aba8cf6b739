"""The exact shape of the answer of ``POST /sdk``."""

from __future__ import annotations

import base64
import json

import msgpack

from libs.common.descriptors import pack_sdk
from libs.common.errors import Code, MienError, success_body
from libs.common.http.routes import JSON, MSGPACK, encode
from libs.common.wire.estimations import Descriptor, FaceAttributes, HeadPose, Quality, Rect
from libs.common.wire.sdk import (
    ErrorBody,
    FaceAggregate,
    FaceResult,
    FilteredFace,
    FilterReason,
    ImageResult,
    Person,
    SdkParams,
    SdkResult,
)
from services.remote_sdk.answer import SdkAnswer, answer

RAW = bytes(range(256)) * 2
DESCRIPTOR = Descriptor(version=1001, data=RAW, score=0.91)
ATTRIBUTES = FaceAttributes(
    head_pose=HeadPose(pitch=-3.1, roll=0.9, yaw=11.4),
    quality=Quality(blurriness=0.93, dark=0.99, illumination=0.71, specularity=0.8, light=0.97),
)
FULL = FaceResult(
    rect=Rect(x=101, y=64, width=92, height=118),
    score=0.9,
    landmarks5=[(169, 103), (150, 104), (124, 104), (140, 105), (147, 131)],
    attributes=ATTRIBUTES,
    warp=b"\xff\xd8warp",
    descriptor=DESCRIPTOR,
)
BARE = FaceResult(rect=Rect(x=5, y=9, width=60, height=80), score=0.6)
TOO_FAR = FilterReason(filter_name="yaw_threshold", object_value=52.3, threshold_value=35.0)


def image(filename: str, **found: object) -> ImageResult:
    return ImageResult.model_validate({"filename": filename, "status": 1, "error": success_body(), **found})


def as_json(content: SdkAnswer) -> object:
    return json.loads(encode(content, JSON)[0])


def test_everything_that_was_asked_for_has_its_place() -> None:
    result = SdkResult(
        images=[
            image("gate.jpg", persons=[Person(face=FULL)], exif={"Orientation": 1}),
            image("hall.jpg", filtered=[FilteredFace(face=BARE, filter_reasons=[TOO_FAR])]),
            ImageResult(
                filename="bad.jpg", status=0, error=ErrorBody(**MienError(Code.BROKEN_IMAGE, "cut off").body())
            ),
        ],
        aggregate=FaceAggregate(attributes=ATTRIBUTES, descriptor=DESCRIPTOR),
        models={"face_detection": "dlib-mmod 1"},
    )

    shown = as_json(answer(result, SdkParams(aggregate_attributes=1)))

    success = {"error_code": 0, "desc": "Success", "detail": ""}
    quality = {"blurriness": 0.93, "dark": 0.99, "illumination": 0.71, "specularity": 0.8, "light": 0.97}
    attributes = {"head_pose": {"pitch": -3.1, "roll": 0.9, "yaw": 11.4}}
    descriptor = {
        "score": 0.91,
        "sdk_descriptor": base64.b64encode(pack_sdk(1001, RAW)).decode(),
        "version": 1001,
    }
    assert shown == {
        "images_estimations": [
            {
                "filename": "gate.jpg",
                "status": 1,
                "error": success,
                "exif": {"Orientation": 1},
                "image_estimations": {},
                "estimations": [
                    {
                        "face": {
                            "detection": {
                                "rect": {"x": 101, "y": 64, "width": 92, "height": 118},
                                "score": 0.9,
                                "landmarks5": [[169, 103], [150, 104], [124, 104], [140, 105], [147, 131]],
                                "quality": quality,
                                "attributes": attributes,
                            },
                            "warp": base64.b64encode(b"\xff\xd8warp").decode(),
                            "descriptor": descriptor,
                        },
                        "body": None,
                    }
                ],
            },
            {"filename": "hall.jpg", "status": 1, "error": success, "image_estimations": {}, "estimations": []},
            {
                "filename": "bad.jpg",
                "status": 0,
                "error": {
                    "error_code": 12031,
                    "desc": "Image cannot be decoded",
                    "detail": "cut off",
                    "link": MienError(Code.BROKEN_IMAGE).body()["link"],
                },
                "image_estimations": {},
                "estimations": [],
            },
        ],
        "aggregate_estimations": {
            "face": {"attributes": attributes, "quality": quality, "descriptor": descriptor},
            "body": None,
        },
        "filtered_detections": {
            "face_detections": [
                {
                    "filename": "hall.jpg",
                    "detection": {
                        "sample": {
                            "detection": {
                                "rect": {"x": 5, "y": 9, "width": 60, "height": 80},
                                "score": 0.6,
                                "attributes": {},
                            }
                        }
                    },
                    "filter_reasons": [{"filter_name": "yaw_threshold", "object_value": 52.3, "threshold_value": 35.0}],
                }
            ],
            "body_detections": [],
        },
        "models": {"face_detection": "dlib-mmod 1"},
    }


def test_what_was_not_asked_for_is_left_out() -> None:
    shown = as_json(answer(SdkResult(images=[image("a", persons=[Person(face=BARE)])]), SdkParams()))
    assert shown == {
        "images_estimations": [
            {
                "filename": "a",
                "status": 1,
                "error": {"error_code": 0, "desc": "Success", "detail": ""},
                "image_estimations": {},
                "estimations": [
                    {
                        "face": {
                            "detection": {
                                "rect": {"x": 5, "y": 9, "width": 60, "height": 80},
                                "score": 0.6,
                                "attributes": {},
                            }
                        },
                        "body": None,
                    }
                ],
            }
        ],
        "filtered_detections": {"face_detections": [], "body_detections": []},
        "models": {},
    }


def test_an_aggregate_without_a_face_is_null_not_missing() -> None:
    shown = answer(SdkResult(images=[]), SdkParams(aggregate_attributes=1))
    assert shown.model_dump()["aggregate_estimations"] == {"face": None, "body": None}


def test_msgpack_carries_bytes_as_they_are() -> None:
    body, _ = encode(answer(SdkResult(images=[image("a", persons=[Person(face=FULL)])]), SdkParams()), MSGPACK)
    face = msgpack.unpackb(body)["images_estimations"][0]["estimations"][0]["face"]
    assert (face["warp"], face["descriptor"]["sdk_descriptor"]) == (b"\xff\xd8warp", pack_sdk(1001, RAW))
