"""The picture formats every service accepts: their names on the wire and their magic bytes."""

from __future__ import annotations

import re

JPEG = "image/jpeg"
PIXMAP = "image/x-portable-pixmap"
PICTURES = (JPEG, "image/png", "image/bmp", "image/tiff", PIXMAP, "image/webp")
BASE64_PICTURES = {f"image/x-{kind.split('/')[1].removeprefix('x-')}-base64": kind for kind in PICTURES}
"""Base64 text of a picture, ``image/x-jpeg-base64``, and the picture's own type."""

_ALIASES = {
    "image/jpg": JPEG,
    "image/pjpeg": JPEG,
    "image/x-png": "image/png",
    "image/x-bmp": "image/bmp",
    "image/x-ms-bmp": "image/bmp",
}
_MAGIC = (
    (re.compile(rb"\xff\xd8\xff"), JPEG),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL), "image/bmp"),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "image/tiff"),
    (re.compile(rb"P[1-6]\s"), PIXMAP),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp"),
)
_HEADER = re.compile(r"\s*[\w!#$%&'*+.^`|~-]+/[\w!#$%&'*+.^`|~-]+\s*(;.*)?", re.ASCII)


def sniff(data: bytes) -> str | None:
    """The content type that the first bytes of ``data`` show, one of PICTURES; None when they show none."""
    return next((kind for magic, kind in _MAGIC if magic.match(data)), None)


def well_formed(header: str) -> bool:
    """Whether a Content-Type header has the form ``type/subtype; parameters``."""
    return _HEADER.fullmatch(header) is not None


def essence(header: str | None) -> str:
    """``type/subtype`` of a Content-Type header in lower case, common aliases resolved; empty without a header."""
    kind = (header or "").split(";")[0].strip().lower()
    return _ALIASES.get(kind, kind)
