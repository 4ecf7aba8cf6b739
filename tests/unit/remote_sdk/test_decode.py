"""From bytes to pixels: every format and orientation, and everything that is not a picture."""

from __future__ import annotations

import io
import json
import zlib
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image, ImageOps

from libs.common.errors import Code, MienError
from services.remote_sdk.stages.decode import Limits, Wish, decode, encode_jpeg
from tests.hostile_images import scene, sized_jpeg, sized_png
from tests.photos import SHARED, astronaut_jpeg

LIMITS = Limits(size_bytes=4_000_000, pixels=2_000_000)
LOSSLESS = {"PNG": "image/png", "BMP": "image/bmp", "TIFF": "image/tiff", "PPM": "image/x-portable-pixmap"}


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def pixels_of(data: bytes, content_type: str | None = None) -> np.ndarray:
    return decode(data, content_type, LIMITS).pixels


def refusal(data: bytes, content_type: str | None = None, limits: Limits = LIMITS) -> MienError:
    with pytest.raises(MienError) as refused:
        decode(data, content_type, limits)
    return refused.value


@pytest.mark.parametrize(("kind", "content_type"), LOSSLESS.items())
def test_a_lossless_picture_comes_out_as_it_went_in(kind: str, content_type: str) -> None:
    assert np.array_equal(pixels_of(encoded(scene(), kind), content_type), np.asarray(scene()))


@pytest.mark.parametrize(
    ("kind", "content_type", "options"),
    [
        ("JPEG", "image/jpeg", {"quality": 95}),
        ("JPEG", "image/jpg", {"quality": 95, "progressive": True}),
        ("WEBP", "image/webp", {"quality": 95}),
    ],
)
def test_a_lossy_picture_comes_out_almost_as_it_went_in(
    kind: str, content_type: str, options: dict[str, object]
) -> None:
    difference = pixels_of(encoded(scene(), kind, **options), content_type).astype(int) - np.asarray(scene())
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_when_asked_for(orientation: int, kind: str, upright: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(scene(), kind, exif=exif)

    picture = decode(data, None, LIMITS, Wish(upright=upright, with_exif=True))

    as_stored = scene().copy()
    as_stored.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(as_stored) if upright else scene())
    assert picture.pixels.shape == expected.shape
    assert np.abs(picture.pixels.astype(int) - expected).mean() < (4 if kind == "JPEG" else 0.01)
    assert picture.exif is not None
    assert picture.exif["Orientation"] == orientation


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("L", "JPEG"),
        ("L", "PNG"),
        ("LA", "PNG"),
        ("1", "PNG"),
        ("P", "PNG"),
        ("P", "BMP"),
        ("RGBA", "PNG"),
        ("RGBA", "TIFF"),
        ("RGBA", "WEBP"),
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
    ],
)
def test_every_colour_mode_becomes_rgb(mode: str, kind: str) -> None:
    converted = scene().convert(mode)

    pixels = pixels_of(encoded(converted, kind))

    expected = np.asarray(converted.convert("RGB")).astype(int)
    assert (pixels.shape, pixels.dtype) == (expected.shape, np.uint8)
    assert np.abs(pixels - expected).mean() < 6


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_upper_half(kind: str) -> None:
    wide = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    assert np.array_equal(pixels_of(encoded(Image.fromarray(wide), kind))[:, :, 1], wide >> 8)


def test_a_sixteen_bit_pixmap_keeps_its_upper_half() -> None:
    wide = np.linspace(0, 65535, 12).reshape(3, 4).astype(">u2")
    assert np.array_equal(pixels_of(b"P5\n4 3\n65535\n" + wide.tobytes())[:, :, 0], wide >> 8)


def test_transparent_parts_show_white_not_what_hides_below() -> None:
    layered = scene().convert("RGBA")
    layered.putalpha(Image.new("L", layered.size, 0))
    assert (pixels_of(encoded(layered, "PNG")) == 255).all()


def test_a_palette_with_a_transparent_colour_shows_white_there() -> None:
    two = Image.new("P", (2, 1))
    two.putpalette([255, 0, 0, 0, 0, 255])
    two.putpixel((1, 0), 1)
    assert pixels_of(encoded(two, "PNG", transparency=0)).tolist() == [[[255, 255, 255], [0, 0, 255]]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    black = Image.new("RGB", scene().size, "black")
    data = encoded(
        scene(), kind, save_all=True, append_images=[black], **({"lossless": True} if kind == "WEBP" else {})
    )
    assert np.array_equal(pixels_of(data), np.asarray(scene()))


@pytest.mark.parametrize("kind", ["GIF", "ICO", "TGA", "PCX", "JPEG2000"])
def test_formats_outside_the_contract_are_refused(kind: str) -> None:
    assert refusal(encoded(scene(), kind)).code is Code.BROKEN_IMAGE


def test_a_declared_type_that_the_bytes_contradict_is_named() -> None:
    error = refusal(encoded(scene(), "PNG"), "image/jpeg")
    assert (error.code, error.detail) == (Code.CONTENT_MISMATCH, "declared image/jpeg, the bytes are image/png")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "PPM", "WEBP"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
def test_a_picture_that_is_cut_off_is_an_error_and_never_grey_rows(kind: str, part: float) -> None:
    data = encoded(scene(200, 100), kind)
    assert refusal(data[: int(len(data) * part)]).code is Code.BROKEN_IMAGE


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.95])
def test_a_jpeg_that_ends_early_but_properly_is_broken(part: float, mode: str) -> None:
    data = encoded(scene(200, 100).convert(mode), "JPEG")
    scan = data.rindex(b"\xff\xda")
    assert refusal(data[: scan + int((len(data) - scan) * part)] + b"\xff\xd9").code is Code.BROKEN_IMAGE


def test_a_large_jpeg_of_inks_comes_reduced_too() -> None:
    inks = scene(400, 200).convert("CMYK")
    picture = decode(encoded(inks, "JPEG", quality=95), None, LIMITS, Wish(long_side=100))
    assert (picture.reduced, picture.pixels.shape) == (4, (50, 100, 3))
    expected = np.asarray(inks.convert("RGB").reduce(4)).astype(int)
    assert np.abs(picture.pixels - expected).mean() < 3


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_damaged_bytes_give_pixels_or_a_contract_error(kind: str, seed: int) -> None:
    data = bytearray(encoded(scene(), kind))
    random = np.random.default_rng(seed)
    for position in random.integers(0, min(len(data), 400), 6):
        data[position] = random.integers(0, 256)
    with suppress(MienError):
        assert pixels_of(bytes(data)).ndim == 3


@pytest.mark.parametrize("data", [b"", b"\x00", b"not a picture", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"P6"])
def test_what_is_no_picture_is_broken(data: bytes) -> None:
    assert refusal(data).code is Code.BROKEN_IMAGE


@pytest.mark.parametrize(
    "data", [sized_png(30000, 30000), sized_jpeg(30000, 30000), b"P6\n30000 30000\n255\n", sized_png(1, 2_000_001)]
)
def test_a_picture_that_says_it_is_huge_is_refused_before_it_is_decoded(data: bytes) -> None:
    assert refusal(data).code is Code.IMAGE_TOO_LARGE


def test_a_header_without_its_pixels_is_broken() -> None:
    assert refusal(sized_jpeg(1000, 1000)).code is Code.BROKEN_IMAGE
    assert refusal(sized_png(1000, 1000, zlib.compress(b"\0" * 50))).code is Code.BROKEN_IMAGE


def test_too_many_bytes_are_refused_unread() -> None:
    error = refusal(b"\xff\xd8\xff" + bytes(100), limits=Limits(size_bytes=50, pixels=1000))
    assert (error.code, error.detail) == (Code.IMAGE_TOO_LARGE, "103 bytes; a picture may have 50")


@pytest.mark.parametrize("size", [(1, 1), (1, 30000), (30000, 1)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_odd_shapes_are_pictures_too(size: tuple[int, int], kind: str) -> None:
    assert pixels_of(encoded(Image.new("RGB", size, "white"), kind)).shape == (size[1], size[0], 3)


def test_exif_is_plain_data_of_bounded_size() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Camera \0" + "x" * 1000
    exif[0x9286] = b"\0" * 50_000
    exif[0x011A] = 72.5
    exif.get_ifd(0x8769)[0x829D] = 2.8
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.5)})

    found = decode(encoded(scene(), "JPEG", exif=exif), None, LIMITS, Wish(with_exif=True)).exif

    assert found is not None
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["Make"].startswith("Camera")
    assert len(found["Make"]) <= 256
    assert (found["XResolution"], found["FNumber"]) == (72.5, 2.8)
    assert found["GPSInfo"] == {"GPSLatitudeRef": "N", "GPSLatitude": [52.0, 31.0, 12.5]}
    assert "UserComment" not in found


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_does_not_spoil_the_picture() -> None:
    data = encoded(scene(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f garbage")
    picture = decode(data, None, LIMITS, Wish(with_exif=True))
    assert (picture.pixels.shape, picture.exif) == ((48, 64, 3), {})


def test_real_photos_decode() -> None:
    photos = [astronaut_jpeg(), *(path.read_bytes() for path in SHARED.rglob("*.jp*g"))]
    limits = Limits(32_000_000, 50_000_000)
    assert all(decode(photo, "image/jpeg", limits).pixels.shape[2] == 3 for photo in photos)


def test_a_warp_survives_its_encoding() -> None:
    pixels = np.asarray(scene(250, 250))
    assert np.abs(pixels_of(encode_jpeg(pixels), "image/jpeg").astype(int) - pixels).mean() < 1.5
