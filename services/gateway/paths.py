"""The gateway's own words for the services' paths, in both directions."""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import from_json, to_json

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


def is_content(path: str) -> bool:
    """Whether GET of this path answers bytes that a caller stored, which nobody may change."""
    return any(path.startswith(f"{PREFIX}{public}/") for public, _, _ in SHORTCUTS)


def public_json(body: bytes) -> bytes:
    """A JSON answer with the services' paths under its url keys replaced."""
    if b'"meta":{' in body:
        return to_json(public_content(from_json(body)))
    return _IN_JSON.sub(lambda found: found[1] + public_path(found[2].decode()).encode(), body)


def public_content(content: Any) -> Any:
    """As :func:`public_json`, for decoded content. What callers put into ``meta`` stays as it is."""
    if isinstance(content, dict):
        return {key: _public_value(key, value) for key, value in content.items()}
    if isinstance(content, list):
        return [public_content(item) for item in content]
    return content


def _public_value(key: Any, value: Any) -> Any:
    if key == "meta":
        return value
    return public_path(value) if key in _URL_KEYS and isinstance(value, str) else public_content(value)
