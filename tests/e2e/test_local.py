"""``make demo MODE=scaled`` and ``make local``: they run on this machine and leave nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.running import ROOT

LOCAL = [sys.executable, "-m", "deploy.local", "--s3", "moto", "--copies", "1"]


@pytest.mark.timeout(600)
def test_the_demo_recognises_everybody_on_the_scaled_out_suite_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    demo = [sys.executable, "-m", "mien", "demo", "--out", tmp_path / "demo"]
    done = subprocess.run(
        [*LOCAL, "--", *demo], cwd=ROOT, env=with_scratch(scratch), capture_output=True, text=True, check=False
    )
    skip_if_something_is_not_installed(done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "21 photos: 21 right" in done.stdout
    assert (tmp_path / "demo" / "contact-sheet.png").stat().st_size > 100_000
    assert (processes_that_name(scratch), list(scratch.iterdir())) == ([], [])


def test_told_to_end_while_it_starts_it_leaves_nothing_behind(tmp_path: Path) -> None:
    with subprocess.Popen(LOCAL, cwd=ROOT, env=with_scratch(tmp_path), stderr=subprocess.PIPE, text=True) as local:
        deadline = time.monotonic() + 60
        while len(processes_that_name(tmp_path)) < 4:  # itself, and servers
            assert time.monotonic() < deadline
            if local.poll() is not None:
                assert local.stderr
                skip_if_something_is_not_installed(local.stderr.read())
            time.sleep(0.1)
        local.send_signal(signal.SIGTERM)
        assert local.wait(120) == 0
    assert (processes_that_name(tmp_path), list(tmp_path.iterdir())) == ([], [])


def with_scratch(folder: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder)}


def skip_if_something_is_not_installed(said: str) -> None:
    if "did not start: " in said and "apt-get install" in said:
        pytest.skip(said.strip().rsplit("did not start: ", 1)[1])


def processes_that_name(folder: Path) -> list[str]:
    """Command lines of running processes that were told of a folder, in a word or in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:
            continue
        if int(process.name) != os.getpid() and any(str(folder).encode() in text for text in told):
            found.append(told[0].replace(b"\0", b" ").decode(errors="replace"))
    return found
