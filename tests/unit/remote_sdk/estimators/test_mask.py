"""Masks: photos as they are, mouths that the test covers, warps, and faces side by side."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw

from libs.common.wire.estimations import MASKS, Mask
from libs.common.wire.sdk import SdkParams
from services.remote_sdk.stages.chain import warp_view
from services.remote_sdk.stages.decode import decode, encode_jpeg
from tests.photos import shared
from tests.unit.remote_sdk.estimators.everyone import found_in_all
from tests.unit.remote_sdk.finding import LIMITS, estimated, estimator, look
from tests.unit.remote_sdk.looking import photo

MODEL = "aizoo-mask"
MASKED = "mask/masked_face.jpg"
PORTRAITS = ("face_recognition/misc/two_people.jpg", "compreface/012_4.jpg", "compreface/014_5.jpg")
WHITE, BLACK, RED = (235, 235, 238), (15, 15, 15), (120, 30, 40)


def test_bare_faces_are_bare_and_a_masked_one_is_masked() -> None:
    bare = [each["mask"] for _, found in found_in_all(MODEL) for each in found]
    assert len(bare) == 82
    assert {each.predominant_mask for each in bare} == {"missing"}
    assert min(each.estimations["missing"] for each in bare) > 0.7
    [found] = estimated(shared(MASKED).read_bytes(), MODEL)
    assert found["mask"].predominant_mask == "medical_mask"
    assert found["mask"].estimations["medical_mask"] > 0.95


@pytest.mark.parametrize("colour", [WHITE, BLACK, RED])
def test_a_covered_mouth_is_a_mask(colour: tuple[int, int, int]) -> None:
    found = []
    for path in PORTRAITS:
        pixels = photo(shared(path))
        faces = look(encode_jpeg(pixels), MODEL)
        picture = Pillow.fromarray(pixels)
        for face in faces:
            x, y, width, height = face.rect.x, face.rect.y, face.rect.width, face.rect.height
            cloth = (x - 0.05 * width, y + 0.55 * height, x + 1.05 * width, y + 1.1 * height)
            ImageDraw.Draw(picture).rectangle(cloth, fill=colour)
        hints = [face.rect for face in faces]
        again = look(encode_jpeg(np.asarray(picture)), MODEL, boxes=hints)
    assert found


def test_shares_sum_to_one_in_the_words_of_the_wire() -> None:
    for path in (MASKED, "compreface/016_8.jpg"):
        for each in estimated(shared(path).read_bytes(), MODEL):
            mask: Mask = each["mask"]
            assert list(mask.estimations) == list(MASKS.values())
            assert sum(mask.estimations.values()) == pytest.approx(1, abs=0.001)
