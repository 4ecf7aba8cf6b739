"""The slots of inference: the kinds of estimations the contract knows, and which parameter asks for which."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from libs.common.wire.sdk import SdkParams


@dataclass(frozen=True)
class Slot:
    """One kind of estimation. ``sensitive`` is the word by which the operator has to allow it."""

    sensitive: str | None = None


SLOTS = {
    "face_detection": Slot(),
    "landmarks5": Slot(),
    "face_descriptor": Slot(),
    "head_pose": Slot(),
    "quality": Slot(),
    "landmarks68": Slot(),
    "gaze": Slot(),
    "eyes": Slot(),
    "mouth": Slot(),
    "emotions": Slot(sensitive="emotion"),
    "mask": Slot(),
    "glasses": Slot(),
    "liveness": Slot(),
    "deepfake": Slot(),
    "basic_attributes": Slot(),
    "ethnicity": Slot(sensitive="ethnicity"),
    "face_occlusion": Slot(),
    "image_modification": Slot(),
    "body_detection": Slot(),
    "body_descriptor": Slot(),
    "body_basic_attributes": Slot(),
    "upper_body": Slot(),
    "lower_body": Slot(),
    "accessories": Slot(),
    "people_count": Slot(),
    "objects": Slot(),
    "vehicle_detection": Slot(),
    "vehicle_attributes": Slot(),
    "image_tags": Slot(),
    "plate_text": Slot(),
}

FLAGS = {
    "detect_body": "body_detection",
    "estimate_head_pose": "head_pose",
    "estimate_landmarks5": "landmarks5",
    "estimate_landmarks68": "landmarks68",
    "estimate_quality": "quality",
    "estimate_gaze": "gaze",
    "estimate_eyes_attributes": "eyes",
    "estimate_mouth_attributes": "mouth",
    "estimate_emotions": "emotions",
    "estimate_mask": "mask",
    "mask_states": "mask",
    "estimate_glasses": "glasses",
    "estimate_liveness": "liveness",
    "liveness_states": "liveness",
    "estimate_deepfake": "deepfake",
    "deepfake_states": "deepfake",
    "estimate_basic_attributes": "basic_attributes",
    "estimate_face_occlusion": "face_occlusion",
    "estimate_image_modification": "image_modification",
    "estimate_face_descriptor": "face_descriptor",
    "estimate_face_warp": "landmarks5",
    "estimate_body_descriptor": "body_descriptor",
    "estimate_body_warp": "body_detection",
    "estimate_body_basic_attributes": "body_basic_attributes",
    "estimate_upper_body": "upper_body",
    "estimate_lower_body": "lower_body",
    "estimate_accessories": "accessories",
    "estimate_people_count": "people_count",
    "estimate_objects": "objects",
    "estimate_vehicles": "vehicle_detection",
    "estimate_tags": "image_tags",
    "estimate_plates": "plate_text",
}
"""The slot that a parameter needs when it is set. A filter by state needs what it filters by."""

THING_DETECTION = ("body_detection", "people_count", "objects", "vehicle_detection")
"""The slots that a detector fills, but for that of faces."""

WELCOME = {"estimate_vehicles": "vehicle_attributes"}
"""The slot that a parameter makes use of where it is filled."""

FACE_FIELDS = {
    "estimate_head_pose": "head_pose",
    "estimate_quality": "quality",
    "estimate_gaze": "gaze",
    "estimate_eyes_attributes": "eyes_attributes",
    "estimate_mouth_attributes": "mouth_attributes",
    "estimate_emotions": "emotions",
    "estimate_mask": "mask",
    "estimate_glasses": "glasses",
    "estimate_liveness": "liveness",
    "estimate_deepfake": "deepfake",
    "estimate_face_occlusion": "face_occlusion",
    "estimate_basic_attributes": "basic_attributes",
}
"""The field of ``FaceAttributes`` that each parameter asks to be returned."""

BODY_FIELDS = {
    "estimate_body_basic_attributes": "basic_attributes",
    "estimate_upper_body": "upper_body",
    "estimate_lower_body": "lower_body",
    "estimate_accessories": "accessories",
}
"""The field of ``BodyAttributes`` that each parameter asks to be returned."""


def asked(params: SdkParams) -> Iterator[tuple[str, str]]:
    """The parameters that ask for something, each with the slot it needs."""
    if (params.detect_face or params.estimate_people_count) and not params.image_type:
        yield "detect_face", "face_detection"
    for flag, name in FLAGS.items():
        if getattr(params, flag):
            yield flag, name
    if any(getattr(params, f"{angle}_threshold") is not None for angle in ("pitch", "roll", "yaw")):
        yield "pitch_threshold, roll_threshold, yaw_threshold", "head_pose"
