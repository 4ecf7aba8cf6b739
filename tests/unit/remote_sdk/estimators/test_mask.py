"""Masks: faces as they are, mouths that the test covers, warps, and faces side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw

from libs.common.wire.estimations import MASKS, Mask
from services.remote_sdk.stages.chain import warp_view
from services.remote_sdk.stages.decode import Picture
from services.remote_sdk.stages.view import FaceView
from tests.photos import shared
from tests.unit.remote_sdk.estimators.views import everyone, face, found, seen_in, views, warp_of

MODEL = "aizoo-mask"
MASKED = "mask/masked_face.jpg"
COLOURS = {"white": (235, 235, 238), "black": (15, 15, 15), "red": (120, 30, 40)}


def mask(view: FaceView) -> Mask:
    return found(MODEL, view)["mask"]


def covered(view: FaceView, colour: tuple[int, int, int]) -> FaceView:
    """With a cloth before mouth and nose."""
    picture, box = Pillow.fromarray(view.pixels), view.box
    wide, high = 0.05 * box.width, 0.1 * box.height
    cloth = (box.left - wide, box.top + 0.55 * box.height, box.right + wide, box.bottom + high)
    ImageDraw.Draw(picture).rectangle(cloth, fill=colour)
    return replace(view, picture=Picture(np.asarray(picture)))


def test_bare_faces_are_bare_and_a_masked_one_is_masked() -> None:
    bare = [mask(view) for _, people in everyone() for view in people]
    assert len(bare) >= 82
    assert {each.predominant_mask for each in bare} == {"missing"}
    assert min(each.estimations["missing"] for each in bare) > 0.7
    masked = mask(face(MASKED))
    assert masked.predominant_mask == "medical_mask"
    assert masked.estimations["medical_mask"] > 0.95


@pytest.mark.parametrize("colour", COLOURS)
def test_whatever_covers_mouth_and_nose_is_a_mask(colour: str) -> None:
    people = [view for _, several in everyone() for view in several if view.box.width > 60]
    masked = [mask(covered(view, COLOURS[colour])).predominant_mask == "medical_mask" for view in people]
    assert len(masked) >= 55
    assert np.mean(masked) > 0.95


def test_where_no_face_can_be_seen_it_is_occluded() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (250, 250, 3), dtype=np.uint8)
    for pixels in (noise, np.full((250, 250, 3), 128, np.uint8)):
        assert mask(warp_view(pixels)).predominant_mask == "occluded"


def test_shares_sum_to_one_in_the_words_of_the_wire() -> None:
    for view in (face(MASKED), *views(shared("compreface/016_8.jpg").read_bytes())):
        estimations = mask(view).estimations
        assert list(estimations) == list(MASKS.values())
        assert sum(estimations.values()) == pytest.approx(1, abs=0.001)


def test_a_warp_says_what_its_photo_says() -> None:
    for path, word in ((MASKED, "medical_mask"), ("face_recognition/train/biden/biden2.jpg", "missing")):
        assert mask(warp_of(face(path))).predominant_mask == word


def test_the_mask_of_the_neighbour_is_not_ones_own() -> None:
    bare, masked = (face(path) for path in ("face_recognition/train/biden/biden.jpg", MASKED))
    beside = Pillow.fromarray(bare.cut(bare.box.grown(1.5).squared(), (300, 300)).pixels)
    both = Pillow.new("RGB", (480, 300))
    both.paste(Pillow.fromarray(masked.cut(masked.box.grown(1.5).squared(), (300, 300)).pixels), (0, 0))
    both.paste(beside.crop((60, 0, 240, 300)), (240, 0))
    words = {round(view.box.centre[0] / 480): mask(view).predominant_mask for view in seen_in(both)}
    assert words == {0: "medical_mask", 1: "missing"}
