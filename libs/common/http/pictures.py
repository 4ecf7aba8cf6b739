"""Pictures as a request brings them, its limits, and the checks of the bytes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from libs.common.errors import Code, MienError
from libs.common.media import BASE64_PICTURES, PICTURES, sniff
from libs.common.wire.estimations import Rect
from libs.common.wire.images import StoredImage
from libs.common.wire.sdk import ErrorBody, Image

MAX_JSON_PART_BYTES = 2 * 1024 * 1024
"""Of ``meta``, ``policies`` and ``face_bounding_boxes``; the contract's limit of ``meta``."""
CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Limits:
    """Of one request. ``total_bytes`` counts the body, and apart from it what is fetched from elsewhere."""

    images: int = 100
    image_bytes: int = 32 * 1024 * 1024
    total_bytes: int = 128 * 1024 * 1024


@dataclass(frozen=True)
class Sources:
    """Where pictures that a request only names come from.

    ``fetch`` gets a URL as (data, content type or None), see :meth:`libs.common.http.fetch.Fetcher.get`;
    ``stored`` is :meth:`libs.common.ports.Images.get`. Both raise MienError.
    """

    fetch: Callable[[str], Awaitable[tuple[bytes, str | None]]]
    stored: Callable[[str, str, str], Awaitable[StoredImage]]


@dataclass(frozen=True)
class Input:
    """One picture of a request: ``image``, or the ``error`` that says why there is none."""

    filename: str
    image: Image | None = None
    error: ErrorBody | None = None
    detect_time: datetime | None = None
    detect_ts: float | None = None
    image_origin: str | None = None
    sample_id: str | None = None


@dataclass(frozen=True)
class Inputs:
    """``images`` in the order of the request; ``parts`` holds the raw JSON of ``policies`` and ``meta``, if given."""

    images: list[Input]
    parts: dict[str, bytes] = field(default_factory=dict)


class Budget:
    """How many bytes a request may still bring."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._spent = 0

    def spend(self, count: int, code: Code = Code.BODY_TOO_LARGE) -> None:
        """Raises ``code`` when that is more than is left."""
        self._spent += count
        if self._spent > self._limit:
            raise MienError(code, f"the pictures of one request may have {self._limit} bytes together")


def cap(kind: str, limits: Limits) -> int:
    """How many bytes of one encoded picture are worth reading; base64 takes four for three, and line ends."""
    return limits.image_bytes * 3 // 2 if kind in BASE64_PICTURES else limits.image_bytes


async def collect(chunks: AsyncIterator[bytes], budget: Budget, most: int) -> bytes:
    """Read to the end, but keep no more than ``most`` + 1 bytes: enough to see that it is too long."""
    kept = bytearray()
    async for chunk in chunks:
        budget.spend(len(chunk))
        kept += chunk[: most + 1 - len(kept)]
    return bytes(kept)


def given_picture(filename: str, data: bytes, kind: str, limits: Limits, boxes: list[Rect] | None = None) -> Input:
    """A picture that came in the body, of a declared type."""
    try:
        if len(data) > cap(kind, limits):
            raise too_large(limits)
        if kind in BASE64_PICTURES:
            data, kind = unbase64(data), BASE64_PICTURES[kind]
        return Input(filename, checked_picture(filename, data, kind, limits, boxes))
    except MienError as error:
        return Input(filename, error=ErrorBody(**error.body()))


def checked_picture(filename: str, data: bytes, kind: str | None, limits: Limits, boxes: list[Rect] | None) -> Image:
    """The picture, its bytes checked against the type they are said to have.

    Raises EMPTY_BODY, IMAGE_TOO_LARGE, CONTENT_MISMATCH, BROKEN_IMAGE.
    """
    if not data:
        raise MienError(Code.EMPTY_BODY, f"{filename}: has no bytes")
    if len(data) > limits.image_bytes:
        raise too_large(limits)
    seen = sniff(data)
    if kind in PICTURES and seen != kind:
        raise MienError(
            Code.CONTENT_MISMATCH, f"{filename}: declared {kind}, the bytes are {seen or 'of no known kind'}"
        )
    if seen is None:
        raise MienError(Code.BROKEN_IMAGE, f"{filename}: the bytes are of none of {', '.join(PICTURES)}")
    return Image(filename=filename, data=data, content_type=seen, face_bounding_boxes=boxes)


def too_large(limits: Limits) -> MienError:
    """What is said of a picture of too many bytes."""
    return MienError(Code.IMAGE_TOO_LARGE, f"a picture may have {limits.image_bytes} bytes")


def unbase64(text: bytes) -> bytes:
    """Base64 text, line ends in it allowed, as bytes. Raises BROKEN_IMAGE."""
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        raise MienError(Code.BROKEN_IMAGE, "the picture is not base64") from None


def check_count(count: int, limits: Limits) -> None:
    """Raises TOO_MANY pictures."""
    if count > limits.images:
        raise MienError(Code.TOO_MANY, f"{count} pictures; a request may have {limits.images}")


def check_json(name: str, raw: bytes) -> None:
    """What a part of JSON has to be. Raises BODY_TOO_LARGE, BAD_JSON, and BAD_BODY when ``meta`` is no object."""
    if len(raw) > MAX_JSON_PART_BYTES:
        raise MienError(Code.BODY_TOO_LARGE, f"{name}: may have {MAX_JSON_PART_BYTES} bytes")
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as wrong:
        raise MienError(Code.BAD_JSON, f"{name}: {wrong}") from None
    if name == "meta" and not isinstance(value, dict):
        raise MienError(Code.BAD_BODY, "meta: should be an object")
