"""Buckets, images and objects. Section 19 of the wire contract."""

from __future__ import annotations

from libs.common.clock import Time
from libs.common.ids import Id
from libs.common.wire.base import Blob, Wire

FACE_SAMPLES = "visionlabs-samples"
BODY_SAMPLES = "visionlabs-bodies-samples"
ORIGINS = "visionlabs-image-origin"
OBJECTS = "visionlabs-objects"
TASK_RESULTS = "task-result"
PLATFORM_BUCKETS = (FACE_SAMPLES, BODY_SAMPLES, ORIGINS, OBJECTS, TASK_RESULTS)


class Bucket(Wire):
    bucket: str
    create_time: Time


class ImageDraft(Wire):
    """A picture to store under an id the caller chose; storing the same id again replaces it."""

    bucket: str
    image_id: Id
    data: Blob
    ttl_s: int | None = None
    meta: dict[str, str] = {}


class StoredImage(Wire):
    data: Blob
    content_type: str
    meta: dict[str, str] = {}
    expires: Time | None = None


def image_path(bucket: str, image_id: str) -> str:
    """The service-level path of a stored image, as it stands in avatars and ``image_origin``."""
    return f"/1/buckets/{bucket}/images/{image_id}"
