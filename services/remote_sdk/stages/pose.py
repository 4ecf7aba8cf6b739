"""Head pose from five points of the face."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from libs.common.wire.estimations import HeadPose

TEMPLATE = np.array(
    [
        [4.445859, -2.663991, -3.173422],
        [1.856432, -2.585245, -3.757904],
        [-4.445859, -2.663991, -3.173422],
        [-1.856432, -2.585245, -3.757904],
        [0.0, 2.089024, -6.058267],
    ]
)
"""The five points on a face looking into the camera, in cm: x to the right of the picture, y down, z away.

In dlib's order: outer and inner corner of the eye on the right of the picture, the same of the left one, nose base.
From MediaPipe's canonical face model (Apache-2.0, `canonical_face_model.obj`, vertices 263, 362, 33, 133 and 2).
"""

_STEPS = 20
_STEP_RAD = 1e-4
_DONE_RAD = 1e-6


def head_pose(points: NDArray[np.floating]) -> HeadPose:
    """The pose of a head, from ``points``: (5, 2) pixels in dlib's order.

    Degrees. yaw > 0: the face looks to the right of the picture; pitch > 0: it looks up; roll > 0: it is tilted
    clockwise as seen in the picture. A weak-perspective camera (rotation, one scale, a shift) is fitted to
    :data:`TEMPLATE` by least squares. Five points of a rigid mean face: expect errors of some 5 degrees of yaw and
    more of pitch, which also depends on how long the nose is. Beyond a yaw of 60 degrees the points are hidden ones,
    and below a pitch of -25 the nose comes back up in the picture, so that the angle comes out too small.
    """
    centred = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    roll = math.atan2(*(centred[0] + centred[1] - centred[2] - centred[3])[::-1])
    angles = np.array([0.0, 0.0, roll])
    for _ in range(_STEPS):
        change = _step(angles, centred)
        angles = angles + change
        if np.abs(change).max() < _DONE_RAD:
            break
    pitch, yaw, roll = (_wrapped(math.degrees(angle)) for angle in angles)
    return HeadPose(pitch=pitch, yaw=yaw, roll=roll)


def _step(angles: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """One damped Gauss-Newton step in (pitch, yaw, roll), radians; scale and shift are solved for within."""
    here, *moved = _residuals(angles + _TRIED, points)
    jacobian = (np.stack(moved, axis=1) - here[:, None]) / _STEP_RAD
    normal = jacobian.T @ jacobian
    # Damping keeps a degenerate face (all points on a line) from being thrown around.
    change = np.linalg.solve(normal + np.eye(3) * (1e-3 * np.trace(normal) + 1e-12), -jacobian.T @ here)
    return change.clip(-0.5, 0.5)


_TRIED = np.concatenate([np.zeros((1, 3)), np.eye(3) * _STEP_RAD])
"""Where a step looks: here, and a little further along each axis."""


def _residuals(angles: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the template turned by each of (n, 3) angles, at its best scale, lies from the centred points: (n, 10)
    pixels."""
    seen = _TEMPLATE_CENTRED @ _seen_axes(angles)
    scale = (seen * points).sum((1, 2)) / (seen * seen).sum((1, 2))
    return (scale[:, None, None] * seen - points).reshape(len(angles), -1)


_TEMPLATE_CENTRED = TEMPLATE - TEMPLATE.mean(axis=0)


def _seen_axes(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first two rows of the rotations, as columns (n, 3, 2): where a head's axes lie in the picture.

    Pitch first, then yaw, then roll, about the axes of the camera; signs as in :func:`head_pose`.
    """
    (sp, sy, sr), (cp, cy, cr) = np.sin(angles).T, np.cos(angles).T
    across = [cr * cy, cr * sy * sp - sr * cp, -cr * sy * cp - sr * sp]
    down = [sr * cy, sr * sy * sp + cr * cp, -sr * sy * cp + cr * sp]
    return np.array([across, down]).transpose(2, 1, 0)


def _wrapped(degrees: float) -> float:
    """-180..180, to a hundredth."""
    return round((degrees + 180.0) % 360.0 - 180.0, 2)
