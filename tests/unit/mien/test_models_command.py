"""``mien models``: what it shows, adds, removes and verifies, and how it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from mien.models import group
from tests.photos import shared
from tests.unit.remote_sdk.models import always, describe


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
    assert models["yunet"]["state"] == "available: mien models add yunet"
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


def test_of_a_folder_every_model_is_added_but_those_that_are_damaged(folder: Path, tmp_path: Path) -> None:
    usb = tmp_path / "usb"
    for name in ("yunet", "ultraface"):
        shutil.copytree(shared("../models") / name, usb / name)
    (usb / "ultraface" / "version-RFB-320.onnx").write_bytes(b"damaged")
    made(usb / "made", "ours", "yolo", "body_detection")
    done = run("add", usb, code=1)
    assert "model ultraface-320 at" in " ".join(done.stderr.split())
    assert "from the next start on: face_detection by yunet, landmarks5 by yunet, body_detection by ours" in done.stdout
    models = {each["name"]: each for each in json.loads(run("list", "--json").stdout)}
    assert [models[name]["installed"] for name in ("yunet", "ultraface-640", "ours", "ultraface-320")] == [1, 1, 1, 0]
    assert "expected 1270727" in run("add", "ultraface-320", usb, code=3).stderr


def made(place: Path, name: str, kind: str, slot: str, side: int = 32, word: str = "person") -> Path:
    """A folder with an operator's model that finds nothing, of pictures of 32 pixels."""
    weights = always({"y": np.zeros((1, 6, 7), np.float32)}, 32)
    described = {
        "networks.main": f'files = ["own.onnx"]\ninputs.x = {{ width = {side}, height = {side} }}',
        "networks.main.outputs": 'y = "of the test"',
        "options": f'classes = ["{word}", "other"]',
    }
    return describe(place, name, kind, slot, weights, **described)


def test_a_model_of_ones_own_fills_its_slot_by_its_manifest_until_it_is_removed(folder: Path, tmp_path: Path) -> None:
    ours = made(tmp_path / "made", "ours", "yolo", "body_detection")
    assert "from the next start on: body_detection by ours" in run("add", ours).stdout
    assert "from the next start on" not in run("add", ours).stdout
    slots = {each["name"]: each for each in json.loads(run("--json").stdout)}
    assert slots["body_detection"]["model"] == "ours"
    assert "from the next start on: body_detection by no model" in run("remove", "ours").stdout
    assert not list(folder.rglob("*.*"))


@pytest.mark.parametrize(
    ("kind", "slot", "side", "said"),
    [
        ("yolo", "body_detection", 64, "model ours does not run as its manifest says"),
        ("yolo", "mask", 32, "kind yolo does not fill the slot mask"),
        ("arcface", "body_detection", 32, "kind arcface does not fill the slot body_detection"),
    ],
)
def test_a_model_that_would_let_nothing_start_is_not_kept(
    folder: Path, tmp_path: Path, kind: str, slot: str, side: int, said: str
) -> None:
    ours = made(tmp_path / "made", "ours", kind, slot, side)
    assert said in " ".join(run("add", ours, code=3).stderr.split())
    assert not list(folder.rglob("*.*"))
    shutil.copytree(ours, folder / "ours")  # one that lies there already is the operator's to take away
    run("add", folder / "ours", code=3)
    assert (folder / "ours" / "manifest.toml").is_file()


def test_what_an_added_model_waits_for_is_said(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    added = run("add", made(tmp_path / "made", "ours", "from-tomorrow", "body_detection"))
    assert "ours: not usable: this release does not run kind from-tomorrow" in " ".join(added.stdout.split())
    run("remove", "ours")
    monkeypatch.setenv("MIEN_SDK_PREFER", "yunet")
    run("add", "yunet", shared("../models"))
    removed = run("remove", "yunet")
    assert "nothing starts with that: remote_sdk cannot start: model yunet is preferred" in removed.stderr


def test_names_are_whole_in_a_narrow_terminal_and_a_folder_that_is_not_there_is_pointed_out(folder: Path) -> None:
    shown = run("list").stdout
    names = [each["name"] for each in json.loads(run("list", "--json").stdout)]
    assert max(map(len, names)) > 40
    assert all(f"{name} " in shown for name in names)
    assert shown.rstrip().endswith(f"{folder} (MIEN_MODELS_DIR), which is not there")


def test_what_nothing_here_runs_is_called_intact_and_neither_good_nor_bad(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_SDK_ENGINE", "onnxruntime")
    for name in ("dlib-vehicles-rear", "open-closed-eye-0001"):
        run("add", name, shared("../models"))
    said = run("verify", "dlib-vehicles-rear", "open-closed-eye-0001").stdout
    assert "dlib-vehicles-rear: not run, files intact; this release does not run kind dlib-vehicles" in said
    assert "open-closed-eye-0001: not run, files intact; model open-closed-eye-0001: nothing here runs" in said
    (folder / "dlib_vehicles" / "mmod_rear_end_vehicle_detector.dat.bz2").write_bytes(b"damaged")
    assert "BAD" in run("verify", "dlib-vehicles-rear", code=1).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("add", "no-such-thing"), 2, "no model of the list"),
        (("add", "dlib-mmod"), 3, "which pip handles"),
        (("add", "minifasnet"), 3, "add it from a folder"),
        (("add", "yunet", "."), 3, "has neither"),
        (("remove", "no-such-thing"), 3, "no model is named"),
        (("verify", "yunet", "nothing"), 3, "no model is named nothing"),
        (("add", "http://127.0.0.1:1/manifest.toml"), 3, "only addresses with https:// are fetched"),
        (("add", "https://127.0.0.1:1/manifest.toml"), 3, "without the web"),
        (("add", "docs"), 2, "no folder with models"),
    ],
)
def test_every_refusal_is_one_clear_line_and_a_code(
    folder: Path, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    result = run(*arguments, code=code)
    line = " ".join((result.stderr + capfd.readouterr().err).split())
    assert line.startswith("mien: ")
    assert said in line
