"""Whether a PNG holds every row that its header says. Pillow does not ask: it takes a stream of pixels that ends early,
but properly, for a whole one, and leaves the other rows black."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_SIGNATURE_BYTES = 8
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By colour type. This and what follows: PNG (Third Edition), W3C 2025, sections 8.1 and 11.2.1."""
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of each pass: its first column and row, and its steps between columns and rows."""
_AT_ONCE = 1 << 20
"""Bytes that are inflated at a time: of a bomb no more is ever held."""


def has_all_rows(data: bytes | memoryview) -> bool:
    """Whether the pixels of an intact header are all there. Costs what inflating them costs, and 1 MB.

    Raises zlib.error when the stream is damaged before its end.
    """
    wanted, found, stream = _stream_bytes(data), 0, zlib.decompressobj()
    for part in _chunks(data, b"IDAT"):
        waiting: bytes | memoryview = part
        while len(waiting) and found < wanted:
            found += len(stream.decompress(waiting, _AT_ONCE))
            waiting = stream.unconsumed_tail
    return found >= wanted


def is_interlaced(data: bytes | memoryview) -> bool:
    return _header(data)[-1] == 1


def _stream_bytes(data: bytes | memoryview) -> int:
    """Of the filtered rows: each is a byte more than its pixels, and a pass without columns has none."""
    width, height, depth, colour, _, _, interlaced = _header(data)
    total = 0
    for left, top, across, down in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * depth * _CHANNELS[colour] // 8))
    return total


def _header(data: bytes | memoryview) -> tuple[int, ...]:
    """Width, height, bits of a channel, colour type, compression, filter, interlacing."""
    return struct.unpack_from(">IIBBBBB", next(_chunks(data, b"IHDR")))


def _chunks(data: bytes | memoryview, name: bytes) -> Iterator[memoryview]:
    view, at = memoryview(data), _SIGNATURE_BYTES
    while at + 8 <= len(view):
        size, found = struct.unpack_from(">I4s", view, at)
        if found == name:
            yield view[at + 8 : at + 8 + size]
        at += size + 12
