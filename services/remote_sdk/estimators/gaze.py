"""Where a face looks, by Open Model Zoo's network: both eyes and the pose of the head tell it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from libs.common.wire.estimations import Gaze as Angles
from libs.common.wire.estimations import HeadPose
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.engines.port import Array
from services.remote_sdk.estimators.eyes import Eyes, eyes_of
from services.remote_sdk.estimators.light import well_lit
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.stages.view import FaceView

LEFT, RIGHT, POSE = "left_eye_image", "right_eye_image", "head_pose_angles"
_MIRROR_ANGLES, _MIRROR_AXES = np.array([-1, 1, -1], np.float32), np.array([-1, 1, 1], np.float32)
_LEAST = 1e-9


class Look(NamedTuple):
    """``pose``: by geometry, until another one is known."""

    eyes: Eyes
    pose: HeadPose


class Gaze:
    """Degrees off the straight way ahead of the face, in the signs of ``stages/pose.py``: yaw > 0: to the right of the
    picture; pitch > 0: up. Relative to the head, as in the contract: who turns the head away and keeps looking into the
    camera has the opposite angles of ``head_pose``.

    Options of the manifest: ``grown``: the crops, in widths of an eye; ``least_px``: the width of an eye below which
    nothing can be said: both angles are null then, and where an eye lies beyond the edge of the picture.
    """

    on_warps = False

    def __init__(self, model: Loaded) -> None:
        self._net = model.net
        self._size = self._net.size_of(LEFT)
        self._output = next(iter(self._net.described.outputs))
        self._grown = model.option("grown", 1.5)
        self._least_px = model.option("least_px", 8.0)

    def crop(self, seen: FaceView) -> Look:
        return Look(eyes_of(seen, self._size, self._grown), seen.pose)

    def informed(self, crop: Look, found: Findings) -> Look:
        return crop._replace(pose=found.get("head_pose", crop.pose))

    def run(self, crops: list[Look]) -> list[Findings]:
        left, right = (np.array([well_lit(eyes[side].pixels) for eyes, _ in crops]) for side in (0, 1))
        # The network's pitch grows as the head bows. Its roll is 0: the eyes were cut out upright.
        angles = np.array([(pose.yaw, -pose.pitch, 0) for _, pose in crops], np.float32)
        # Seen in the mirror, too: the mean is the same for both halves of a face, and better than either.
        seen = self._vectors(left, right, angles)
        mirrored = self._vectors(right[:, :, ::-1], left[:, :, ::-1], angles * _MIRROR_ANGLES) * _MIRROR_AXES
        return [{"gaze": self._angles(look, vector)} for look, vector in zip(crops, seen + mirrored, strict=True)]

    def _vectors(self, left: Array, right: Array, angles: Array) -> Array:
        """Unit length, (n, 3): x to the right of the picture, y up, z away."""
        found = self._net.feed({LEFT: left, RIGHT: right, POSE: angles})[self._output].reshape(-1, 3)
        return found / np.linalg.norm(found, axis=1, keepdims=True).clip(_LEAST)

    def _angles(self, look: Look, vector: Array) -> Angles:
        if any(not eye.shown or eye.width_px < self._least_px for eye in look.eyes):
            return Angles(pitch=None, yaw=None)
        return in_head(vector, look.pose)


def in_head(vector: Array, pose: HeadPose) -> Angles:
    """The angles of a direction, from the axes of the camera (x to the right of the picture, y up, z away, any length)
    to those of an upright head of this pose."""
    right, up, away = vector.astype(np.float64).tolist()
    right, ahead = _turned(right, -away, math.radians(pose.yaw))
    up, ahead = _turned(up, ahead, math.radians(pose.pitch))
    yaw, pitch = math.atan2(right, ahead), math.atan2(up, math.hypot(right, ahead))
    return Angles(pitch=round(math.degrees(pitch), 2), yaw=round(math.degrees(yaw), 2))


def _turned(aside: float, ahead: float, by: float) -> tuple[float, float]:
    """As seen from axes that are turned aside by an angle in radians."""
    return math.cos(by) * aside - math.sin(by) * ahead, math.sin(by) * aside + math.cos(by) * ahead
