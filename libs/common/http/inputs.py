"""The pictures of a request, in any of the contract's body forms. Sections 2.4, 7.3 and 11.2.

One raw picture, a multipart form, or JSON that names or holds pictures. A picture that cannot be had becomes
an :class:`Input` with an error and leaves the others alone; a request that is wrong as a whole fails.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Self

import orjson
from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import BadHttpMessage
from pydantic import Field, model_validator
from pydantic_core import to_json

from libs.common.clock import Time
from libs.common.errors import Code, MienError
from libs.common.http.media import BASE64_PICTURES, PICTURES, essence, sniff, well_formed
from libs.common.http.routes import JSON, Call, parse_json, utf8
from libs.common.ids import Id
from libs.common.wire.base import Wire
from libs.common.wire.estimations import Rect
from libs.common.wire.images import BODY_SAMPLES, FACE_SAMPLES, ORIGINS, StoredImage, image_path
from libs.common.wire.sdk import ErrorBody, Image

MULTIPART = "multipart/form-data"
CONSUMES = (*PICTURES, *BASE64_PICTURES, MULTIPART, JSON)
"""What a route that reads pictures declares as its ``consumes``."""

MAX_JSON_PART_BYTES = 2 * 1024 * 1024
"""Of ``meta``, ``policies`` and ``face_bounding_boxes``; the contract's limit of ``meta``."""
BOXES = "face_bounding_boxes"
JSON_PARTS = ("policies", "meta", BOXES)
OCTETS = "application/octet-stream"
CHUNK_BYTES = 64 * 1024
AT_ONCE = 8
"""Pictures fetched from elsewhere at one moment, per request."""


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


Url = Annotated[str, Field(min_length=1, max_length=2048)]


class Entry(Wire):
    """One picture of a JSON body: exactly one of ``image`` (base64), ``url``, ``sample_id``, ``image_id``.

    ``image_id`` is looked for in the ``bucket``, or in that of origins."""

    image: str | None = None
    url: Url | None = None
    sample_id: Id | None = None
    image_id: Id | None = None
    bucket: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    filename: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    detect_time: Time | None = None
    detect_ts: Annotated[float, Field(allow_inf_nan=False)] | None = None
    image_origin: Annotated[str, Field(max_length=256)] | None = None
    face_bounding_boxes: Annotated[list[Rect], Field(max_length=1000)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("image", "url", "sample_id", "image_id") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of image, url, sample_id, image_id (given: {', '.join(given) or '-'})")
        if self.bucket and not self.image_id:
            raise ValueError("a bucket goes with an image_id")
        return self

    @property
    def origin(self) -> str | None:
        """The path of a stored picture."""
        return image_path(self.bucket or ORIGINS, self.image_id) if self.image_id else None


class JsonInputs(Wire):
    """The JSON body form; the lists may be combined and are read in this order."""

    urls: list[Url] = []
    samples: list[Id] = []
    image_ids: list[Id] = []
    images: list[Entry] = []
    policies: dict[str, Any] | None = None
    meta: dict[str, Any] | None = None

    def entries(self) -> list[Entry]:
        return [
            *(Entry(url=url) for url in self.urls),
            *(Entry(sample_id=sample_id) for sample_id in self.samples),
            *(Entry(image_id=image_id) for image_id in self.image_ids),
            *self.images,
        ]


class Boxes(Wire):
    """Where the faces of one picture are, so that they need not be searched."""

    filename: str
    face_bounding_boxes: Annotated[list[Rect], Field(max_length=1000)]


async def read_inputs(call: Call, sources: Sources, limits: Limits | None = None) -> Inputs:
    """The pictures and JSON parts of a request.

    Raises EMPTY_BODY, BAD_CONTENT_TYPE, UNSUPPORTED_MEDIA, BAD_MULTIPART, BAD_JSON, BAD_BODY, TOO_MANY and
    BODY_TOO_LARGE; everything that concerns one picture only is that picture's ``error``.
    """
    limits = limits or Limits()
    request = call.request
    kind = _content_type(request)
    budget = Budget(limits.total_bytes)
    if kind == MULTIPART:
        return await _read_form(request, limits, budget)
    body = request.content.iter_chunked(CHUNK_BYTES)
    if kind == JSON:
        return await _read_json(call, await _collect(body, budget, limits.total_bytes), sources, limits)
    data = await _collect(body, budget, _cap(kind, limits))
    if not data:
        raise MienError(Code.EMPTY_BODY, "a picture is needed")
    return Inputs([_given("raw_image", data, kind, limits)])


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


def _content_type(request: web.Request) -> str:
    header = request.headers.get("Content-Type")
    if not request.can_read_body:
        raise MienError(Code.EMPTY_BODY, "a picture, a multipart form or JSON is needed")
    if header is not None and not well_formed(header):
        raise MienError(Code.BAD_CONTENT_TYPE, f"Content-Type: {header[:100]}")
    kind = essence(header)
    if kind not in CONSUMES:
        raise MienError(Code.UNSUPPORTED_MEDIA, f"Content-Type: {kind or 'missing'}; send one of {', '.join(CONSUMES)}")
    return kind


def _cap(kind: str, limits: Limits) -> int:
    """How many bytes of one encoded picture are worth reading; base64 takes four for three, and line ends."""
    return limits.image_bytes * 3 // 2 if kind in BASE64_PICTURES else limits.image_bytes


async def _collect(chunks: AsyncIterator[bytes], budget: Budget, cap: int) -> bytes:
    """Read to the end, but keep no more than ``cap`` + 1 bytes: enough to see that it is too long."""
    kept = bytearray()
    async for chunk in chunks:
        budget.spend(len(chunk))
        kept += chunk[: cap + 1 - len(kept)]
    return bytes(kept)


def _given(filename: str, data: bytes, kind: str, limits: Limits, boxes: list[Rect] | None = None) -> Input:
    """A picture that came in the body, of a declared type."""
    try:
        if len(data) > _cap(kind, limits):
            raise _too_large(limits)
        if kind in BASE64_PICTURES:
            data, kind = _unbase64(data), BASE64_PICTURES[kind]
        return Input(filename, _image(filename, data, kind, limits, boxes))
    except MienError as error:
        return Input(filename, error=ErrorBody(**error.body()))


def _image(filename: str, data: bytes, kind: str | None, limits: Limits, boxes: list[Rect] | None) -> Image:
    """The picture, its bytes checked against the type they are said to have.

    Raises EMPTY_BODY, IMAGE_TOO_LARGE, CONTENT_MISMATCH, BROKEN_IMAGE.
    """
    if not data:
        raise MienError(Code.EMPTY_BODY, f"{filename}: has no bytes")
    if len(data) > limits.image_bytes:
        raise _too_large(limits)
    seen = sniff(data)
    if kind in PICTURES and seen != kind:
        raise MienError(
            Code.CONTENT_MISMATCH, f"{filename}: declared {kind}, the bytes are {seen or 'of no known kind'}"
        )
    if seen is None:
        raise MienError(Code.BROKEN_IMAGE, f"{filename}: the bytes are of none of {', '.join(PICTURES)}")
    return Image(filename=filename, data=data, content_type=seen, face_bounding_boxes=boxes)


def _too_large(limits: Limits) -> MienError:
    return MienError(Code.IMAGE_TOO_LARGE, f"a picture may have {limits.image_bytes} bytes")


def _unbase64(text: bytes) -> bytes:
    """Raises BROKEN_IMAGE."""
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        raise MienError(Code.BROKEN_IMAGE, "the picture is not base64") from None


# JSON


async def _read_json(call: Call, body: bytes, sources: Sources, limits: Limits) -> Inputs:
    given: JsonInputs = parse_json(body, JsonInputs)
    entries = given.entries()
    if not entries:
        raise MienError(Code.BAD_BODY, "no picture: fill urls, samples, image_ids or images")
    _check_count(len(entries), limits)
    parts = {name: to_json(value) for name in ("policies", "meta") if (value := getattr(given, name)) is not None}
    for name, raw in parts.items():
        _check_json(name, raw)
    reader = _EntryReader(call, sources, limits)
    return Inputs(list(await asyncio.gather(*map(reader.read, entries, range(len(entries))))), parts)


class _EntryReader:
    """Gets what the entries of one JSON body name, a few at a time."""

    def __init__(self, call: Call, sources: Sources, limits: Limits) -> None:
        self._account = call.account_or_nil
        self._samples = BODY_SAMPLES if call.request.query.get("image_type") == "2" else FACE_SAMPLES
        self._sources = sources
        self._limits = limits
        self._budget = Budget(limits.total_bytes)
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def read(self, entry: Entry, position: int) -> Input:
        filename = entry.filename or _filename(entry, position)
        image = error = None
        try:
            data, kind = await self._load(entry)
            image = _image(filename, data, kind, self._limits, entry.face_bounding_boxes)
        except MienError as failure:
            error = ErrorBody(**failure.body())
        return Input(
            filename,
            image,
            error,
            detect_time=entry.detect_time,
            detect_ts=entry.detect_ts,
            image_origin=entry.image_origin or entry.origin,
            sample_id=entry.sample_id,
        )

    async def _load(self, entry: Entry) -> tuple[bytes, str | None]:
        if entry.image is not None:
            if len(entry.image) > self._limits.image_bytes * 3 // 2:  # before work that holds up everybody
                raise _too_large(self._limits)
            return _unbase64(entry.image.encode()), None
        async with self._gate:
            data, kind = await self._fetch(entry)
            self._budget.spend(len(data), Code.IMAGE_TOO_LARGE)
            return data, kind

    async def _fetch(self, entry: Entry) -> tuple[bytes, str | None]:
        if entry.url is not None:
            data, header = await self._sources.fetch(entry.url)
            return data, essence(header)
        bucket = self._samples if entry.sample_id else entry.bucket or ORIGINS
        stored = await self._sources.stored(self._account, bucket, str(entry.sample_id or entry.image_id))
        return stored.data, essence(stored.content_type)


def _filename(entry: Entry, position: int) -> str:
    """What an unnamed picture is called in the answer: its URL without the query (which may hold a key), or its id."""
    if entry.url is not None:
        return entry.url.split("?")[0].split("#")[0]
    return entry.sample_id or entry.image_id or f"image_{position}"


def _check_count(count: int, limits: Limits) -> None:
    if count > limits.images:
        raise MienError(Code.TOO_MANY, f"{count} pictures; a request may have {limits.images}")


# Multipart


async def _read_form(request: web.Request, limits: Limits, budget: Budget) -> Inputs:
    try:
        reader = await request.multipart()
    except ValueError as wrong:
        raise MienError(Code.BAD_CONTENT_TYPE, str(wrong)) from None
    form = _Form(limits, budget)
    try:
        async for part in reader:
            await form.add(part)
    except (ValueError, RuntimeError, BadHttpMessage):
        # what aiohttp says quotes the bytes it stumbled over
        raise MienError(
            Code.BAD_MULTIPART, "malformed: a boundary or a header of the form is wrong, or its end is missing"
        ) from None
    return form.inputs()


async def _chunks(part: BodyPartReader) -> AsyncIterator[bytes]:
    while not part.at_eof():
        yield await part.read_chunk(CHUNK_BYTES)


@dataclass
class _Form:
    """A multipart form as far as it has been read."""

    limits: Limits
    budget: Budget
    pictures: list[tuple[str, bytes, str]] = field(default_factory=list)
    parts: dict[str, bytes] = field(default_factory=dict)

    async def add(self, part: MultipartReader | BodyPartReader | None) -> None:
        if not isinstance(part, BodyPartReader):
            raise MienError(Code.BAD_MULTIPART, "a part holds another multipart body")
        encoding = part.headers.get("Content-Transfer-Encoding", "binary").lower()
        if encoding not in ("binary", "8bit", "7bit"):
            raise MienError(Code.BAD_MULTIPART, f"part {part.name}: Content-Transfer-Encoding {encoding} is not read")
        kind = essence(part.headers.get("Content-Type"))
        if part.name in JSON_PARTS:
            await self._add_json(part, part.name, kind)
        elif kind in PICTURES or kind in BASE64_PICTURES or (part.filename and kind in ("", OCTETS)):
            await self._add_picture(part, kind)
        else:
            raise MienError(
                Code.BAD_MULTIPART,
                f"part {part.name}: {kind or 'no Content-Type'}; a part is a picture or one of {', '.join(JSON_PARTS)}",
            )

    async def _add_json(self, part: BodyPartReader, name: str, kind: str) -> None:
        if name in self.parts:
            raise MienError(Code.BAD_MULTIPART, f"part {name}: given twice")
        if kind not in ("", JSON, "text/plain", OCTETS):
            raise MienError(Code.BAD_MULTIPART, f"part {name}: {kind}; send {JSON}")
        raw = await _collect(_chunks(part), self.budget, MAX_JSON_PART_BYTES)
        _check_json(name, raw)
        self.parts[name] = raw

    async def _add_picture(self, part: BodyPartReader, kind: str) -> None:
        filename = utf8(part.filename or part.name or f"image_{len(self.pictures)}")
        _check_count(len(self.pictures) + 1, self.limits)
        self.pictures.append((filename, await _collect(_chunks(part), self.budget, _cap(kind, self.limits)), kind))

    def inputs(self) -> Inputs:
        if not self.pictures:
            raise MienError(Code.BAD_MULTIPART, "no part holds a picture")
        boxes = self._boxes()
        images = [_given(name, data, kind, self.limits, boxes.get(name)) for name, data, kind in self.pictures]
        return Inputs(images, {name: raw for name, raw in self.parts.items() if name != BOXES})

    def _boxes(self) -> dict[str, list[Rect]]:
        """Boxes by filename. Raises BAD_BODY when a name means no picture or several, or has boxes already."""
        given: list[Boxes] = parse_json(self.parts[BOXES], list[Boxes], BOXES) if BOXES in self.parts else []
        named = Counter(filename for filename, _, _ in self.pictures)
        boxed: dict[str, list[Rect]] = {}
        for position, boxes in enumerate(given):
            where, name = f"{BOXES}.{position}.filename", boxes.filename
            if named[name] != 1:
                raise MienError(Code.BAD_BODY, f"{where}: {named[name] or 'no'} pictures are called {name!r}")
            if name in boxed:
                raise MienError(Code.BAD_BODY, f"{where}: {name!r} has its boxes already")
            boxed[name] = boxes.face_bounding_boxes
        return boxed


def _check_json(name: str, raw: bytes) -> None:
    """Raises BODY_TOO_LARGE, BAD_JSON, and BAD_BODY when ``meta`` is no object."""
    if len(raw) > MAX_JSON_PART_BYTES:
        raise MienError(Code.BODY_TOO_LARGE, f"{name}: may have {MAX_JSON_PART_BYTES} bytes")
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as wrong:
        raise MienError(Code.BAD_JSON, f"{name}: {wrong}") from None
    if name == "meta" and not isinstance(value, dict):
        raise MienError(Code.BAD_BODY, "meta: should be an object")
