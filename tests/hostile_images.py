"""Broken, hostile and odd pictures, made when they are asked for: ``python -m tests.hostile_images COUNT [SEED]``.

The command gives COUNT mutated pictures to one decoding process, with intact ones between them that must come out
right, and prints what became of them and of the memory of both processes.
"""

from __future__ import annotations

import io
import random
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from libs.common.errors import Code, MienError
from services.remote_sdk.decoding.children import GIVEN_UP, Children
from services.remote_sdk.decoding.port import Decoder
from services.remote_sdk.stages.decode import Limits, decode

LIMITS = Limits(size_bytes=32 * 1024 * 1024, pixels=50_000_000)
REFUSALS = frozenset({Code.BROKEN_IMAGE, Code.IMAGE_TOO_LARGE, Code.CONTENT_MISMATCH})
Shape = tuple[int, int]  # height and width


@dataclass(frozen=True)
class Case:
    """Bytes, and what may become of them: pixels of this shape, one of these refusals, or either."""

    data: bytes
    shape: Shape | None = None
    refusals: frozenset[Code] = frozenset()
    content_type: str | None = None


@cache
def scene(width: int = 64, height: int = 48) -> Image.Image:
    """A smooth picture in which no two corners are alike."""
    x, y = np.meshgrid(np.linspace(0, 200, width), np.linspace(20, 240, height))
    return Image.fromarray(np.stack([x, y, 255 - x], axis=2).astype(np.uint8))


def encoded(kind: str, picture: Image.Image | None = None, **options: object) -> bytes:
    stream = io.BytesIO()
    (picture or scene()).save(stream, kind, **options)
    return stream.getvalue()


def cases() -> dict[str, Case]:
    """The corpus, by name."""
    return {**_odd(), **_oriented(), **_broken(), **_bombs(), **_lying()}


def _odd() -> dict[str, Case]:
    """Pictures all the same: each must come out."""
    wide = Image.fromarray(np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16))
    frames = [scene().transpose(Image.Transpose.FLIP_LEFT_RIGHT)] * 3
    jpeg, png = encoded("JPEG"), encoded("PNG")
    pictures = {
        "cmyk": encoded("JPEG", scene().convert("CMYK")),
        "16 bits": encoded("PNG", wide),
        "16 bits tiff": encoded("TIFF", wide),
        "alpha": encoded("PNG", scene().convert("RGBA")),
        "palette": encoded("PNG", scene().convert("P")),
        "one bit": encoded("TIFF", scene().convert("1"), compression="group4"),
        "animated webp": encoded("WEBP", save_all=True, append_images=frames),
        "animated png": encoded("PNG", save_all=True, append_images=frames),
        "several pages": encoded("TIFF", save_all=True, append_images=frames),
        "mpo": encoded("MPO", save_all=True, append_images=frames),
        "restart markers": encoded("JPEG", restart_marker_rows=1),
        "progressive": encoded("JPEG", progressive=True),
        "a page after its end": jpeg + b"<html><script>alert(1)</script>",
        "an archive after its end": png + b"PK\x05\x06" + bytes(18),
        "another picture after its end": png + jpeg,
        "a script in its comment": jpeg[:2] + _segment(0xFE, b"*/alert(1);/*" * 99) + jpeg[2:],
        "much exif": jpeg[:2] + b"".join(_segment(0xE1, b"Exif\0\0" + bytes(65000)) for _ in range(50)) + jpeg[2:],
    }
    return {
        **{name: Case(data, (48, 64)) for name, data in pictures.items()},
        "1 x 1": Case(encoded("PNG", scene(1, 1)), (1, 1)),
        "1 x 30000": Case(encoded("PNG", Image.new("RGB", (1, 30000))), (30000, 1)),
        "30000 x 1": Case(encoded("JPEG", Image.new("RGB", (30000, 1))), (1, 30000)),
    }


def _oriented() -> dict[str, Case]:
    found = {}
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        found[f"orientation {orientation}"] = Case(
            encoded("JPEG", exif=exif), (48, 64) if orientation < 5 else (64, 48)
        )
    return found


def _broken() -> dict[str, Case]:
    kinds = ("JPEG", "PNG", "BMP", "TIFF", "PPM", "WEBP")
    truncated = {f"half a {kind.lower()}": encoded(kind)[: len(encoded(kind)) // 2] for kind in kinds}
    others = {
        "png of half its rows that ends properly": sized_png(64, 48, zlib.compress(bytes((3 * 64 + 1) * 24))),
        "nothing": b"",
        "zeros": bytes(10_000),
        "a page": b"<!doctype html><img src=x>",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "animated gif": encoded("GIF", save_all=True, append_images=[Image.new("RGB", (64, 48))]),
        "only a start": b"\xff\xd8\xff",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    }
    broken = frozenset({Code.BROKEN_IMAGE})
    return {
        **{name: Case(data, refusals=broken) for name, data in {**truncated, **others}.items()},
        "a png that is called jpeg": Case(
            encoded("PNG"), refusals=frozenset({Code.CONTENT_MISMATCH}), content_type="image/jpeg"
        ),
    }


def _bombs() -> dict[str, Case]:
    """Small files that say they are large, or become so."""
    zeros = zlib.compress(bytes(64 * 1024 * 1024), 9)
    profile = b"profile\0\0" + zeros
    large = {
        "png of 100 megapixels": sized_png(10_000, 10_000, zlib.compress(bytes(10_000 * 30_001), 9)),
        "png of 4 gigapixels": sized_png(65_000, 65_000, zeros),
        "webp of 268 megapixels": _webp_canvas(16_384, 16_384),
        "tiff of 2.5 gigapixels": _tiff(50_000, 50_000, zeros),
        "bmp of 4 gigapixels": b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 65000, 65000, 1, 24, *[0] * 6),
        "pixmap of 900 megapixels": b"P6\n30000 30000\n255\n",
        "jpeg of 4 gigapixels": sized_jpeg(65_000, 65_000),
    }
    inside = {
        "png with a colour profile of 64 MB": sized_png(64, 48, _rows(64, 48), _chunk(b"iCCP", profile)),
        "png with a text of 64 MB": sized_png(64, 48, _rows(64, 48), _chunk(b"zTXt", b"text\0\0" + zeros)),
        "png with more rows than it says": sized_png(64, 48, zeros),
        "thousands of scans": _many_scans(5000),
        "jpeg of 49 megapixels without them": sized_jpeg(7000, 7000),
    }
    either = frozenset({Code.BROKEN_IMAGE})
    return {
        **{name: Case(data, refusals=frozenset({Code.IMAGE_TOO_LARGE})) for name, data in large.items()},
        **{name: Case(data, (48, 64), either) for name, data in inside.items()},
    }


def _lying() -> dict[str, Case]:
    """Lengths and offsets of gigabytes in headers."""
    png, jpeg, tiff = encoded("PNG"), encoded("JPEG"), encoded("TIFF")
    webp = bytearray(encoded("WEBP"))
    webp[4:8] = b"\xff\xff\xff\xff"
    webp[16:20] = b"\xff\xff\xff\x7f"
    data = {
        "png chunk of 4 GB": png[:33] + struct.pack(">I", 0xFFFFFFFF) + png[37:],
        "tiff directory 4 GB away": tiff[:4] + struct.pack("<I", 0xFFFFFFF0) + tiff[8:],
        "tiff directory that is its own next": _tiff(64, 48, b"", next_directory=8),
        "tiff strip 4 GB away": _tiff(64, 48, zlib.compress(_rows(64, 48)), offset=0xFFFFFFF0),
        "webp chunk of 2 GB": bytes(webp),
        "exif with 4 billion entries": jpeg[:2]
        + _segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 0x112, 3, 0xFFFFFFFF, 1))
        + jpeg[2:],
        "huffman tables of nothing": jpeg.replace(b"\xff\xc4", b"\xff\xc4\0\x02", 1),
        "no width": sized_jpeg(0, 0),
    }
    return {name: Case(each, (48, 64), frozenset({Code.BROKEN_IMAGE})) for name, each in data.items()}


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _rows(width: int, height: int) -> bytes:
    return zlib.compress(bytes((3 * width + 1) * height))


def sized_png(width: int, height: int, body: bytes = b"", before: bytes = b"") -> bytes:
    """A PNG that says it has this size, whatever follows."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + before + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _webp_canvas(width: int, height: int) -> bytes:
    still = encoded("WEBP")[12:]
    canvas = (
        b"VP8X" + struct.pack("<II", 10, 0) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    )
    return b"RIFF" + struct.pack("<I", 4 + len(canvas) + len(still)) + b"WEBP" + canvas + still


def _tiff(width: int, height: int, strip: bytes, offset: int | None = None, next_directory: int = 0) -> bytes:
    """One strip of deflated RGB."""
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 2),
        (273, 4, 1, 138 if offset is None else offset), (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, len(strip)),
        (284, 3, 1, 1),
    ]  # fmt: skip
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", next_directory)
    return head.ljust(138, b"\0") + strip


def sized_jpeg(width: int, height: int) -> bytes:
    """A small JPEG whose frame header was rewritten to another size."""
    data = bytearray(encoded("JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def _many_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    data = encoded("JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


_EXTREMES = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\xff\xff", b"\0\0", b"\xff", b"\0")


@cache
def intact() -> tuple[bytes, ...]:
    """Small pictures of every format and of many of their kinds: what mutations begin with."""
    kinds = ("JPEG", "PNG", "BMP", "TIFF", "PPM", "WEBP")
    return (
        *(encoded(kind) for kind in kinds),
        *(case.data for case in (_odd() | _oriented()).values() if _small(case)),
    )


def _small(case: Case) -> bool:
    return len(case.data) < 20_000


def mutated(dice: random.Random) -> bytes:
    """One of the intact pictures with 1 to 8 faults, most of them near its beginning, where headers are."""
    data = bytearray(dice.choice(intact()))
    for _ in range(dice.randint(1, 8)):
        at = dice.randrange(min(len(data), 200) if dice.random() < 0.6 else len(data)) if data else 0
        length = dice.randint(1, 64)
        match dice.randrange(7):
            case 0:
                data[at : at + 1] = bytes([dice.randrange(256)])
            case 1:
                extreme = dice.choice(_EXTREMES)
                data[at : at + len(extreme)] = extreme
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length] * dice.randint(1, 20)
            case 4:
                data[at:at] = dice.randbytes(length)
            case 5:
                other = dice.choice(intact())
                data[at:] = other[dice.randrange(len(other)) :]
            case _:
                data[at : at + length] = data[at : at + length][::-1]
    return bytes(data[: dice.randrange(len(data))] if data and dice.random() < 0.1 else data)


@dataclass
class Tally:
    """What became of a run. ``slowest_s``: of one picture; ``wrong``: intact pictures that did not come out right."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    wrong: int = 0


def fuzz(decoder: Decoder, count: int, seed: int) -> Iterator[Tally]:
    """Decode ``count`` mutated pictures and after every 20th an intact one; what became of them so far, after each.

    Any other exception than a refusal of the contract is let through.
    """
    dice, tally = random.Random(seed), Tally()
    expected = {data: decode(data, None, LIMITS).pixels for data in intact()}
    for number in range(count):
        started = time.perf_counter()
        try:
            decoder.decode(mutated(dice), None)
            tally.outcomes["pixels"] += 1
        except MienError as error:
            if error.code not in REFUSALS:
                raise
            tally.outcomes[error.code.name] += 1
        tally.slowest_s = max(tally.slowest_s, time.perf_counter() - started)
        if number % 20 == 19:
            data = intact()[number // 20 % len(intact())]
            tally.wrong += not np.array_equal(decoder.decode(data, None).pixels, expected[data])
        yield tally


def resident_mb(process: int | str = "self") -> float:
    """Memory of a process that is its own, without what is shared, in MB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("RssAnon"))) / 1024


def main(count: int, seed: int) -> None:
    children = Children(LIMITS, 1)
    started = time.perf_counter()
    tally, memory = Tally(), {}
    for number, tally in enumerate(fuzz(children, count, seed), 1):  # noqa: B007 (the last one is printed)
        if number in (count // 20, count // 2, count):
            memory[number] = f"{resident_mb():.1f} and {resident_mb(children.processes[0]):.1f} MB after {number}"
    seconds = time.perf_counter() - started
    print(f"{count} mutated pictures, seed {seed}, {seconds:.0f} s, slowest {1000 * tally.slowest_s:.0f} ms")
    print(f"outcomes: {dict(tally.outcomes)}; intact ones that came out wrong: {tally.wrong}")
    print(f"decoders replaced: {GIVEN_UP._value.get():.0f}")
    print("memory of this process and of the decoder:", "; ".join(memory.values()))
    children.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
