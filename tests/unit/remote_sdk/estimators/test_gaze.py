"""Where faces of real photos look, and from where it is counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from libs.common.wire.estimations import Gaze, HeadPose
from services.remote_sdk.estimators.gaze import in_head
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.stages.decode import encode_jpeg
from tests.labels import CAMERA, LEFT, RIGHT
from tests.photos import shared
from tests.unit.remote_sdk.estimators.expressions import GAZE, POSE, findings, in_the_mirror
from tests.unit.remote_sdk.finding import estimated, estimator, look


def turned(yaw: float, pitch: float) -> np.ndarray:
    """The axes of a head in those of the camera (x right, y up, z away), columns: pitch first, then yaw."""
    (sy, sp), (cy, cp) = np.sin(np.radians([yaw, pitch])), np.cos(np.radians([yaw, pitch]))
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    return about_y @ about_x


AHEAD = np.array([0.0, 0.0, -1.0])


def direction(found: Findings) -> np.ndarray | None:
    """Where a face looks, unit length, in the axes of the camera; None where nothing was said."""
    gaze, pose = found["gaze"], found["head_pose"]
    if gaze.yaw is None:
        return None
    return turned(pose.yaw, pose.pitch) @ turned(gaze.yaw, gaze.pitch) @ AHEAD


def off_the_camera(found: Findings) -> float:
    """Degrees."""
    seen = direction(found)
    assert seen is not None
    return float(np.degrees(np.arccos(seen @ AHEAD)))


def looking(where: str) -> list[Findings]:
    return [found for face, found in findings().items() if face.looks == where and found["gaze"].yaw is not None]


def test_who_looks_into_the_camera_is_found_to() -> None:
    away = np.array([off_the_camera(found) for found in looking(CAMERA)])
    assert len(away) == 40
    # The network's publisher states 7 degrees on pictures of its own.
    assert away.mean() < 7.5
    assert (away < 15).sum() >= len(away) - 4


def test_eyes_turned_aside_have_their_sign() -> None:
    for where, sign in ((LEFT, -1), (RIGHT, 1)):
        seen = [direction(found) for found in looking(where)]
        assert seen
        assert all(sign * each[0] > np.sin(np.radians(15)) for each in seen if each is not None)


def test_the_mirror_turns_the_yaw_and_leaves_the_pitch() -> None:
    both = [(one["gaze"], other["gaze"]) for one, other in in_the_mirror()]
    known = [(one, other) for one, other in both if one.yaw is not None and other.yaw is not None]
    assert len(known) >= 20
    assert np.median([abs(one.yaw + other.yaw) for one, other in known]) < 4
    assert np.median([abs(one.pitch - other.pitch) for one, other in known]) < 4
    assert sum(abs(one.yaw + other.yaw) < 8 for one, other in known) >= 0.9 * len(known)


def test_the_roll_of_a_head_does_not_matter() -> None:
    picture = Pillow.open(shared("face_recognition/train/rose_leslie/img1.jpg")).convert("RGB")
    [upright] = estimated(encode_jpeg(np.asarray(picture)), GAZE, POSE)
    for angle in (-15, 15):
        tilted = picture.rotate(angle, Pillow.Resampling.BICUBIC)
        [rolled] = estimated(encode_jpeg(np.asarray(tilted)), GAZE, POSE)
        assert rolled["gaze"].yaw == pytest.approx(upright["gaze"].yaw, abs=8)
        assert rolled["gaze"].pitch == pytest.approx(upright["gaze"].pitch, abs=8)


def test_the_pose_that_was_found_counts() -> None:
    [face] = look(shared("face_recognition/train/rose_leslie/img2.jpg").read_bytes(), GAZE)
    gaze, crop = estimator(GAZE), face.crops[GAZE]
    frontal, aside = (
        gaze.run([gaze.informed(crop, {"head_pose": HeadPose(yaw=yaw, pitch=0, roll=0)})])[0]["gaze"].yaw
        for yaw in (0, 25)
    )
    assert aside < frontal - 3


def test_of_eyes_too_small_nothing_is_said() -> None:
    picture = Pillow.open(shared("face_recognition/misc/obama-480p.jpg")).convert("RGB")
    picture.thumbnail((150, 150))
    [found] = estimated(encode_jpeg(np.asarray(picture)), GAZE, POSE)
    assert found["gaze"] == Gaze(pitch=None, yaw=None)


angles = st.floats(-60, 60)


@given(yaw=angles, pitch=angles, up=angles, aside=angles, length=st.floats(0.1, 10))
def test_gaze_is_counted_from_the_head(yaw: float, pitch: float, up: float, aside: float, length: float) -> None:
    seen = turned(yaw, pitch) @ turned(aside, up) @ AHEAD * length
    found = in_head(seen, HeadPose(yaw=yaw, pitch=pitch, roll=12))
    assert (found.yaw, found.pitch) == (pytest.approx(aside, abs=0.01), pytest.approx(up, abs=0.01))


def test_a_head_turned_away_that_looks_into_the_camera_has_the_opposite_gaze() -> None:
    assert in_head(AHEAD, HeadPose(yaw=20, pitch=0, roll=0)) == Gaze(yaw=-20, pitch=0)
    assert in_head(AHEAD, HeadPose(yaw=0, pitch=-10, roll=0)) == Gaze(yaw=0, pitch=10)
