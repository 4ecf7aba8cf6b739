"""The multipart form of a request's pictures, with parts of JSON beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import BadHttpMessage
from pydantic import Field

from libs.common.errors import Code, MienError
from libs.common.http.pictures import (
    CHUNK_BYTES,
    MAX_JSON_PART_BYTES,
    Budget,
    Inputs,
    Limits,
    cap,
    check_count,
    check_json,
    collect,
    given_picture,
)
from libs.common.http.routes import JSON, parse_json, utf8
from libs.common.media import BASE64_PICTURES, PICTURES, essence
from libs.common.wire.base import Wire
from libs.common.wire.estimations import Rect

BOXES = "face_bounding_boxes"
JSON_PARTS = ("policies", "meta", BOXES)
OCTETS = "application/octet-stream"


class Boxes(Wire):
    """Where the faces of one picture are, so that they need not be searched."""

    filename: str
    face_bounding_boxes: Annotated[list[Rect], Field(max_length=1000)]


async def read_form(request: web.Request, limits: Limits, budget: Budget) -> Inputs:
    """Raises BAD_CONTENT_TYPE, BAD_MULTIPART, BAD_JSON, BAD_BODY, TOO_MANY, BODY_TOO_LARGE."""
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
        raw = await collect(_chunks(part), self.budget, MAX_JSON_PART_BYTES)
        check_json(name, raw)
        self.parts[name] = raw

    async def _add_picture(self, part: BodyPartReader, kind: str) -> None:
        filename = utf8(part.filename or part.name or f"image_{len(self.pictures)}")
        check_count(len(self.pictures) + 1, self.limits)
        self.pictures.append((filename, await collect(_chunks(part), self.budget, cap(kind, self.limits)), kind))

    def inputs(self) -> Inputs:
        if not self.pictures:
            raise MienError(Code.BAD_MULTIPART, "no part holds a picture")
        boxes = self._boxes()
        images = [given_picture(name, data, kind, self.limits, boxes.get(name)) for name, data, kind in self.pictures]
        return Inputs(images, {name: raw for name, raw in self.parts.items() if name != BOXES})

    def _boxes(self) -> dict[str, list[Rect]]:
        """Boxes by filename. Raises BAD_BODY when a name means no picture or several, or has boxes already."""
        hints: list[Boxes] = parse_json(self.parts[BOXES], list[Boxes], BOXES) if BOXES in self.parts else []
        named = Counter(filename for filename, _, _ in self.pictures)
        boxed: dict[str, list[Rect]] = {}
        for position, boxes in enumerate(hints):
            where, name = f"{BOXES}.{position}.filename", boxes.filename
            if named[name] != 1:
                raise MienError(Code.BAD_BODY, f"{where}: {named[name] or 'no'} pictures are called {name!r}")
            if name in boxed:
                raise MienError(Code.BAD_BODY, f"{where}: {name!r} has its boxes already")
            boxed[name] = boxes.face_bounding_boxes
        return boxed
