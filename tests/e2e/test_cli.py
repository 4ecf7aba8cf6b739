"""The command line against a running platform, as somebody types it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from PIL import Image

from libs.common.ids import new_id
from tests import photos
from tests.running import ROOT, RunningSuite


class Terminal:
    def __init__(self, url: str) -> None:
        self._environment = {**os.environ, "MIEN_URL": url, "MIEN_ACCOUNT": new_id(), "COLUMNS": "120"}

    def run(self, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mien", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=ROOT, env=self._environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def json(self, *arguments: object, code: int = 0) -> Any:
        return orjson.loads(self.run(*arguments, "--json", code=code).stdout)


@pytest.fixture
def terminal(suite: RunningSuite) -> Terminal:
    return Terminal(suite.url)


@pytest.fixture
def embedded(embedded_suite: RunningSuite) -> Terminal:
    """For what has nothing to do with how the platform runs."""
    return Terminal(embedded_suite.url)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Two people; one of them also in a photo with the other, and in one without anybody."""
    album = tmp_path / "album"
    for person in ("Eileen Collins", "Grace Hopper"):
        (album / person).mkdir(parents=True)
    (album / "Eileen Collins" / "portrait.jpg").write_bytes(photos.astronaut_jpeg())
    (album / "Grace Hopper" / "portrait.jpg").write_bytes(photos.grace_hopper_jpeg())
    (album / "Grace Hopper" / "same.jpg").write_bytes(photos.grace_hopper_jpeg())
    (album / "Grace Hopper" / "together.jpg").write_bytes(_together())
    (album / "Grace Hopper" / "coffee.jpg").write_bytes(photos.nobody_jpeg())
    return album


def _together() -> bytes:
    both = Image.new("RGB", (1024, 600))
    for position, portrait in enumerate((photos.astronaut_jpeg(), photos.grace_hopper_jpeg())):
        both.paste(Image.open(io.BytesIO(portrait)), (512 * position, 0))
    encoded = io.BytesIO()
    both.save(encoded, "JPEG", quality=95)
    return encoded.getvalue()


def test_people_are_enrolled_once_and_then_recognised(terminal: Terminal, album: Path, tmp_path: Path) -> None:
    first = {Path(one["photo"]).name: one for one in terminal.json("enroll", album, code=1) if not one["already"]}
    assert first["together.jpg"]["reason"] == "several faces are visible, one is needed"
    assert first["coffee.jpg"]["reason"] == "no face was found"
    second = terminal.json("enroll", album, code=1)
    assert sorted(Path(one["photo"]).name for one in second if one["already"]) == [
        "portrait.jpg",
        "portrait.jpg",
        "same.jpg",
    ]
    assert len({one["face_id"] for one in second if one["face_id"]}) == 2

    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    sightings = terminal.json("emit", album / "Grace Hopper" / "together.jpg", album, broken, code=1)
    assert len(sightings) == 7
    together, failed = sightings[0], sightings[-1]
    assert sorted(face["person"] for face in together["faces"]) == ["Eileen Collins", "Grace Hopper"]
    assert all(face["similarity"] > 0.9 for face in together["faces"])
    assert failed["faces"] == []
    assert "none of image/jpeg" in failed["error"]

    shown = terminal.run("emit", album / "Grace Hopper")
    assert "Grace Hopper" in shown.stdout
    assert "4 photos: 4 faces, 4 known and 0 unknown; 0 photos failed" in shown.stdout


def test_a_stranger_is_unknown_and_an_empty_list_is_pointed_out(terminal: Terminal, album: Path) -> None:
    shown = terminal.run("emit", album / "Eileen Collins", "--list", "visitors")
    assert "unknown" in shown.stdout
    assert "nobody is on the list 'visitors' yet" in shown.stderr


def test_a_photo_enrolled_under_another_name_is_reported(terminal: Terminal, album: Path) -> None:
    terminal.run("enroll", album, code=1)
    (album / "Grace Hopper").rename(album / "Somebody Else")
    renamed = {Path(one["photo"]).name: one for one in terminal.json("enroll", album, code=1)}
    assert renamed["same.jpg"]["reason"] == "the same photo is enrolled as 'Grace Hopper'"


def test_every_failure_is_one_clear_line_and_a_code_of_its_own(embedded: Terminal, album: Path) -> None:
    photo, nobody = album / "Eileen Collins" / "portrait.jpg", new_id()
    for arguments, code, said in (
        (("emit", photo, "--url", "http://127.0.0.1:1"), 4, "http://127.0.0.1:1 does not answer"),
        (("emit", photo, "--handler", nobody), 3, f"handler {nobody} was not found"),
        (("emit", photo, "--list", nobody), 3, f"list {nobody} was not found"),
        (("emit", photo, "--account", "me"), 2, "account 'me' is not a UUID"),
        (("emit", album / "nowhere"), 2, "no such file or folder"),
        (("enroll", photo.parent), 2, "one folder per person is expected"),
    ):
        line = embedded.run(*arguments, code=code).stderr
        assert said in line
        assert line.startswith("mien: ")
        assert line.count("\n") == 1


def test_models_says_what_is_installed_and_what_is_missing(embedded: Terminal) -> None:
    slots = {slot["name"]: slot for slot in embedded.json("models")}
    assert slots["face_descriptor"]["available"]
    assert slots["face_descriptor"]["licence"] == "CC0-1.0"
    assert "dlib-resnet" in embedded.run("models").stdout


def test_a_setting_that_makes_no_sense_is_refused_before_anything_starts(tmp_path: Path) -> None:
    environment = {**os.environ, "MIEN_PORT": "banana", "MIEN_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "mien", "up"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("mien: settings: MIEN_PORT: Input should be a valid integer")
