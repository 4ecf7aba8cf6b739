"""What a picture will cost, before it is decoded: dear ones let cheap ones go first."""

from __future__ import annotations

import io

import imagesize

from libs.common.media import JPEG, sniff

_BYTES_PER_S = 4_000_000  # of JPEG, whose bytes say best how long it takes: 0.06 s for a photo of 250 kB
_PIXELS_PER_S = 36_000_000  # of PNG: 0.9 s for one of 33 megapixels, however few bytes it has
_MOST_S = 2.0
_HEADER_BYTES = 65_536


def cost_s(data: bytes) -> float:
    """Seconds of one thread for an encoded picture, at most 2; 0 and more.

    Only the beginning is looked at, by Python, so that nobody's bytes keep or crash the process that counts.
    """
    by_bytes = len(data) / _BYTES_PER_S
    if sniff(data[:64]) == JPEG:
        return min(by_bytes, _MOST_S)
    width, height = _size(data[:_HEADER_BYTES])
    return min(max(by_bytes, width * height / _PIXELS_PER_S), _MOST_S)


def _size(header: bytes) -> tuple[int, int]:
    """Pixels, (0, 0) where they are not to be read there."""
    try:
        width, height = imagesize.get(io.BytesIO(header))
    except Exception:  # a parser of hostile bytes may raise anything
        return 0, 0
    return max(int(width), 0), max(int(height), 0)
