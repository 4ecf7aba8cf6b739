"""What a picture says of itself in EXIF. None of it is trusted."""

from __future__ import annotations

import math
from typing import Any

from PIL import ExifTags, Image

_ENTRIES, _CHARACTERS, _ITEMS = 200, 256, 32


def stored_orientation(header: Image.Image) -> Any:
    """Of the stored picture, 1..8 (EXIF 2.32, tag 0x0112) or whatever stands there; None where nothing does."""
    try:
        return header.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged EXIF is no reason to refuse a good picture
        return None


def read_exif(header: Image.Image) -> dict[str, Any]:
    """EXIF as plain data by tag name: numbers, text of at most 256 characters, lists; ``GPSInfo`` is a dictionary.

    Bytes (thumbnails, maker notes) and numbers that are not finite are left out; at most 200 entries. Empty when there
    is none or it is damaged.
    """
    try:
        exif = header.getexif()
        entries = _named(dict(exif), ExifTags.TAGS) | _named(exif.get_ifd(ExifTags.IFD.Exif), ExifTags.TAGS)
        gps = _named(exif.get_ifd(ExifTags.IFD.GPSInfo), ExifTags.GPSTAGS)
    except Exception:  # damaged EXIF is no reason to refuse a good picture
        return {}
    entries.pop("ExifOffset", None)
    entries.pop("GPSInfo", None)
    found = dict(list(entries.items())[:_ENTRIES])
    return found | ({"GPSInfo": gps} if gps else {})


def _named(tags: dict[int, Any], names: dict[int, str]) -> dict[str, Any]:
    values = {names.get(tag, f"0x{tag:04x}"): _plain(value) for tag, value in tags.items()}
    return {name: value for name, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    """A JSON-safe copy of one EXIF value; None when it has none."""
    if isinstance(value, str):
        return value.replace("\0", "").strip()[:_CHARACTERS]
    if isinstance(value, int):
        return int(value)
    if isinstance(value, (tuple, list)):
        items = [_plain(item) for item in value[:_ITEMS]]
        return None if None in items else items
    if isinstance(value, (bytes, dict)) or value is None:
        return None
    return _number(value)


def _number(value: Any) -> float | None:
    """Rationals, of which some have a zero below."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return round(number, 6) if math.isfinite(number) else None
