"""The gateway's own words for the services' paths, in both directions."""

from __future__ import annotations

import re
from typing import Any

from libs.common.wire.images import BODY_SAMPLES, FACE_SAMPLES, OBJECTS, ORIGINS

PREFIX = "/6"

SHORTCUTS = (
    ("/samples/faces", FACE_SAMPLES, "images"),
    ("/samples/bodies", BODY_SAMPLES, "images"),
    ("/images", ORIGINS, "images"),
    ("/objects", OBJECTS, "objects"),
)
"""Public path, the bucket it stands for, and the kind of thing in it. Section 19.3 of the wire contract."""

_BUCKETS = {f"/buckets/{bucket}/{kind}": public for public, bucket, kind in SHORTCUTS}
_URL_KEYS = ("url", "external_url", "avatar", "image_origin")
_SERVICE_PATH = re.compile(
    r"/\d(/buckets/[a-z0-9-]+/(?:images|objects)|/(?:handlers|verifiers|events|faces|lists|attributes))(?=/)"
)
_IN_JSON = re.compile(rb'("(?:%s)":")(/[^"]*)' % "|".join(_URL_KEYS).encode())


def public_path(path: str) -> str:
    """``/3/faces/<id>`` as ``/6/faces/<id>``, a stored picture's path as its shortcut; anything else unchanged."""
    found = _SERVICE_PATH.match(path)
    if found is None:
        return path
    place = found[1]
    if place.startswith("/buckets/"):
        if place not in _BUCKETS:
            return path
        place = _BUCKETS[place]
    return PREFIX + place + path[found.end() :]


def public_json(body: bytes) -> bytes:
    """A JSON answer with the services' paths under its url keys replaced."""
    return _IN_JSON.sub(lambda found: found[1] + public_path(found[2].decode()).encode(), body)


def public_content(content: Any) -> Any:
    """As :func:`public_json`, for decoded content."""
    if isinstance(content, dict):
        return {
            key: public_path(value) if key in _URL_KEYS and isinstance(value, str) else public_content(value)
            for key, value in content.items()
        }
    if isinstance(content, list):
        return [public_content(item) for item in content]
    return content
