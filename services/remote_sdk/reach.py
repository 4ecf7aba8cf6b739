"""Which parameters of a call reach anything: faces, bodies and things are estimated only where they are looked for."""

from __future__ import annotations

from libs.common.wire.sdk import SdkParams
from services.remote_sdk.slots import BODY_FIELDS, FACE_FIELDS
from services.remote_sdk.stages.chain import BODY_WARP, FACE_WARP, RAW

_ANGLES = {"pitch_threshold", "roll_threshold", "yaw_threshold"}
_OF_FACES = {
    *FACE_FIELDS,
    *_ANGLES,
    "estimate_landmarks5",
    "estimate_landmarks68",
    "estimate_face_descriptor",
    "estimate_face_warp",
    "estimate_portrait",
    "mask_states",
    "liveness_states",
    "deepfake_states",
}
_OF_BODIES = {*BODY_FIELDS, "estimate_body_descriptor", "estimate_body_warp"}
_NOT_OF_WARPS = {
    *_ANGLES,
    "detect_body",
    "estimate_people_count",
    "estimate_objects",
    "estimate_vehicles",
    "estimate_tags",
    "estimate_plates",
    "estimate_image_modification",
    "estimate_head_pose",
    "estimate_landmarks5",
    "estimate_landmarks68",
    "estimate_gaze",
    "estimate_mouth_attributes",
    "estimate_liveness",
    "estimate_portrait",
    "estimate_face_warp",
    "estimate_body_warp",
    "liveness_states",
}
"""What a warp does not tell: it shows nothing around a face or a body, and is itself what would be cut out."""


def reaching(params: SdkParams) -> SdkParams:
    """``params`` without those that can have no effect on a picture of this type."""
    idle = set[str]()
    if params.image_type == BODY_WARP or (params.image_type == RAW and not params.detect_face):
        idle |= _OF_FACES
    if params.image_type == FACE_WARP or (params.image_type == RAW and not params.detect_body):
        idle |= _OF_BODIES
    if params.image_type != RAW:
        idle |= _NOT_OF_WARPS
    return SdkParams.model_validate(params.model_dump(exclude=idle))
