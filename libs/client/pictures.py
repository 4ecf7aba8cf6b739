"""Pictures as callers have them, and the body that carries them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from typing_extensions import TypeIs

from libs.common.media import sniff

Picture = bytes | Path | tuple[str, bytes]
"""Encoded bytes, a file, or a name and encoded bytes."""
Pictures = Picture | Sequence[Picture]

UNKNOWN = "application/octet-stream"


@dataclass(frozen=True)
class Named:
    """One picture with the name that the answer will call it by."""

    filename: str
    data: bytes

    @property
    def content_type(self) -> str:
        """What the bytes show; the platform says what is wrong with those that show nothing."""
        return sniff(self.data) or UNKNOWN


@dataclass(frozen=True)
class Content:
    """A request body: bytes of one type, or the parts of a multipart form. May be sent more than once."""

    data: bytes = b""
    content_type: str | None = None
    pictures: tuple[Named, ...] = ()
    parts: tuple[tuple[str, bytes], ...] = ()

    def payload(self) -> Any:
        """Fresh for every attempt: aiohttp can read it only once. Streams, because aiohttp warns of large bytes."""
        if self.content_type is not None:
            return io.BytesIO(self.data)
        form = aiohttp.FormData(quote_fields=False)
        for name, part in self.parts:
            form.add_field(name, part.decode(), content_type="application/json")
        for picture in self.pictures:
            form.add_field(
                "image",
                io.BytesIO(picture.data),
                filename=_printable(picture.filename),
                content_type=picture.content_type,
            )
        return form


def _printable(filename: str) -> str:
    """A header cannot carry line ends, nor the stray bytes that file names may have."""
    return "".join(letter if letter.isprintable() else "?" for letter in filename)


async def load(pictures: Pictures) -> list[Named]:
    """Read the files among ``pictures``; bytes without a name are numbered.

    Raises OSError for a missing file, TypeError for what is no picture.
    """
    if isinstance(pictures, (str, bytearray, memoryview)):
        raise _no_picture(pictures)
    items = [pictures] if _is_one(pictures) else pictures
    return [await _load(item, position) for position, item in enumerate(items)]


def _is_one(pictures: Pictures) -> TypeIs[Picture]:
    """A pair of a name and bytes is one picture, any other tuple is several."""
    if isinstance(pictures, tuple):
        return len(pictures) == 2 and isinstance(pictures[0], str)
    return isinstance(pictures, (bytes, Path))


async def _load(picture: Picture, position: int) -> Named:
    if isinstance(picture, bytes):
        return Named(f"image_{position}", picture)
    if isinstance(picture, Path):
        return Named(picture.name, await asyncio.to_thread(picture.read_bytes))
    if not _is_one(picture) or not isinstance(picture[1], bytes):
        raise _no_picture(picture)
    return Named(*picture)


def _no_picture(what: object) -> TypeError:
    return TypeError(f"a picture is bytes, a Path to a file, or a pair of a name and bytes; not {type(what).__name__}")


def content_of(pictures: list[Named], parts: Sequence[tuple[str, bytes]] = ()) -> Content:
    """One known picture alone goes as it is; several, or one beside JSON parts, as a form."""
    if len(pictures) == 1 and not parts and pictures[0].content_type != UNKNOWN:
        return Content(pictures[0].data, pictures[0].content_type)
    return Content(pictures=tuple(pictures), parts=tuple(parts))
