"""Second models of a slot: how they are chosen, and what they are worth; and what is said where none is installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from libs.common.errors import Code, MienError
from libs.common.settings import SdkSettings
from libs.common.wire.sdk import SdkParams
from services.remote_sdk.loading import catalogue_of
from tests.photos import shared
from tests.unit.remote_sdk.estimators.views import face, found, warp_of
from tests.unit.remote_sdk.models import FOLDER, library

WOMEN = ("rose_leslie",)
TRAIN = "face_recognition/train"


def people() -> list[tuple[str, str]]:
    """Path and name, of people known by name, alone in their photos."""
    files = sorted(shared(TRAIN).rglob("*.jp*g"))
    return [(f"{TRAIN}/{path.parent.name}/{path.name}", path.parent.name) for path in files]


def test_dlib_tells_sex_and_nothing_of_age_in_photos_and_in_warps() -> None:
    assert len(people()) >= 9
    for path, name in people():
        view = face(path)
        for each in (view, warp_of(view)):
            basic = found("dlib-gender", each)["basic_attributes"]
            assert (basic.gender, basic.age, basic.ethnicities) == (int(name not in WOMEN), None, None), path


SMILES = (
    "train/obama/obama.jpg",
    "train/biden/biden2.jpg",
    "train/alex_lacamoire/img1.jpg",
    "test/alex_lacamoire1.jpg",
)
SERIOUS = ("biden/biden.jpg", "rose_leslie/img1.jpg", "kit_harington/john1.jpeg", "kit_harington/john2.jpeg")


def test_mini_xception_tells_smiles_from_serious_faces() -> None:
    def words(paths: Sequence[str]) -> list[str]:
        views = [face(f"face_recognition/{path}") for path in paths]
        return [found("mini-xception", view)["emotions"].predominant_emotion for view in views]

    assert words(SMILES) == ["happiness"] * 4
    serious = words([f"train/{path}" for path in SERIOUS])
    assert "happiness" not in serious
    assert serious.count("neutral") >= 3, "a stern one is taken for angry, as the manifest warns"


@pytest.mark.parametrize(
    ("slot", "usual", "other"),
    [("basic_attributes", "face-api-age-gender", "dlib-gender"), ("emotions", "face-api-expression", "mini-xception")],
)
def test_one_model_fills_a_slot_and_the_preferred_one_before_all(slot: str, usual: str, other: str) -> None:
    library()
    for prefer, name in (([], usual), ([other], other)):
        catalogue = catalogue_of(SdkSettings(models_dir=FOLDER, prefer=prefer, allow=["emotion"]))
        assert catalogue.chosen[slot].name == name
        assert {usual, other} & catalogue.used == {name}, "the other one is not even opened"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"estimate_mask": 1}, "estimate_mask: .*AIZOO FaceMaskDetection \\(MIT\\): mien models add aizoo-mask DIR"),
        ({"mask_states": [1]}, "mask_states: .*mien models add aizoo-mask DIR"),
        ({"estimate_liveness": 1}, "estimate_liveness: .*\\(Apache-2.0\\): mien models add minifasnet DIR"),
        ({"liveness_states": [1]}, "liveness_states: .*mien models add minifasnet DIR"),
        ({"estimate_glasses": 1}, "estimate_glasses: .*mien models add glasses-mobilenetv3"),
        ({"estimate_basic_attributes": 1}, "dlib gender classifier \\(CC0-1.0\\): mien models add dlib-gender DIR"),
        ({"estimate_emotions": 1}, "mini-Xception emotion classifier \\(MIT\\): mien models add mini-xception DIR"),
    ],
)
def test_without_its_model_an_estimation_names_what_to_install(
    tmp_path: Path, asked: dict[str, int | list[int]], said: str
) -> None:
    catalogue = catalogue_of(SdkSettings(models_dir=tmp_path, allow=["emotion"]))
    with pytest.raises(MienError, match=said) as missing:
        catalogue.require(SdkParams.model_validate(asked))
    assert missing.value.code is Code.ESTIMATOR_MISSING
