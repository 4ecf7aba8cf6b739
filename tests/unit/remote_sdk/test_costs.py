"""What pictures are expected to cost."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from services.remote_sdk.costs import cost_s
from tests.photos import astronaut_jpeg


def plain(kind: str, width: int, height: int) -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", (width, height)).save(encoded, kind)
    return encoded.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "PPM"])
def test_many_pixels_cost_much_however_few_bytes_they_have(kind: str) -> None:
    small, large = plain(kind, 200, 100), plain(kind, 4000, 3000)
    assert cost_s(small) < 0.02
    assert 0.3 < cost_s(large) <= 2


def test_of_jpegs_the_bytes_count() -> None:
    assert cost_s(plain("JPEG", 4000, 3000)) < cost_s(plain("PNG", 4000, 3000))
    assert cost_s(astronaut_jpeg() + bytes(1_000_000)) > 0.25


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8 ", b"II*\0", b"P6 "]))
def test_whatever_the_bytes_are_they_have_a_cost(rest: bytes, magic: bytes) -> None:
    assert 0 <= cost_s(magic + rest) <= 2
