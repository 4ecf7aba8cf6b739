"""``make demo``, start to finish, in processes of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from tests import photos
from tests.running import ROOT, RunningSuite


class Demo:
    """Runs the demo with a scratch folder that can be looked into afterwards."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "out"
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100", "TMPDIR": str(self.scratch)}

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-u", "-m", "mien", "demo", "--out", str(self.out), *map(str, arguments)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=pipe, stderr=pipe, text=True)

    def run(self, *arguments: object) -> tuple[int, str, str]:
        with self.start(*arguments) as process:
            said, complained = process.communicate(timeout=280)
        return process.returncode, said, complained

    def left_nothing_behind(self, said: str) -> bool:
        """The platform it announced is gone, and so is its data."""
        address = urlsplit(re.findall(r"Ready at (http://\S+)", said)[0])
        with socket.socket() as probe:
            gone = probe.connect_ex((address.hostname, address.port)) != 0
        return gone and not list(self.scratch.iterdir())


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    return Demo(tmp_path)


def test_the_demo_recognises_everybody_draws_it_and_cleans_up(demo: Demo) -> None:
    code, said, complained = demo.run()
    assert code == 0, said + complained
    assert "21 photos: 21 right;" in said
    sheet = demo.out.resolve() / "contact-sheet.png"
    assert f"Contact sheet: {sheet}" in said
    with Image.open(sheet) as picture:
        assert picture.format == "PNG"
    assert demo.left_nothing_behind(said)


def test_photos_of_ones_own_are_split_and_recognised(demo: Demo, embedded_suite: RunningSuite) -> None:
    folder = photos.shared("face_recognition/train")
    code, said, complained = demo.run("--photos", folder, "--url", embedded_suite.url)
    assert code == 0, said + complained
    assert "5 photos: 5 right;" in said


def test_somebody_confused_is_an_exit_code(demo: Demo, embedded_suite: RunningSuite, tmp_path: Path) -> None:
    """The second person's second photo shows the first."""
    album = {
        "Collins": (photos.astronaut_jpeg(), photos.nobody_jpeg()),
        "Hopper": (photos.grace_hopper_jpeg(), photos.astronaut_jpeg()),
    }
    for person, pictures in album.items():
        (tmp_path / "album" / person).mkdir(parents=True)
        for number, picture in enumerate(pictures):
            (tmp_path / "album" / person / f"{number}.jpg").write_bytes(picture)
    code, said, _ = demo.run("--photos", tmp_path / "album", "--url", embedded_suite.url)
    assert code == 1, said
    assert "1 missed, 1 wrong" in said


def test_a_demo_that_is_told_to_end_ends_its_platform_too(demo: Demo) -> None:
    with demo.start() as process:
        assert process.stdout is not None
        said = process.stdout.readline() + process.stdout.readline()
        assert "Ready at" in said
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert demo.left_nothing_behind(said)


def test_a_folder_without_people_is_said_before_anything_starts(demo: Demo, tmp_path: Path) -> None:
    code, said, complained = demo.run("--photos", tmp_path / "out")
    assert (code, said) == (2, "")
    assert "no such folder" in complained
