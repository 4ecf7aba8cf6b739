"""Quality measures and the recognition score: sane on real photos, and worse when the photo gets worse."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageFilter

from libs.common.wire.estimations import HeadPose, Quality, Rect
from services.remote_sdk.networks.chip import face_chips
from services.remote_sdk.stages.chain import Face
from services.remote_sdk.stages.quality import measure, part_inside, score
from tests.photos import astronaut_jpeg, grace_hopper_jpeg
from tests.unit.remote_sdk.looking import face_of, picture

GOOD = Quality(blurriness=1, dark=1, illumination=1, specularity=1, light=1)
PORTRAITS = pytest.mark.parametrize("photo", [astronaut_jpeg, grace_hopper_jpeg])
Photo = Callable[[], bytes]


@pytest.fixture
def face(photo: Photo) -> Face:
    return face_of(photo())


def changed(face: Face, change: Callable[[Image.Image], Image.Image]) -> Quality:
    return measure(np.asarray(change(Image.fromarray(face.crops["chip"]))))


def brightened(factor: float) -> Callable[[Image.Image], Image.Image]:
    return lambda chip: chip.point([min(int(value * factor), 255) for value in range(256)] * 3)


def falls(values: list[float]) -> bool:
    """Never rises, and ends well below where it began."""
    return all(later <= earlier for earlier, later in itertools.pairwise(values)) and values[-1] < values[0] - 0.3


@PORTRAITS
def test_a_good_portrait_is_good_in_every_respect(face: Face) -> None:
    quality = face.findings["quality"]
    assert min(quality.blurriness, quality.dark, quality.illumination, quality.specularity, quality.light) > 0.85
    assert face.fitness > 0.8


@PORTRAITS
def test_blur_lowers_sharpness_and_nothing_else(face: Face) -> None:
    blurred = [changed(face, lambda chip, r=r: chip.filter(ImageFilter.GaussianBlur(r))) for r in (0, 1, 2, 3, 5)]
    assert falls([quality.blurriness for quality in blurred])
    assert all(quality.dark > 0.9 and quality.light > 0.9 for quality in blurred)


@PORTRAITS
def test_a_face_blurred_beyond_recognition_does_not_pass_for_sharp_by_the_noise_of_its_compression(
    face: Face, photo: Photo
) -> None:
    def sharpness(part: float) -> float:
        """Of the face in a photo that is blurred by a part of its width."""
        kept = io.BytesIO()
        picture(photo()).filter(ImageFilter.GaussianBlur(part * face.rect.width)).save(kept, "JPEG", quality=75)
        assert face.landmarks is not None
        return measure(face_chips(np.asarray(Image.open(kept)), face.landmarks[None])[0]).blurriness

    assert sharpness(0) > 0.85
    assert max(sharpness(part) for part in (0.04, 0.1, 0.15, 0.2)) < 0.3


@PORTRAITS
def test_darkness_lowers_dark_and_not_sharpness(face: Face) -> None:
    darkened = [changed(face, brightened(factor)) for factor in (1, 0.5, 0.3, 0.2, 0.1)]
    assert falls([quality.dark for quality in darkened])
    assert all(quality.blurriness > 0.8 for quality in darkened[:3])


@PORTRAITS
def test_overexposure_lowers_light_and_specularity(face: Face) -> None:
    bright = [changed(face, brightened(factor)) for factor in (1, 1.3, 1.6, 2, 3)]
    assert falls([quality.light for quality in bright])
    assert falls([quality.specularity for quality in bright])


@PORTRAITS
def test_a_shadow_on_one_side_lowers_illumination(face: Face) -> None:
    shades = [np.repeat([1, light], 75)[None, :, None] for light in (1, 0.6, 0.3, 0.1)]
    shaded = [measure((face.crops["chip"] * shade).astype(np.uint8)).illumination for shade in shades]
    assert falls(shaded)


@PORTRAITS
def test_a_smaller_picture_of_the_same_face_scores_lower(photo: Photo) -> None:
    whole = picture(photo())
    sizes = [whole.resize((whole.width * part // 8, whole.height * part // 8)) for part in (8, 4, 2)]
    fitness = [face_of(size).fitness for size in sizes]
    assert falls(fitness)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_chip_is_blurred_and_in_range(level: int) -> None:
    assert measure(np.full((150, 150, 3), level, np.uint8)).blurriness == 0


def test_noise_stays_in_range() -> None:
    chip = np.random.default_rng(0).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    assert all(0 <= value <= 1 for value in dict(measure(chip)).values())


def test_every_flaw_lowers_the_score_and_a_flawless_face_has_one() -> None:
    full = {"eyes_px": 60.0, "pose": HeadPose(pitch=0, yaw=10, roll=80), "confidence": 0.9, "inside": 1.0}
    assert score(GOOD, **full) == 1  # type: ignore[arg-type]
    assert score(GOOD) == 1
    flaws = (
        {"eyes_px": 26.3},
        {"pose": HeadPose(pitch=0, yaw=75, roll=0)},
        {"pose": HeadPose(pitch=-75, yaw=0, roll=0)},
        {"confidence": 0.25},
        {"inside": 0.5},
    )
    assert [score(GOOD, **{**full, **flaw}) for flaw in flaws] == [0.5] * 5  # type: ignore[arg-type]
    assert score(GOOD.model_copy(update={"blurriness": 0.25})) == 0.5
    assert score(GOOD.model_copy(update={"dark": 0.25})) == 0.5
    assert score(GOOD.model_copy(update={"light": 0.25})) == 0.5


@pytest.mark.parametrize(
    ("rect", "expected"),
    [
        (Rect(x=10, y=10, width=20, height=20), 1.0),
        (Rect(x=-10, y=0, width=20, height=20), 0.5),
        (Rect(x=90, y=40, width=20, height=20), 0.25),
        (Rect(x=-30, y=0, width=20, height=20), 0.0),
    ],
)
def test_part_inside_is_the_share_of_the_box_in_the_picture(rect: Rect, expected: float) -> None:
    assert part_inside(rect, 100, 50) == expected
