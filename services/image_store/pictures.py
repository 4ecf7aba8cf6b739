"""What becomes of a picture somebody uploads: it is checked, and stored as JPEG."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

from libs.common.errors import Code, MienError
from libs.common.media import JPEG, PICTURES, sniff

MAX_BYTES = 32 * 1024 * 1024
MAX_PIXELS = 50_000_000
QUALITY = 95
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "PPM", "WEBP")
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, OverflowError, struct.error, zlib.error)
"""What Pillow's decoders raise on bytes that are not what they seem."""


def normalised(data: bytes, declared: str) -> bytes:
    """The picture as JPEG: one that is JPEG stays byte for byte, others are converted. Slow: call it in a thread.

    Pictures that say they are turned (EXIF) are turned, transparency is dropped, of several frames the first is
    kept. Raises CONTENT_MISMATCH, IMAGE_TOO_LARGE (bytes, or pixels by the header), BROKEN_IMAGE.
    """
    if len(data) > MAX_BYTES:
        raise MienError(Code.IMAGE_TOO_LARGE, f"{len(data)} bytes; a picture may have {MAX_BYTES}")
    seen = sniff(data)
    if seen != declared:
        raise MienError(Code.CONTENT_MISMATCH, f"declared {declared}, the bytes are {seen or 'of no known kind'}")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            _check_pixels(*picture.size)
            return _verified(picture, data) if seen == JPEG else _converted(picture)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise MienError(Code.IMAGE_TOO_LARGE, f"a picture may have {MAX_PIXELS} pixels") from None
    except _BROKEN:
        # what Pillow says is about its own insides, and no help to who sent the picture
        raise MienError(Code.BROKEN_IMAGE, "the picture is damaged, cut off, or of a kind that is not read") from None


def kind_of(data: bytes) -> str:
    """The content type of a picture stored as it is. Raises BROKEN_IMAGE."""
    seen = sniff(data)
    if seen is None:
        raise MienError(Code.BROKEN_IMAGE, f"the bytes are of none of {', '.join(PICTURES)}")
    return seen


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise MienError(Code.IMAGE_TOO_LARGE, f"{width} x {height} pixels; a picture may have {MAX_PIXELS}")


def _verified(picture: Image.Image, data: bytes) -> bytes:
    """Decode at an eighth of the size: that reads every coded byte, in a fraction of the time and memory."""
    picture.draft(None, (picture.width // 8, picture.height // 8))
    picture.load()
    return data


def _converted(picture: Image.Image) -> bytes:
    if picture.mode.startswith("I"):
        # 16 bits of grey; Pillow's own conversion would make everything above 255 white
        picture = Image.fromarray((np.asarray(picture) >> 8).clip(0, 255).astype(np.uint8))
    encoded = io.BytesIO()
    ImageOps.exif_transpose(picture).convert("RGB").save(encoded, "JPEG", quality=QUALITY)
    return encoded.getvalue()
