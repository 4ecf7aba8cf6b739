"""The ``face_quality`` policy: which checks of ``libs/common/face_checks.py`` it makes of a face, and their verdict.
Section 9.1 of the wire contract."""

from __future__ import annotations

from libs.common import face_checks
from libs.common.face_checks import Bounds, Sight, Words
from libs.common.wire.estimations import FaceQuality, QualityCheck
from libs.common.wire.policies import FaceQualityPolicy
from libs.common.wire.sdk import FaceResult

CHECKS = {name: check for name, check in face_checks.CHECKS.items() if name != "faces_count"}
"""Those of a face; how many there may be ``multiface_policy`` says."""

USUAL = (
    "head_yaw",
    "head_pitch",
    "head_roll",
    "blurriness_quality",
    "dark_quality",
    "illumination_quality",
    "light_quality",
    "specularity_quality",
    "face_width",
    "face_height",
)
"""What is checked where a policy names nothing: what every deployment can estimate."""


def enabled(policy: FaceQualityPolicy) -> list[str]:
    """The names of the checks that a policy makes: those it wants, else the usual ones but those it does not want."""
    if not policy.estimate:
        return []
    wanted = [name for name, check in policy.checks.items() if check.estimate]
    return wanted or [name for name in USUAL if name not in policy.checks]


def flags(policy: FaceQualityPolicy) -> set[str]:
    """The parameters of ``/sdk`` that ask for what the enabled checks read of a face that is found."""
    return {CHECKS[name].flag for name in enabled(policy)} - {"detect_face"}


def examine(face: FaceResult, policy: FaceQualityPolicy) -> FaceQuality:
    """Run the enabled checks; one that cannot be measured fails."""
    checks = [_run(name, face, policy) for name in enabled(policy)]
    return FaceQuality(status=1 if all(check.result for check in checks) else 0, checks=checks)


def allowed(name: str, policy: FaceQualityPolicy) -> Bounds | Words:
    """What a check allows: the policy's own threshold, and what it leaves open as usual."""
    usual = CHECKS[name].allowed
    wanted = policy.checks[name].threshold if name in policy.checks else None
    if isinstance(usual, Words) and isinstance(wanted, list):
        return usual._replace(words=tuple(wanted))
    if isinstance(usual, Bounds) and isinstance(wanted, dict):
        return usual.model_copy(update=dict(wanted.items()))
    return usual


def wrong(name: str, policy: FaceQualityPolicy) -> str | None:
    """Why the policy's threshold for a check cannot be meant; None when it can."""
    usual, wanted = CHECKS[name].allowed, policy.checks[name].threshold
    if wanted is None:
        return None
    if isinstance(usual, Bounds):
        return None if isinstance(wanted, dict) else 'a numeric check takes {"min": x, "max": y}'
    unknown = not isinstance(wanted, list) or not wanted or set(wanted) - set(usual.known)
    return f"takes a list of words among {', '.join(usual.known)}" if unknown else None


def _run(name: str, face: FaceResult, policy: FaceQualityPolicy) -> QualityCheck:
    value, bounds = CHECKS[name].measure(Sight(face)), allowed(name, policy)
    return QualityCheck(
        name=name,
        object_value=value,
        threshold=bounds.model_dump() if isinstance(bounds, Bounds) else list(bounds.words),
        result=1 if value is not None and bounds.allow(value) else 0,
    )
