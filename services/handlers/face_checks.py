"""Checks of ``face_quality`` that can be measured without a further model. Section 9.1 of the wire contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from libs.common.wire.estimations import FaceQuality, QualityCheck
from libs.common.wire.policies import FaceQualityPolicy
from libs.common.wire.sdk import FaceResult


@dataclass(frozen=True)
class Check:
    """How a check is measured (None when it cannot be, as the pose of a warp) and its usual bounds."""

    measure: Callable[[FaceResult], float | None]
    low: float
    high: float


def _angle(name: str) -> Callable[[FaceResult], float | None]:
    return lambda face: getattr(face.attributes.head_pose, name) if face.attributes.head_pose else None


def _quality(name: str) -> Callable[[FaceResult], float | None]:
    return lambda face: getattr(face.attributes.quality, name) if face.attributes.quality else None


CHECKS = {
    "head_yaw": Check(_angle("yaw"), -5, 5),
    "head_pitch": Check(_angle("pitch"), -5, 5),
    "head_roll": Check(_angle("roll"), -8, 8),
    "blurriness_quality": Check(_quality("blurriness"), 0.61, 1),
    "dark_quality": Check(_quality("dark"), 0.5, 1),
    "illumination_quality": Check(_quality("illumination"), 0.3, 1),
    "light_quality": Check(_quality("light"), 0.57, 1),
    "specularity_quality": Check(_quality("specularity"), 0.3, 1),
    "face_width": Check(lambda face: face.rect.width, 180, float("inf")),
    "face_height": Check(lambda face: face.rect.height, 180, float("inf")),
}
"""Usual bounds: 5 / 8 degrees and 180 px follow ISO/IEC 19794-5 full-frontal pictures; quality bounds are ours."""


def examine(face: FaceResult, policy: FaceQualityPolicy) -> FaceQuality:
    """Run the enabled checks; one that cannot be measured fails."""
    names = [name for name, check in policy.checks.items() if check.estimate] or list(CHECKS)
    checks = [_run(name, face, policy) for name in names]
    return FaceQuality(status=1 if all(check.result for check in checks) else 0, checks=checks)


def _run(name: str, face: FaceResult, policy: FaceQualityPolicy) -> QualityCheck:
    check = CHECKS[name]
    wanted = policy.checks[name].threshold if name in policy.checks else None
    bounds = wanted if isinstance(wanted, dict) else {}
    low, high = bounds.get("min", check.low), bounds.get("max", check.high)
    value = check.measure(face)
    passed = value is not None and low <= value <= high
    threshold = {"min": low, "max": None if high == float("inf") else high}
    return QualityCheck(name=name, object_value=value, threshold=threshold, result=1 if passed else 0)
