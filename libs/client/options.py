"""Keyword arguments of the client's methods: the fields of the wire models, for editors and type checkers.

A test keeps each in step with its model. Times are ``datetime`` or text (``now-7d`` works too).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypedDict

Flag = Literal[0, 1] | bool
Moment = datetime | str
Null = Literal["null"]


class HandlerWhere(TypedDict, total=False):
    """``HandlerFilter``."""

    description: str
    handler_type: Literal[0, 1, 2]


class EmitOptions(TypedDict, total=False):
    """``EmitQuery``."""

    external_id: str | None
    user_data: str | None
    aggregate_attributes: Flag
    source: str | None
    stream_id: str | None
    track_id: str | None
    tags: Sequence[str]
    city: str | None
    area: str | None
    district: str | None
    street: str | None
    house_number: str | None
    latitude: float | None
    longitude: float | None
    image_type: Literal[0, 1, 2]
    use_exif_info: Flag


class EventWhere(TypedDict, total=False):
    """``EventFilter``."""

    create_time__gte: Moment | None
    create_time__lt: Moment | None
    end_time__gte: Moment | None
    end_time__lt: Moment | None
    event_ids: Sequence[str] | None
    event_id__gte: str | None
    event_id__lt: str | None
    handler_ids: Sequence[str] | None
    face_ids: Sequence[str] | None
    external_ids: Sequence[str] | None
    user_data: str | None
    sources: Sequence[str] | None
    track_ids: Sequence[str] | None
    stream_ids: Sequence[str] | None
    tags: Sequence[str] | None
    top_matching_candidates_label: str | None
    top_similar_object_ids: Sequence[str] | None
    top_similar_external_ids: Sequence[str] | None
    top_similar_object_similarity__gte: float | None
    top_similar_object_similarity__lt: float | None
    gender: Literal[0, 1] | Null | None
    age__gte: int | None
    age__lt: int | None
    emotions: Sequence[int | Null] | None
    masks: Sequence[int | Null] | None
    ethnic_groups: Sequence[int | Null] | None
    liveness: Sequence[int | Null] | None
    cities: Sequence[str] | None
    areas: Sequence[str] | None
    districts: Sequence[str] | None
    streets: Sequence[str] | None
    house_numbers: Sequence[str] | None
    deepfake: Sequence[int] | None


class NoticeWhere(EventWhere, total=False):
    """``NoticeFilter``."""

    apparent_gender: Literal[0, 1, 2] | Null | None
    apparent_age__gte: int | None
    apparent_age__lt: int | None
    headwear_states: Sequence[int | Null] | None
    backpack_states: Sequence[int | Null] | None
    sleeve_lengths: Sequence[str] | None
    lower_garment_types: Sequence[str] | None
    headwear_apparent_colors: Sequence[str] | None
    upper_clothing_colors: Sequence[str] | None
    lower_garment_colors: Sequence[str] | None
    shoes_apparent_colors: Sequence[str] | None
    origin_longitude: float | Null | None
    origin_latitude: float | Null | None
    longitude_delta: float | None
    latitude_delta: float | None


class FaceWhere(TypedDict, total=False):
    """``FaceFilter``."""

    user_data: str | None
    event_id: str | None
    list_id: str | None
    face_ids: Sequence[str] | None
    attribute_ids: Sequence[str] | None
    external_ids: Sequence[str] | None
    face_id__gte: str | None
    face_id__lt: str | None
    create_time__gte: Moment | None
    create_time__lt: Moment | None


class FaceChange(TypedDict, total=False):
    """``FacePatch``: what is absent stays, None clears."""

    event_id: str | None
    user_data: str
    external_id: str | None
    avatar: str | None


class ListWhere(TypedDict, total=False):
    """``ListFilter``."""

    user_data: str | None
    user_data__eq: str | None
    create_time__gte: Moment | None
    create_time__lt: Moment | None
    last_update_time__gte: Moment | None
    last_update_time__lt: Moment | None
    list_ids: Sequence[str] | None
    list_id__gte: str | None
    list_id__lt: str | None


class SdkOptions(TypedDict, total=False):
    """``SdkParams``."""

    detect_face: Flag
    detect_body: Flag
    multiface_policy: Literal[0, 1, 2]
    image_type: Literal[0, 1, 2]
    use_exif_info: Flag
    extract_exif: Flag
    aggregate_attributes: Flag
    estimate_head_pose: Flag
    estimate_landmarks5: Flag
    estimate_landmarks68: Flag
    estimate_quality: Flag
    estimate_gaze: Flag
    estimate_eyes_attributes: Flag
    estimate_mouth_attributes: Flag
    estimate_emotions: Flag
    estimate_mask: Flag
    estimate_glasses: Flag
    estimate_liveness: Flag
    liveness_threshold: float
    quality_threshold: float
    estimate_basic_attributes: Flag
    estimate_face_descriptor: Flag
    estimate_body_descriptor: Flag
    estimate_face_warp: Flag
    estimate_body_warp: Flag
    estimate_upper_body: Flag
    estimate_lower_body: Flag
    estimate_body_basic_attributes: Flag
    estimate_accessories: Flag
    estimate_people_count: Flag
    estimate_objects: Flag
    estimate_vehicles: Flag
    estimate_tags: Flag
    estimate_plates: Flag
    plate_boxes: Sequence[int] | None
    people_count_coordinates: Flag
    estimate_deepfake: Flag
    estimate_face_occlusion: Flag
    estimate_image_modification: Flag
    estimate_portrait: Flag
    pitch_threshold: float | None
    roll_threshold: float | None
    yaw_threshold: float | None
    score_threshold: float
    mask_states: Sequence[int] | None
    liveness_states: Sequence[int] | None
    deepfake_states: Sequence[int] | None


class LivenessOptions(TypedDict, total=False):
    """``LivenessQuery``."""

    aggregate: Flag
    multiface_policy: Literal[0, 1, 2]
    use_exif_info: Flag
    liveness_threshold: float
    quality_threshold: float
    score_threshold: float
    pitch_threshold: float | None
    roll_threshold: float | None
    yaw_threshold: float | None


class IsoOptions(TypedDict, total=False):
    """``IsoQuery``."""

    multiface_policy: Literal[0, 1, 2]
    use_exif_info: Flag
    checks: Sequence[str] | None
