"""Head pose: exact on the template, sensible on real faces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from libs.common.wire.estimations import HeadPose
from services.remote_sdk.stages.pose import TEMPLATE, head_pose
from tests.photos import astronaut_jpeg, grace_hopper_jpeg, shared
from tests.unit.remote_sdk.looking import face_of, picture


def pose_of(photo: bytes | Image.Image) -> HeadPose:
    return face_of(photo).findings["head_pose"]


def seen(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """The template's points as a far camera sees them. Written from the words of the docstring, one axis at a time."""
    p, y, r = np.radians([pitch, yaw, roll])
    points = TEMPLATE.T.copy()
    points[1:] = np.array([[np.cos(p), np.sin(p)], [-np.sin(p), np.cos(p)]]) @ points[1:]
    points[[0, 2]] = np.array([[np.cos(y), -np.sin(y)], [np.sin(y), np.cos(y)]]) @ points[[0, 2]]
    points[:2] = np.array([[np.cos(r), -np.sin(r)], [np.sin(r), np.cos(r)]]) @ points[:2]
    return points[:2].T * 12.5 + [320, 240]


@given(pitch=st.floats(-20, 40), yaw=st.floats(-55, 55), roll=st.floats(-175, 175))
def test_the_pose_of_the_template_is_found_again(pitch: float, yaw: float, roll: float) -> None:
    found = head_pose(seen(pitch, yaw, roll))
    assert (found.pitch, found.yaw, found.roll) == pytest.approx((pitch, yaw, roll), abs=0.2)


def test_signs_are_those_of_the_picture() -> None:
    nose = np.array([0, 0, 0, 0, 1])[:, None]
    frontal = seen(0, 0, 0)
    assert head_pose(frontal + nose * [10, 0]).yaw > 5, "nose to the right: looks to the right"
    assert head_pose(frontal + nose * [0, -10]).pitch > 5, "nose raised: looks up"
    assert head_pose(frontal @ np.array([[0, 1], [-1, 0]])).roll == pytest.approx(90, abs=0.1), "clockwise: positive"


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), 7.0), np.outer(np.arange(5.0), [1, 1])])
def test_points_that_are_no_face_give_finite_angles(points: np.ndarray) -> None:
    pose = head_pose(points)
    assert all(-180 <= angle <= 180 for angle in (pose.pitch, pose.yaw, pose.roll))


@pytest.mark.parametrize("photo", [astronaut_jpeg, grace_hopper_jpeg])
def test_portraits_look_into_the_camera(photo) -> None:
    pose = pose_of(photo())
    assert max(abs(pose.yaw), abs(pose.pitch), abs(pose.roll)) < 10


@pytest.mark.parametrize("photo", [astronaut_jpeg, grace_hopper_jpeg])
@pytest.mark.parametrize("angle_deg", [-15, 15])
def test_roll_follows_the_rotation_of_a_photo(photo, angle_deg: float) -> None:
    upright = picture(photo())
    turned = upright.rotate(-angle_deg, Image.Resampling.BICUBIC)
    assert pose_of(turned).roll - pose_of(upright).roll == pytest.approx(angle_deg, abs=2)


@pytest.mark.parametrize(
    ("path", "side"),
    [
        ("face_recognition/test/obama1.jpg", 1),
        ("face_recognition/train/obama/obama2.jpg", -1),
        ("face_recognition/train/kit_harington/john2.jpeg", -1),
    ],
)
def test_yaw_of_a_turned_head_changes_sides_in_the_mirror(path: str, side: int) -> None:
    photo = picture(shared(path).read_bytes())
    photo.thumbnail((800, 800))
    yaw, mirrored = pose_of(photo).yaw, pose_of(ImageOps.mirror(photo)).yaw
    assert yaw * side > 10
    assert mirrored == pytest.approx(-yaw, abs=8)
