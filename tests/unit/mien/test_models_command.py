"""``mien models``: what it shows, adds, removes and verifies, and how it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mien.models import group
from tests.photos import shared
from tests.unit.remote_sdk.models import describe

NETWORK = {
    "networks.main": 'files = ["own.onnx"]\ninputs.x = { width = 8, height = 8 }',
    "networks.main.outputs": 'y = "of the test"',
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models folder of the commands; it does not exist yet."""
    monkeypatch.setenv("MIEN_MODELS_DIR", str(tmp_path / "models"))
    return tmp_path / "models"


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(group, [str(each) for each in arguments])
    assert result.exit_code == code, result.output
    return result


def test_the_list_tells_state_licence_and_warnings_of_every_model(folder: Path) -> None:
    models = {each["name"]: each for each in json.loads(run("list", "--json").stdout)}
    assert models["dlib-resnet"]["state"] == models["dlib-sp5"]["state"] == "in use"
    assert models["yunet"]["state"] == "not installed: mien models add yunet"
    assert not models["yunet"]["installed"]
    assert any("withdrawn" in warning for warning in models["mobilefacenet"]["warnings"])
    assert all(model["licence"] for model in models.values())
    assert "in use" in run("list").stdout


def test_a_model_is_added_from_a_folder_used_verified_and_removed(folder: Path) -> None:
    weights = shared("../models/yunet")
    assert run("add", "yunet", weights).stdout.startswith("yunet is in")
    slots = {each["name"]: each for each in json.loads(run("--json").stdout)}
    assert slots["face_detection"]["model"] == "yunet"
    [verdict] = json.loads(run("verify", "yunet", "--json").stdout)
    assert verdict["good"]
    (folder / "yunet" / "yunet_n_dynamic.onnx").write_bytes(b"damaged")
    assert "BAD" in run("verify", "yunet", code=1).stdout
    run("remove", "yunet")
    assert not folder.exists() or not list(folder.rglob("*.onnx"))


def test_every_known_model_of_a_folder_is_added_at_once(folder: Path, tmp_path: Path) -> None:
    source = shared("../models")
    usb = tmp_path / "usb"
    (usb / "yunet").mkdir(parents=True)
    (usb / "yunet" / "yunet_n_dynamic.onnx").write_bytes((source / "yunet" / "yunet_n_dynamic.onnx").read_bytes())
    assert "yunet is in" in run("add", usb).stdout


def test_a_model_of_ones_own_fills_its_slot_by_its_manifest(folder: Path, tmp_path: Path) -> None:
    describe(tmp_path / "made", "ours", "emotions", "emotions", b"weights", **NETWORK)
    run("add", tmp_path / "made")
    slots = {each["name"]: each for each in json.loads(run("--json").stdout)}
    assert slots["emotions"]["model"] == "ours"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("add", "no-such-thing"), 2, "no model of the list"),
        (("add", "dlib-mmod"), 3, "which pip handles"),
        (("add", "minifasnet"), 3, "add it from a folder"),
        (("add", "yunet", "."), 3, "has neither"),
        (("remove", "no-such-thing"), 3, "no model is named"),
        (("verify", "yunet", "nothing"), 3, "no model is named nothing"),
        (("add", "http://127.0.0.1:1/manifest.toml"), 3, "without the web"),
    ],
)
def test_every_refusal_is_one_clear_line_and_a_code(
    folder: Path, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    result = run(*arguments, code=code)
    line = " ".join((result.stderr + capfd.readouterr().err).split())
    assert line.startswith("mien: ")
    assert said in line
