"""Yaw, pitch and roll of a head by Open Model Zoo's network, in the signs of ``stages/pose.py``."""

from __future__ import annotations

from libs.common.wire.estimations import HeadPose as Angles
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.stages.crops import Pixels
from services.remote_sdk.stages.view import FaceView


class HeadPose:
    on_warps = False

    def __init__(self, model: Loaded) -> None:
        self._net = model.net
        self._grown = model.option("grown", 1.0)

    def crop(self, seen: FaceView) -> Pixels:
        return seen.cut(seen.box.grown(self._grown), self._net.size).pixels

    def run(self, crops: list[Pixels]) -> list[Findings]:
        outputs = self._net.see(crops)
        yaw, pitch, roll = (outputs[f"angle_{axis}_fc"].reshape(-1) for axis in "ypr")
        return [
            # The network's pitch grows as the head bows; yaw and roll have our signs.
            {"head_pose": Angles(pitch=_angle(-p), yaw=_angle(y), roll=_angle(r))}
            for y, p, r in zip(yaw, pitch, roll, strict=True)
        ]


def _angle(degrees: float) -> float:
    return round(min(max(float(degrees), -180.0), 180.0), 2)
