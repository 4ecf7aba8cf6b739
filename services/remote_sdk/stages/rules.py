"""Which of the faces in a picture are kept: the contract's multiface policy and thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from libs.common.errors import Code, MienError
from libs.common.wire.estimations import DEEPFAKE, LIVENESS, MASKS, Liveness, LivenessEstimations, Rect, id_of
from libs.common.wire.sdk import FilterReason, SdkParams

FORBID, ALLOW, BEST = 0, 1, 2
"""Values of ``multiface_policy``."""
UNKNOWN = "unknown"


class Found(Protocol):
    """A face as the detector leaves it; ``score`` is 0..1."""

    @property
    def rect(self) -> Rect: ...
    @property
    def score(self) -> float: ...


F = TypeVar("F", bound=Found)


def chosen(found: Sequence[F], multiface_policy: int, several: Code = Code.SEVERAL_FACES) -> list[F]:
    """The faces (or bodies, with another code) that the policy lets through, largest first.

    The best is that of the highest detector score times area: the largest, unless the detector doubts it.
    Raises ``several`` when only one is allowed.
    """
    if multiface_policy == FORBID and len(found) > 1:
        what = "faces" if several is Code.SEVERAL_FACES else "bodies"
        raise MienError(several, f"{len(found)} {what}; multiface_policy 0 allows one")
    ordered = sorted(found, key=lambda face: _area(face.rect), reverse=True)
    if multiface_policy == BEST:
        return sorted(ordered, key=lambda face: face.score * _area(face.rect), reverse=True)[:1]
    return ordered


def _area(rect: Rect) -> int:
    return rect.width * rect.height


def verdict(liveness: Liveness, params: SdkParams) -> Liveness:
    """The prediction by the caller's thresholds, both inclusive: unknown when the picture is too poor for one, else
    real or spoof by the probability. An estimator that found nothing out stays with unknown."""
    found = liveness.estimations
    if liveness.prediction == UNKNOWN or found.quality < params.quality_threshold:
        return Liveness(prediction=UNKNOWN, estimations=found)
    return Liveness(prediction="real" if found.probability >= params.liveness_threshold else "spoof", estimations=found)


def reasons_to_drop(findings: Mapping[str, Any], fitness: float, params: SdkParams) -> list[FilterReason]:
    """Why the thresholds and states reject a face; empty when they let it through. What was not found passes, but a
    face that could not be judged, as that of a warp, has the liveness "unknown": nobody comes in as a picture."""
    reasons = []
    pose = findings.get("head_pose")
    for angle in ("yaw", "pitch", "roll"):
        threshold = getattr(params, f"{angle}_threshold")
        if pose is not None and threshold is not None and abs(getattr(pose, angle)) > threshold:
            reasons.append(_reason(f"{angle}_threshold", getattr(pose, angle), threshold))
    if fitness < params.score_threshold:
        reasons.append(_reason("score_threshold", fitness, params.score_threshold))
    for name, state_of in _STATES.items():
        wanted, found = getattr(params, f"{name}_states"), findings.get(name, _UNJUDGED.get(name))
        if wanted and found is not None and (state := state_of(found)) not in wanted:
            reasons.append(_reason(f"{name}_states", state, wanted))
    return reasons


def reasons_to_drop_body(fitness: float, params: SdkParams) -> list[FilterReason]:
    """Why a body is rejected: the floor of the score counts where its descriptor is asked for."""
    if params.estimate_body_descriptor and fitness < params.score_threshold:
        return [_reason("score_threshold", fitness, params.score_threshold)]
    return []


_STATES: dict[str, Callable[[Any], int | None]] = {
    "mask": lambda mask: id_of(MASKS, mask.predominant_mask),
    "liveness": lambda liveness: id_of(LIVENESS, liveness.prediction),
    "deepfake": lambda deepfake: id_of(DEEPFAKE, deepfake.prediction),
}

_UNJUDGED = {"liveness": Liveness(prediction=UNKNOWN, estimations=LivenessEstimations(quality=0, probability=0))}


def _reason(name: str, value: Any, threshold: Any) -> FilterReason:
    return FilterReason(filter_name=name, object_value=value, threshold_value=threshold)
