"""Glasses: labelled photos, turned heads, warps, dark lenses; and what runs their network."""

from __future__ import annotations

import pytest
from PIL import Image as Pillow

from libs.common.errors import MienError
from libs.common.settings import SdkSettings
from libs.common.wire.sdk import SdkParams
from services.remote_sdk.loading import catalogue_of
from services.remote_sdk.stages.view import FaceView
from tests.photos import shared
from tests.unit.remote_sdk.estimators.views import everyone, face, found, seen_again, warp_of
from tests.unit.remote_sdk.models import FOLDER, library

MODEL = "glasses-mobilenetv3"
WEARERS = {"000_5": 1, "009_C": 1, "012_4": 1, "013_4": 1, "014_5": 1, "015_6": 1, "016_8": 3}
"""How many of CompreFace's people wear some, by photo."""


def glasses(view: FaceView) -> str:
    return found(MODEL, view)["glasses"].glasses


def worn(view: FaceView) -> bool:
    return glasses(view) != "no_glasses"


def labelled() -> list[tuple[FaceView, bool]]:
    paths = sorted(shared("glasses").iterdir())
    return [(face(f"glasses/{path.name}"), path.name.startswith("with_")) for path in paths]


def test_the_photos_that_upstream_labelled_are_all_told_right_also_when_turned() -> None:
    people = labelled()
    assert len(people) == 12
    for view, wears in people:
        assert worn(view) == wears
        photo = Pillow.fromarray(view.pixels)
        for angle in (-20, 20):
            assert worn(seen_again(photo.rotate(angle, Pillow.Resampling.BICUBIC))) == wears


def test_warps_tell_it_too() -> None:
    assert sum(worn(warp_of(view)) == wears for view, wears in labelled()) >= 11, "one is blurred and in the dark"


def test_wearers_are_told_from_the_others_in_groups_and_portraits() -> None:
    wrong, faces = 0, 0
    for path, people in everyone():
        if path.startswith("glasses/"):
            continue
        wearers = WEARERS.get(path.removeprefix("compreface/").removesuffix(".jpg"), 0)
        wrong += abs(sum(worn(view) for view in people) - wearers)
        faces += len(people)
    assert faces >= 69
    assert wrong <= 2, "a squinting one, and one in the dark"


def test_only_dark_lenses_are_sunglasses() -> None:
    words = [(path, glasses(view)) for path, people in everyone() for view in people]
    assert [path for path, word in words if word == "sunglasses"] == ["compreface/000_5.jpg"]
    assert sum(word == "eyeglasses" for _, word in words) >= 14


def test_onnx_runtime_does_not_read_their_network_and_the_slot_says_what_does() -> None:
    library()
    catalogue = catalogue_of(SdkSettings(models_dir=FOLDER, engine="onnxruntime"))
    assert "mask" in catalogue.chosen
    with pytest.raises(MienError, match=r"fp16_model\.tflite: only OpenVINO does; pip install 'mien\[openvino\]'"):
        catalogue.require(SdkParams(estimate_glasses=1))
