"""Crops: what a point of a cut shows is what the picture shows there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.remote_sdk.networks.chip import template
from services.remote_sdk.stages.chain import warp_view
from services.remote_sdk.stages.crops import Box, aligned, around, cut
from services.remote_sdk.stages.view import ARCFACE, FaceView
from tests.unit.remote_sdk.looking import chain

Y, X = np.mgrid[0:200, 0:250]
MAP = np.stack([X, Y, 0 * X], axis=-1).astype(np.uint8)
"""Red tells x, green tells y."""


@settings(max_examples=60, deadline=None)
@given(st.floats(60, 190), st.floats(60, 140), st.floats(8, 90), st.floats(8, 90), st.floats(-180, 180), st.booleans())
def test_a_cut_knows_where_its_pixels_come_from(
    x: float, y: float, width: float, height: float, angle: float, straight: bool
) -> None:
    made = cut(MAP, around((x, y), width, height), (40, 30), angle_deg=0.0 if straight else angle)
    assert made.pixels.shape == (30, 40, 3)
    at = np.array([[0.25, 0.5], [0.5, 0.5], [0.7, 0.3]])
    rows, columns = (at[:, 1] * 30).astype(int), (at[:, 0] * 40).astype(int)
    centres = np.stack([(columns + 0.5) / 40, (rows + 0.5) / 30], axis=-1)
    shown = made.pixels[rows, columns, :2] + 0.5
    expected = made.in_picture(centres)
    inside = ((expected > 4) & (expected < (246, 196))).all(axis=1)
    assert np.abs(shown - expected)[inside].max(initial=0) < 2.5


def test_what_lies_outside_is_black_or_the_box_is_shifted_inside() -> None:
    white = np.full((100, 100, 3), 255, np.uint8)
    beyond = Box(-50, -50, 50, 50)
    corner = cut(white, beyond, (10, 10)).pixels[..., 0]
    assert not corner[:4].any()
    assert corner[6:, 6:].min() == 255
    shifted = cut(MAP, beyond, (10, 10), outside="shift")
    assert shifted.in_picture(np.array([[0, 0], [1, 1]])).tolist() == [[0, 0], [100, 100]]
    larger = cut(MAP, Box(-500, -500, 900, 900), (10, 10), outside="shift")
    assert larger.in_picture(np.array([[0, 0], [1, 1]])).tolist() == [[0, 0], [250, 200]]
    assert not cut(white, Box(900, 900, 950, 950), (10, 10)).pixels.any()


@pytest.mark.parametrize("box", [Box(5, 5, 5.2, 5.2), Box(10, 10, 10, 10), Box(-9, 3, -8, 4)])
@pytest.mark.parametrize("angle", [0.0, 33.0])
def test_a_box_of_no_size_is_cut(box: Box, angle: float) -> None:
    assert cut(MAP, box, (8, 8), angle_deg=angle).pixels.shape == (8, 8, 3)


@pytest.mark.parametrize(("scale", "angle"), [(1.0, 0.0), (0.5, 30.0), (1.4, -75.0)])
def test_alignment_puts_the_points_where_the_template_has_them(scale: float, angle: float) -> None:
    turn = scale * np.exp(1j * np.radians(angle))
    moved = (ARCFACE[:, 0] - 56 + 1j * (ARCFACE[:, 1] - 56)) * turn + 125 + 100j
    points = np.stack([moved.real, moved.imag], axis=-1).astype(np.float32)
    found = aligned(MAP, points, ARCFACE, 112).in_picture((ARCFACE + 0.5) / 112)
    assert np.abs(found - 0.5 - points).max() < 0.1


def test_the_view_of_a_warp_has_the_face_where_warps_have_it() -> None:
    """Its landmarks are not known, but a warp is made so that they lie about the template."""
    warp = np.zeros((250, 250, 3), np.uint8)
    view = warp_view(warp)
    assert isinstance(view, FaceView)
    assert np.allclose(view.corners, template(250, 0.75))
    assert view.chip.shape == (150, 150, 3)
    (x, y), box = view.box.centre, view.box
    assert (x, y) == pytest.approx((125, 125), abs=15)
    assert 80 < box.width < box.height < 200
    assert chain().for_warps == frozenset()
