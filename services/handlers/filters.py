"""The filter object of policies: does what was seen pass? Section 9.4 of the wire contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from libs.common.wire.estimations import DEEPFAKE, EMOTIONS, ETHNICITIES, LIVENESS, MASKS, FaceAttributes, id_of
from libs.common.wire.policies import Filters


@dataclass(frozen=True)
class Facts:
    """What a filter may look at; None is "not estimated". Enumerations are the contract's ids.

    ``tops`` maps the label of every executed search to the similarity of its best candidate (0 with none).
    """

    gender: int | None = None
    age: int | None = None
    ethnicity: int | None = None
    emotion: int | None = None
    mask: int | None = None
    liveness: int | None = None
    deepfake: int | None = None
    tops: Mapping[str, float] = field(default_factory=dict)


def facts_of(face: FaceAttributes, tops: Mapping[str, float] | None = None) -> Facts:
    """What was estimated of a face, words as ids, and the best similarity of every executed search."""
    basic = face.basic_attributes
    ethnicity = basic.ethnicities.predominant_ethnicity if basic and basic.ethnicities else None
    return Facts(
        gender=basic.gender if basic else None,
        age=basic.age if basic else None,
        ethnicity=id_of(ETHNICITIES, ethnicity),
        emotion=id_of(EMOTIONS, face.emotions.predominant_emotion if face.emotions else None),
        mask=id_of(MASKS, face.mask.predominant_mask if face.mask else None),
        liveness=id_of(LIVENESS, face.liveness.prediction if face.liveness else None),
        deepfake=id_of(DEEPFAKE, face.deepfake.prediction if face.deepfake else None),
        tops=tops or {},
    )


def passes(filters: Filters, facts: Facts) -> bool:
    """All conditions hold. A condition on something that was not estimated fails."""
    return (
        _is_in(facts.gender, None if filters.gender is None else [filters.gender])
        and _is_between(facts.age, filters.age__gte, filters.age__lt)
        and _is_in(facts.ethnicity, filters.ethnicities)
        and _is_in(facts.emotion, filters.emotions)
        and _is_in(facts.mask, filters.mask)
        and _is_in(facts.liveness, filters.liveness)
        and _is_in(facts.deepfake, filters.deepfake)
        and all(
            _is_between(facts.tops.get(item.label, 0.0), item.similarity__gte, item.similarity__lt)
            for item in filters.match or ()
        )
    )


def _is_in(value: Any, allowed: list[Any] | None) -> bool:
    return allowed is None or value in allowed


def _is_between(value: float | None, low: float | None, high: float | None) -> bool:
    """low <= value < high; either bound may be missing."""
    if low is None and high is None:
        return True
    return value is not None and (low is None or value >= low) and (high is None or value < high)
