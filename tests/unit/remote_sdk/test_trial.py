"""Manifests of one's own that say something else than their networks do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from libs.common import descriptors
from libs.common.errors import Code, MienError
from libs.common.settings import SdkSettings
from services.remote_sdk.loading import catalogue_of, open_models
from tests.unit.remote_sdk.models import always, describe

SIDE = 32
ROWS = np.zeros((1, 5, 7), np.float32)
LEVELS = {"s8": (32, 1), "b8": (32, 4), "s16": (8, 1), "b16": (8, 4), "s32": (2, 1), "b32": (2, 4)}
LEVELS_TOML = 'scores = ["s8", "s16", "s32"]\nboxes = ["b8", "b16", "b32"]\n'


@pytest.fixture(autouse=True)
def no_other_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "VERSIONS", dict(descriptors.VERSIONS))


def start(folder: Path, kind: str, slot: str, outputs: dict[str, np.ndarray], side: str = "", **tables: str) -> None:
    """Open an operator's model whose outputs are always the same, with everything else that a start opens."""
    weights = always(outputs, SIDE)
    sides = side or f"width = {SIDE}, height = {SIDE}"
    tables["networks.main"] = f'files = ["own.onnx"]\ninputs.x = {{ {sides} }}'
    tables["networks.main.outputs"] = "\n".join(f'{name} = "of the test"' for name in outputs)
    describe(folder / "own", "own", kind, slot, weights, **tables)
    settings = SdkSettings(models_dir=folder, device="cpu", face_version=7001 if slot == "face_descriptor" else None)
    open_models(settings, catalogue_of(settings), 1)


def levels() -> dict[str, np.ndarray]:
    return {name: np.zeros(shape, np.float32) for name, shape in LEVELS.items()}


def described(length: int) -> str:
    return f"version = 7001\nlength = {length}\nmidpoint = 0.8\nslope = 12.0"


def test_what_a_manifest_says_rightly_is_opened(tmp_path: Path) -> None:
    start(tmp_path / "a", "scrfd", "face_detection", levels(), options=LEVELS_TOML)
    start(tmp_path / "b", "yolo", "body_detection", {"y": ROWS}, options='form = "v5"\nclasses = ["person", "b"]')
    start(tmp_path / "c", "arcface", "face_descriptor", {"y": np.ones((1, 16), np.float32)}, descriptor=described(16))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (LEVELS_TOML + "anchors = 3", "does not run as its manifest says: "),
        (LEVELS_TOML + "strides = [8, 16, 64]", "does not run as its manifest says: "),
        (LEVELS_TOML.replace("s32", "s99"), "does not run as its manifest says: 's99'"),
        (LEVELS_TOML + "threshhold = 0.4", r"kind scrfd has no options\.threshhold; it has .*threshold"),
        ("", "name one output per stride"),
    ],
)
def test_a_detector_that_is_described_wrongly_is_a_refusal_to_start(tmp_path: Path, options: str, said: str) -> None:
    with pytest.raises(MienError, match=f"cannot start: model own.*{said}") as refused:
        start(tmp_path, "scrfd", "face_detection", levels(), options=options)
    assert refused.value.code is Code.ENGINE_FAILED


def test_a_detector_of_pictures_that_are_not_square_is_a_refusal_to_start(tmp_path: Path) -> None:
    sides = f"width = {SIDE}, height = {SIDE // 2}"
    with pytest.raises(MienError, match="kind scrfd takes square pictures, or any size"):
        start(tmp_path, "scrfd", "face_detection", levels(), sides, options=LEVELS_TOML)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ('form = "v5"\nclasses = ["person", "b", "c"]', "does not run as its manifest says: "),
        ('form = "v8"\nclasses = ["person"]\npoints = 17', "options.points is 0 or 5"),
        ('classes = 80\nwanted = ["person"]', "options.classes is no list"),
    ],
)
def test_classes_and_points_that_are_not_there_are_a_refusal_to_start(tmp_path: Path, options: str, said: str) -> None:
    with pytest.raises(MienError, match=f"cannot start: model own.*{said}"):
        start(tmp_path, "yolo", "body_detection", {"y": ROWS}, options=options)


def test_a_descriptor_of_another_length_is_a_refusal_to_start(tmp_path: Path) -> None:
    with pytest.raises(MienError, match=r"model own.*gives 16 values, its manifest says 512"):
        start(tmp_path, "arcface", "face_descriptor", {"y": np.ones((1, 16), np.float32)}, descriptor=described(512))


def test_what_an_engine_says_becomes_one_line_about_the_model(tmp_path: Path) -> None:
    sides = f"width = {SIDE * 2}, height = {SIDE * 2}"
    outputs = {"y": np.ones((1, 16), np.float32)}
    with pytest.raises(MienError, match=r"model own does not run as its manifest says: .*32.*64") as refused:
        start(tmp_path, "arcface", "face_descriptor", outputs, sides, descriptor=described(16))
    assert "\n" not in refused.value.detail


def test_a_descriptor_that_is_no_number_is_a_refusal_to_start(tmp_path: Path) -> None:
    outputs = {"y": np.full((1, 16), np.nan, np.float32)}
    with pytest.raises(MienError, match="model own does not run as its manifest says: some of its values are no"):
        start(tmp_path, "arcface", "face_descriptor", outputs, descriptor=described(16))
