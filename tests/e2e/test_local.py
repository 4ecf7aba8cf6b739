"""``make demo MODE=scaled`` and ``make local``: they run on this machine and leave nothing behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from libs.client import BlockingMienClient
from libs.common.ids import new_id
from tests.running import ROOT


@pytest.mark.timeout(600)
def test_the_demo_recognises_everybody_on_the_scaled_out_suite_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploy.local", "--s3", "moto", "--copies", "1", "--folder", tmp_path, "--"]
    demo = [sys.executable, "-m", "mien", "demo", "--out", tmp_path / "demo"]
    done = subprocess.run([*command, *demo], cwd=ROOT, capture_output=True, text=True, check=False)
    skip_if_something_is_not_installed(done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "21 photos: 21 right" in done.stdout
    assert (tmp_path / "demo" / "contact-sheet.png").stat().st_size > 100_000
    assert processes_that_name(tmp_path) == []


@pytest.mark.timeout(600)
def test_it_says_where_it_listens_and_ends_when_told_to(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploy.local", "--s3", "moto", "--copies", "1", "--json"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as local:
        assert local.stdout
        assert local.stderr
        line = local.stdout.readline()
        if not line:
            skip_if_something_is_not_installed(local.stderr.read())
        with BlockingMienClient(orjson.loads(line)["gateway"], account=new_id()) as client:
            assert client.lists.get(client.lists.create("staff")).user_data == "staff"
        local.send_signal(signal.SIGTERM)
        assert local.wait(120) == 0, local.stderr.read()
    assert processes_that_name(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


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
