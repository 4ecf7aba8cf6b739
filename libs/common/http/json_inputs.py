"""The JSON form of a request's pictures: it holds or names them."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any, Self

from pydantic import Field, model_validator
from pydantic_core import to_json

from libs.common.clock import Time
from libs.common.errors import Code, MienError
from libs.common.http.pictures import (
    Budget,
    Input,
    Inputs,
    Limits,
    Sources,
    check_count,
    check_json,
    checked_picture,
    too_large,
    unbase64,
)
from libs.common.http.routes import LARGE_BYTES, Call, parse_json, parsed
from libs.common.ids import Id
from libs.common.media import essence
from libs.common.wire.base import Wire
from libs.common.wire.estimations import Rect
from libs.common.wire.images import BODY_SAMPLES, FACE_SAMPLES, ORIGINS, image_path
from libs.common.wire.sdk import ErrorBody

AT_ONCE = 8
"""Pictures fetched from elsewhere at one moment, per request."""

_CREDENTIALS = re.compile(r"^([^/]*//)[^/]*@")

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


class JsonPictures(Wire):
    """The JSON body form; the lists may be combined and are read in this order."""

    urls: list[Url] = []
    samples: list[Id] = []
    image_ids: list[Id] = []
    images: list[Entry] = []

    def entries(self) -> list[Entry]:
        return [
            *(Entry(url=url) for url in self.urls),
            *(Entry(sample_id=sample_id) for sample_id in self.samples),
            *(Entry(image_id=image_id) for image_id in self.image_ids),
            *self.images,
        ]


class JsonInputs(JsonPictures):
    """The same with what handlers take beside pictures."""

    policies: dict[str, Any] | None = None
    meta: dict[str, Any] | None = None


async def read_json(call: Call, body: bytes, sources: Sources, limits: Limits) -> Inputs:
    """Raises EMPTY_BODY, BAD_JSON, BAD_BODY, TOO_MANY, BODY_TOO_LARGE."""
    given: JsonInputs = await parsed(parse_json, body, JsonInputs)
    entries = given.entries()
    if not entries:
        raise MienError(Code.BAD_BODY, "no picture: fill urls, samples, image_ids or images")
    check_count(len(entries), limits)
    parts = {name: to_json(value) for name in ("policies", "meta") if (value := getattr(given, name)) is not None}
    for name, raw in parts.items():
        check_json(name, raw)
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
            image = checked_picture(filename, data, kind, self._limits, entry.face_bounding_boxes)
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
                raise too_large(self._limits)
            if len(entry.image) <= LARGE_BYTES:
                return unbase64(entry.image.encode()), None
            return await asyncio.to_thread(lambda text: unbase64(text.encode()), entry.image), None
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
    """What an unnamed picture is called in the answer: its id, or its URL without credentials and query (which may hold
    a key)."""
    if entry.url is not None:
        return _CREDENTIALS.sub(r"\1", entry.url.split("?")[0].split("#")[0])
    return entry.sample_id or entry.image_id or f"image_{position}"
