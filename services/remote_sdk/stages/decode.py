"""From the bytes of a picture to its pixels. The header is judged before anything is decoded."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from libs.common.errors import Code, MienError
from libs.common.media import JPEG, PICTURES, essence, sniff
from services.remote_sdk.stages import png
from services.remote_sdk.stages.exif import read_exif, stored_orientation

Pixels = NDArray[np.uint8]

# Pillow's names of the formats in PICTURES, and no other: each is one more parser of hostile bytes.
_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "PPM", "WEBP")
_MAGIC_BYTES = 64  # more than any format needs to be known by
_JPEG_APP1, _JPEG_SCAN, _JPEG_END = b"\xff\xe1", b"\xff\xda", b"\xff\xd9"
_JPEG_TAIL = 1024  # bytes in which the end lies: cameras pad what they write


@dataclass(frozen=True)
class Limits:
    """What a picture may be at most: its encoded bytes, and its pixels once decoded."""

    size_bytes: int
    pixels: int


@dataclass(frozen=True)
class Picture:
    """``pixels``: uint8 (height, width, 3), RGB, upright if that was asked for. ``exif``: see :func:`read_exif`.
    ``reduced``: how many pixels of the picture one of these stands for along each side: 1, 2, 4 or 8."""

    pixels: Pixels
    exif: dict[str, Any] | None = None
    reduced: int = 1

    @property
    def frame(self) -> Pixels:
        """What networks look at: the pixels."""
        return self.pixels


@dataclass(frozen=True)
class Wish:
    """How a picture is wanted.

    ``upright``: turned as EXIF says. ``with_exif``: EXIF is read. ``long_side``: a JPEG may come reduced to a half, a
    quarter or an eighth, as long as its longer side keeps at least so many pixels; None: as it is.
    """

    upright: bool = True
    with_exif: bool = False
    long_side: int | None = None


AS_SHOWN = Wish()


def decode(
    data: bytes | memoryview,
    content_type: str | None,
    limits: Limits,
    wish: Wish = AS_SHOWN,
    into: Pixels | None = None,
) -> Picture:
    """Decode one picture: JPEG, PNG, BMP, TIFF, PPM or WebP; of an animation its first frame.

    Whatever the format holds becomes 8-bit RGB: 16 bits lose their lower half, transparent parts show white, grey is
    repeated, CMYK and palettes are converted. ``wish.upright`` applies the orientation that EXIF names (all eight).
    ``into``: uint8 (n,), at least three times ``limits.pixels``: the pixels returned lie at its beginning.

    Raises IMAGE_TOO_LARGE (bytes; pixels as the header says them, before decoding), CONTENT_MISMATCH when
    ``content_type`` names another of these formats, BROKEN_IMAGE when the bytes are none of them, damaged or cut off.
    """
    check_size(data, limits)
    _check_type(data, content_type)
    with _opened(data) as header:
        _check_pixels(header, limits)
        turn = _ORIENTATIONS.get(_turn_left(header, stored_orientation(header), upright=wish.upright))
        said = read_exif(header) if wish.with_exif else None
        if header.format in ("JPEG", "MPO"):
            reduced = reduction(max(header.size), wish.long_side)
            pixels = _jpeg_pixels(data, header, reduced, into if turn is None else None)
        else:
            reduced, pixels = 1, _pixels(data, header)
        return Picture(_placed(turn(pixels) if turn else pixels, into), said, reduced)


@dataclass(frozen=True)
class PlainJpeg:
    """A JPEG of 8-bit grey or YCbCr. ``data``: without EXIF, which some decoders obey and others do not. ``turn``: its
    orientation that is still to be applied, None for upright."""

    data: bytes
    turn: int | None
    exif: dict[str, Any] | None


def plain_jpeg(data: bytes, content_type: str | None, limits: Limits, wish: Wish) -> PlainJpeg | None:
    """What a JPEG of 8-bit grey or YCbCr that has an end says of itself; None for every other picture.

    Nothing is decoded: only Python reads the bytes. Raises what :func:`decode` raises of sizes and types.
    """
    check_size(data, limits)
    _check_type(data, content_type)
    if sniff(data[:_MAGIC_BYTES]) != JPEG or _JPEG_END not in data[-_JPEG_TAIL:]:
        return None
    with _opened(data) as header:
        _check_pixels(header, limits)
        bare = _without_exif(data)
        if bare is None or not _is_grey_or_ycbcr(header):
            return None
        turn = _turn_left(header, stored_orientation(header), upright=wish.upright)
        said = read_exif(header) if wish.with_exif else None
        return PlainJpeg(bare, turn if turn in _ORIENTATIONS else None, said)


def _is_grey_or_ycbcr(header: Any) -> bool:
    """Not told apart from RGB, which Pillow calls both, by every decoder. By libjpeg's rules."""
    numbers = [component[0] for component in header.layer]
    return header.mode == "L" or (numbers == [1, 2, 3] and header.info.get("adobe_transform", 1) == 1)


def _without_exif(jpeg: bytes) -> bytes | None:
    """A JPEG without its APP1 segments (ITU T.81, B.1.1.4); None where other bytes lie between the segments."""
    kept, at = [jpeg[:2]], 2
    while (marker := jpeg[at : at + 2]) != _JPEG_SCAN:
        length = 2 + int.from_bytes(jpeg[at + 2 : at + 4])
        if marker[:1] != b"\xff" or length < 4:
            return None
        if marker != _JPEG_APP1:
            kept.append(jpeg[at : at + length])
        at += length
    return b"".join([*kept, jpeg[at:]])


def check_size(data: bytes | memoryview, limits: Limits) -> None:
    """Raises IMAGE_TOO_LARGE for more bytes than a picture may have."""
    if len(data) > limits.size_bytes:
        raise MienError(Code.IMAGE_TOO_LARGE, f"{len(data)} bytes; a picture may have {limits.size_bytes}")


def reduction(long_side: int, wanted: int | None) -> int:
    """The largest of 1, 2, 4 and 8 that leaves ``wanted`` pixels of a picture's longer side."""
    return next((by for by in (8, 4, 2) if wanted and long_side // by >= wanted), 1)


def encode_jpeg(pixels: Pixels, quality: int = 95) -> bytes:
    """A small picture, uint8 (h, w, 3), as JPEG with full colour resolution."""
    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality=quality, colorspace="RGB", colorsubsampling="444"
    )


def _check_type(data: bytes | memoryview, content_type: str | None) -> None:
    declared, seen = essence(content_type), sniff(bytes(data[:_MAGIC_BYTES]))
    if seen is None:
        raise MienError(Code.BROKEN_IMAGE, f"the bytes are of none of {', '.join(PICTURES)}")
    if declared in PICTURES and declared != seen:
        raise MienError(Code.CONTENT_MISMATCH, f"declared {declared}, the bytes are {seen}")


def _opened(data: bytes | memoryview) -> Image.Image:
    """The picture with its header read and nothing decoded."""
    try:
        return Image.open(io.BytesIO(data), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large() from None
    except Exception:  # a parser of hostile bytes may raise anything
        raise _broken() from None


def _check_pixels(header: Image.Image, limits: Limits) -> None:
    width, height = header.size
    if width * height > limits.pixels:
        raise MienError(Code.IMAGE_TOO_LARGE, f"{width} x {height} pixels; a picture may have {limits.pixels}")
    if not width or not height:
        raise MienError(Code.BROKEN_IMAGE, f"{width} x {height} pixels")


def _too_large() -> MienError:
    return MienError(Code.IMAGE_TOO_LARGE, "more pixels than a picture may have")


def _broken() -> MienError:
    """What a parser says of bytes is about its own insides, and no help to who sent them."""
    return MienError(Code.BROKEN_IMAGE, "the picture is damaged, cut off, or of a kind that is not read")


def _jpeg_pixels(data: bytes | memoryview, header: Image.Image, reduced: int, into: Pixels | None) -> Pixels:
    """libjpeg-turbo, three times as fast as Pillow; strict, because it would paint missing rows grey."""
    width, height = (-(-side // reduced) for side in header.size)
    printed = header.mode == "CMYK"  # which libjpeg does not turn into RGB
    space, place = ("CMYK", None) if printed else ("RGB", into)
    try:
        pixels = simplejpeg.decode_jpeg(
            data, colorspace=space, strict=True, min_width=width, min_height=height, buffer=place
        )
    except Exception:  # a parser of hostile bytes may raise anything
        raise _broken() from None
    return _unprinted(pixels) if printed else pixels


def _unprinted(inks: Pixels) -> Pixels:
    """RGB of CMYK as Adobe puts it into a JPEG, and everybody after it: 255 is no ink."""
    return np.asarray(Image.fromarray(255 - inks, "CMYK").convert("RGB"))


def _pixels(data: bytes | memoryview, header: Image.Image) -> Pixels:
    """What Pillow decodes. It says when pixels are missing, but not of a PNG; nor does libtiff of a fax, or of a JPEG
    inside a TIFF, that ends before its strip does."""
    try:
        header.load()
        if header.format == "PNG" and _may_lack_rows(data, header) and not png.has_all_rows(data):
            raise _broken()
        return _rgb(header)
    except MienError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large() from None
    except Exception:  # a parser of hostile bytes may raise anything
        raise _broken() from None


def _may_lack_rows(data: bytes | memoryview, decoded: Image.Image) -> bool:
    """Rows come in order and those that do not come stay zero, so that few pictures need a closer look."""
    width, height = decoded.size
    return png.is_interlaced(data) or not np.asarray(decoded.crop((0, height - 1, width, height))).any()


def _rgb(picture: Image.Image) -> Pixels:
    """Any of Pillow's modes as uint8 (h, w, 3)."""
    if picture.mode == "F":
        raise MienError(Code.BROKEN_IMAGE, "floating point pixels have no known range")
    if picture.mode.startswith("I"):
        # 16 bits wide; "I" is what Pillow makes of a 16-bit PPM.
        grey = (np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if picture.has_transparency_data:
        coloured = picture.convert("RGBA")
        white = Image.new("RGBA", coloured.size, "white")
        return np.asarray(Image.alpha_composite(white, coloured).convert("RGB"))
    return np.asarray(picture.convert("RGB"))


def _turn_left(header: Image.Image, stored: Any, *, upright: bool) -> Any:
    """The orientation that is still to be applied. Pillow turns a TIFF upright by itself."""
    if header.format == "TIFF":
        return None if upright else _UNDONE.get(stored, stored)
    return stored if upright else None


def _placed(pixels: Pixels, into: Pixels | None) -> Pixels:
    """Row by row in memory, in ``into`` where it is given."""
    if into is None:
        return np.ascontiguousarray(pixels)
    place = into[: pixels.size].reshape(pixels.shape)
    if pixels.ctypes.data != place.ctypes.data:
        place[...] = pixels
    return place


# EXIF 2.32, tag 0x0112: where row 0 and column 0 of the stored picture belong.
_ORIENTATIONS = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: pixels[::-1].transpose(1, 0, 2),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: pixels[:, ::-1].transpose(1, 0, 2),
}
_UNDONE = {6: 8, 8: 6}  # all others undo themselves
