"""Decoding in processes of its own: what comes out, and what happens to a process that fails."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from libs.common.errors import Code, MienError
from services.remote_sdk.decoding.children import CHILD, RUNNING, Children, decoder
from services.remote_sdk.decoding.port import Encoded, Inside
from services.remote_sdk.stages.decode import Limits, Picture, Wish

LIMITS = Limits(size_bytes=4_000_000, pixels=20_000_000)
MISLED = (sys.executable, "-m", "tests.unit.remote_sdk.crashing_child")


def picture(kind: str = "JPEG", width: int = 60, height: int = 40, shade: int = 0, **options: object) -> bytes:
    x, y = np.meshgrid(np.linspace(0, 200, width), np.linspace(20, 240, height))
    stream = io.BytesIO()
    Image.fromarray(np.stack([x, y, np.full_like(x, shade)], axis=2).astype(np.uint8)).save(stream, kind, **options)
    return stream.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return picture(exif=exif)


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    made = Children(LIMITS, 2)
    yield made
    made.close()


@pytest.fixture
def misled() -> Iterator[Children]:
    made = Children(LIMITS, 1, command=MISLED, cpu_s=0.3, wall_s=8.0)
    yield made
    made.close()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_there(process: int) -> bool:
    """Whether it runs: one that ended and that nobody asked about does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("wish", [Wish(), Wish(upright=False, with_exif=True), Wish(long_side=20)])
@pytest.mark.parametrize(
    "data", [*(picture(kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF")), turned(6), turned(3), b"", b"\xff\xd8\xff"]
)
def test_a_process_of_its_own_gives_what_decoding_here_gives(data: bytes, wish: Wish, children: Children) -> None:
    def outcome(of: Children | Inside) -> object:
        try:
            found = of.decode(data, "image/jpeg" if data.startswith(b"\xff") else None, wish)
        except MienError as refusal:
            return refusal.code, refusal.detail
        return found.pixels.tolist(), found.exif, found.reduced

    assert outcome(children) == outcome(Inside(LIMITS))


def test_pixels_stay_what_they_are_for_as_long_as_they_are_kept() -> None:
    one = Children(LIMITS, 1)
    kept = [one.decode(picture("PNG", shade=shade), None).pixels[1:, ::2] for shade in range(0, 250, 50)]
    one.close()
    assert [int(pixels[0, 0, 2]) for pixels in kept] == [0, 50, 100, 150, 200]


def test_more_callers_than_processes_each_get_their_own_picture(children: Children) -> None:
    data = [picture("PNG", shade=shade) for shade in range(100)]
    with ThreadPoolExecutor(8) as callers:
        found = list(callers.map(lambda each: int(children.decode(each, None).pixels[0, 0, 2]), data))
    assert found == list(range(100))


def test_pictures_of_one_call_come_in_order_each_with_its_own_error(children: Children) -> None:
    data = [b"no picture" if shade % 7 == 3 else picture("PNG", shade=shade) for shade in range(50)]
    found = children.decode_all([Encoded(each, None) for each in data])
    for shade, one in enumerate(found):
        if shade % 7 == 3:
            assert isinstance(one, MienError)
            assert one.code is Code.BROKEN_IMAGE
        else:
            assert isinstance(one, Picture)
            assert int(one.pixels[0, 0, 2]) == shade


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"crash", "was ended by SIGSEGV"),
        (b"kill!", "was ended by SIGKILL"),
        (b"leave", "ended with exit code 3"),
        (b"spin!", "took more processor time than a picture may"),
    ],
)
def test_a_picture_that_ends_or_blocks_its_process_costs_only_itself(
    data: bytes, reason: str, misled: Children
) -> None:
    assert_only_given_up(misled, data, reason)


def test_a_picture_whose_process_does_not_answer_costs_only_itself() -> None:
    with closing(Children(LIMITS, 1, command=MISLED, wall_s=2.0)) as impatient:
        assert_only_given_up(impatient, b"sleep", "did not answer for 2 s")


def assert_only_given_up(children: Children, data: bytes, reason: str) -> None:
    """The picture is refused for this reason, its process gone, and the next picture decoded by another one."""
    [first] = children.processes
    with pytest.raises(MienError) as given_up:
        children.decode(data, None)
    assert given_up.value.code is Code.BROKEN_IMAGE
    assert given_up.value.detail == f"the decoder gave this picture up: it {reason}"
    assert children.decode(picture(), None).pixels.shape == (40, 60, 3)
    assert children.processes != [first]
    assert not is_there(first)


def test_a_process_that_was_killed_between_two_pictures_costs_none(misled: Children) -> None:
    [first] = misled.processes
    os.kill(first, signal.SIGKILL)
    until(lambda: not is_there(first))
    assert misled.decode(picture(), None).pixels.shape == (40, 60, 3)


def test_a_process_that_was_killed_over_a_picture_costs_it_nothing_at_the_first_time(
    tmp_path: Path, misled: Children
) -> None:
    begun = tmp_path / "begun"
    [first] = misled.processes
    with ThreadPoolExecutor(1) as caller:
        found = caller.submit(misled.decode, b"once!" + str(begun).encode() + b"\0" + picture(), None)
        until(begun.exists)
        os.kill(first, signal.SIGKILL)
        assert found.result().pixels.shape == (40, 60, 3)


@pytest.mark.parametrize("data", [b"grow!", b"dial!"])
def test_memory_beyond_its_limit_and_sockets_are_refused_to_a_process(data: bytes, misled: Children) -> None:
    process = misled.processes
    with pytest.raises(MienError):
        misled.decode(data, None)
    assert misled.decode(picture(), None).pixels.shape == (40, 60, 3)
    assert misled.processes != process


def test_a_process_is_replaced_after_so_many_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.remote_sdk.decoding.children._PICTURES", 2)
    one = Children(LIMITS, 1)
    used = []
    for _ in range(5):
        assert one.decode(picture(), None).pixels.shape == (40, 60, 3)
        used += one.processes
    one.close()
    assert [used.index(process) for process in used] == [0, 0, 2, 2, 4]


def test_a_process_sees_nothing_of_the_environment_and_survives_what_ends_the_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MIEN_SECRET", "hush")
    one = Children(LIMITS, 1)
    [process] = one.processes
    assert b"hush" not in Path(f"/proc/{process}/environ").read_bytes()
    os.kill(process, signal.SIGTERM)  # to the whole group; the service still drains
    assert one.decode(picture(), None).pixels.shape == (40, 60, 3)
    assert one.processes == [process]
    one.close()
    assert not is_there(process)


def test_a_process_ends_when_the_one_it_decodes_for_is_killed() -> None:
    program = (
        "from services.remote_sdk.decoding.children import Children; from services.remote_sdk.stages.decode import "
        "Limits; c = Children(Limits(1000, 1000), 1); print(*c.processes, flush=True); input()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout
        process = int(parent.stdout.readline())
        assert is_there(process)
        parent.kill()
        parent.wait()
        until(lambda: not is_there(process))


def test_the_memory_of_a_large_picture_is_given_back_with_the_next() -> None:
    def shared_mb() -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("RssShmem"))) / 1024

    large_png = io.BytesIO()
    Image.new("RGB", (5000, 4000), "red").save(large_png, "PNG", compress_level=1)
    one = Children(LIMITS, 1)
    before = shared_mb()
    assert one.decode(large_png.getvalue(), None).pixels.sum()
    large = shared_mb() - before
    one.decode(picture(), None)
    assert large > 55
    assert shared_mb() - before < 35
    one.close()


def test_where_no_process_can_be_had_decoding_happens_here_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    made = decoder(LIMITS, 2)
    assert made.decode(picture(), None).pixels.shape == (40, 60, 3)
    assert "no decoding processes here" in caplog.text
    assert next(iter(RUNNING.collect())).samples[0].value == 0


@pytest.mark.parametrize(("wanted", "reduced"), [(None, 1), (4000, 1), (1000, 2), (999, 2), (500, 4), (10, 8)])
def test_a_jpeg_is_reduced_as_far_as_the_side_that_is_wanted_allows(wanted: int | None, reduced: int) -> None:
    full = Inside(LIMITS).decode(picture(width=2000, height=1201), None).pixels
    found = Inside(LIMITS).decode(picture(width=2000, height=1201), None, Wish(long_side=wanted))
    expected = np.asarray(Image.fromarray(full).reduce(reduced))
    assert found.reduced == reduced
    assert found.pixels.shape == expected.shape
    assert np.abs(found.pixels.astype(int) - expected).mean() < 1.5


def test_what_is_no_jpeg_is_never_reduced() -> None:
    assert Inside(LIMITS).decode(picture("PNG", 2000, 1000), None, Wish(long_side=500)).pixels.shape == (1000, 2000, 3)


def test_a_process_that_dies_at_its_start_is_started_again_a_few_times(tmp_path: Path) -> None:
    """As the kernel kills it where memory is short. No picture was in its hands."""
    deaths = tmp_path / "deaths"
    deaths.touch()
    dying = 'if [ -s "$0" ]; then sed -i 1d "$0"; exit 9; fi; exec "$@"'
    made = Children(LIMITS, 1, command=("sh", "-c", dying, str(deaths), *CHILD))
    try:
        for lines in (2, 3):
            [process] = made.processes
            os.kill(process, signal.SIGKILL)
            until(lambda process=process: not is_there(process))
            deaths.write_text("dies\n" * lines)
            if lines == 3:
                with pytest.raises(MienError, match="did not start: it ended with exit code 9") as failed:
                    made.decode(picture(), None)
                assert failed.value.code is Code.ENGINE_FAILED
            assert made.decode(picture(), None).pixels.shape == (40, 60, 3)
    finally:
        made.close()
