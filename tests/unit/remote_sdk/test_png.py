"""A PNG that has all its rows is a picture, and one that lacks any is broken, however properly it ends."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as some

from libs.common.errors import Code, MienError
from services.remote_sdk.stages.decode import Limits, decode

LIMITS = Limits(size_bytes=4_000_000, pixels=2_000_000)
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
LAYOUTS = [
    *((GREY, depth, 1) for depth in (1, 2, 4, 8, 16)),
    *((PALETTE, depth, 1) for depth in (1, 2, 4, 8)),
    *((colour, depth, channels) for colour, channels in ((RGB, 3), (GREY_ALPHA, 2), (RGBA, 4)) for depth in (8, 16)),
]
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def rows(width: int, height: int, bits: int, *, interlaced: bool, value: int) -> list[bytes]:
    """Every filtered row in the order of the file, of pixels whose bytes are all ``value``."""
    return [
        b"\0" + bytes([value]) * -(-len(columns) * bits // 8)
        for left, top, across, down in (PASSES if interlaced else ((0, 0, 1, 1),))
        if (columns := range(left, width, across))
        for _ in range(top, height, down)
    ]


def png(width: int, height: int, layout: tuple[int, int, int], *, interlaced: bool, stream: bytes) -> bytes:
    """In two chunks, as encoders cut long streams."""
    colour, depth, _ = layout
    half = len(stream) // 2
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)),
            chunk(b"PLTE", bytes(range(256)) * 3) if colour == PALETTE and depth == 8 else b"",
            chunk(b"PLTE", bytes(range(6))) if colour == PALETTE and depth < 8 else b"",
            chunk(b"IDAT", stream[:half]),
            chunk(b"IDAT", stream[half:]),
            chunk(b"IEND", b""),
        ]
    )


def outcome(data: bytes) -> tuple[int, ...] | Code:
    """The shape of its pixels, or why it has none."""
    try:
        return decode(data, "image/png", LIMITS).pixels.shape
    except MienError as error:
        return error.code


@given(
    width=some.integers(1, 40),
    height=some.integers(1, 40),
    layout=some.sampled_from(LAYOUTS),
    interlaced=some.booleans(),
    value=some.sampled_from([0x00, 0x55, 0xFF]),
    choice=some.data(),
)
def test_a_png_is_a_picture_exactly_when_all_its_rows_are_there(
    width: int, height: int, layout: tuple[int, int, int], interlaced: bool, value: int, choice: some.DataObject
) -> None:
    every = rows(width, height, layout[1] * layout[2], interlaced=interlaced, value=value)
    kept = choice.draw(some.integers(0, len(every)))

    data = png(width, height, layout, interlaced=interlaced, stream=zlib.compress(b"".join(every[:kept])))

    assert outcome(data) == ((height, width, 3) if kept == len(every) else Code.BROKEN_IMAGE)


@pytest.mark.parametrize("value", [0x00, 0xFF])
def test_more_rows_than_the_header_says_are_left_alone(value: int) -> None:
    every = rows(8, 8, 24, interlaced=False, value=value)
    data = png(8, 8, (RGB, 8, 3), interlaced=False, stream=zlib.compress(b"".join(every * 1000)))
    assert outcome(data) == (8, 8, 3)


def test_a_wrong_checksum_costs_the_picture_not_its_last_row() -> None:
    stream = zlib.compress(b"".join(rows(8, 8, 24, interlaced=False, value=0xFF)))
    data = png(8, 8, (RGB, 8, 3), interlaced=False, stream=stream[:-4] + b"\0\0\0\0")
    assert outcome(data) is Code.BROKEN_IMAGE
