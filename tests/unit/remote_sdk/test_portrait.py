"""The picture about a face in numbers, on drawn pictures whose numbers are known."""

from __future__ import annotations

import numpy as np
import pytest

from libs.common.wire.estimations import HeadPose
from services.remote_sdk.stages.crops import Box
from services.remote_sdk.stages.decode import Picture
from services.remote_sdk.stages.portrait import portrait
from services.remote_sdk.stages.quality import measure
from services.remote_sdk.stages.view import FaceView

CORNERS = np.array([[60, 0], [22, 0], [-60, 0], [-22, 0], [0, 50]])
"""Of a head 182 px wide whose chin is 145 px below the middle of its eyes."""


def view(pixels: np.ndarray, at: tuple[int, int] = (300, 300), zoom: float = 1.0) -> FaceView:
    """A face with the middle of its eyes ``at`` that pixel."""
    corners = (np.array(at) + CORNERS * zoom).astype(np.float32)
    chip = np.full((150, 150, 3), 128, np.uint8)
    pose = HeadPose(pitch=0, roll=0, yaw=0)
    return FaceView(Picture(pixels), Box(0, 0, 1, 1), corners, None, chip, measure(chip), pose)


def wall(colour: tuple[int, int, int] = (230, 230, 220), width: int = 600, height: int = 800) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def test_lengths_are_those_of_the_drawing() -> None:
    found = portrait(view(wall()))
    assert (found.image_width, found.image_height, found.eye_distance) == (600, 800, 82)
    assert found.horizontal_center == pytest.approx(0.5, abs=0.001)
    assert found.vertical_center == pytest.approx(300 / 800, abs=0.001)
    assert found.head_width * 600 == pytest.approx(182, abs=1)
    assert found.head_height * 800 == pytest.approx(290, abs=2)
    assert found.indent_left == pytest.approx(209, abs=1)
    assert found.indent_right == pytest.approx(209, abs=1)
    assert found.indent_upper == pytest.approx(155, abs=1)
    assert found.indent_lower == pytest.approx(354, abs=1)


def test_a_face_twice_as_large_has_twice_the_lengths() -> None:
    small, large = portrait(view(wall(), zoom=0.5)), portrait(view(wall()))
    assert large.eye_distance == 2 * small.eye_distance
    assert large.head_width == pytest.approx(2 * small.head_width, abs=0.001)
    assert large.head_height == pytest.approx(2 * small.head_height, abs=0.001)


def test_a_head_that_is_cut_has_negative_indents() -> None:
    found = portrait(view(wall(height=430), at=(80, 300)))
    assert found.indent_left == pytest.approx(-11, abs=1)
    assert found.indent_lower == pytest.approx(-16, abs=1)


def test_a_plain_wall_is_uniform_and_one_of_two_colours_is_not() -> None:
    plain = portrait(view(wall()))
    assert plain.background_uniformity == 1
    assert plain.background_lightness == pytest.approx(229 / 255, abs=0.01)

    halved = wall()
    halved[:, 310:] = (90, 20, 20)
    assert portrait(view(halved)).background_uniformity == pytest.approx(0.5, abs=0.1)


def test_what_is_on_the_head_and_below_the_eyes_is_no_background() -> None:
    picture = wall()
    picture[120:, 170:430] = (60, 40, 20)
    picture[310:] = 0
    assert portrait(view(picture)).background_uniformity == 1


def test_where_the_head_fills_the_picture_there_is_no_background() -> None:
    found = portrait(view(wall(), zoom=4))
    assert (found.background_uniformity, found.background_lightness) == (None, None)


def test_the_dynamic_range_counts_the_brightnesses_of_the_face() -> None:
    assert portrait(view(wall())).dynamic_range == 0
    shaded = wall()
    shaded[:, 200:400] = np.linspace(0, 255, 200).astype(np.uint8)[None, :, None]
    assert 6.5 < portrait(view(shaded)).dynamic_range <= 8
