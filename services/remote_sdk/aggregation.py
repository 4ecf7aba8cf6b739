"""One estimation of a person out of several pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)

PREDOMINANT = "predominant_"
LIKELIEST = "estimations"


def together(estimations: Sequence[M]) -> M:
    """Field by field what several estimations of one kind say together; what only some of them know, those say.

    Numbers: the mean, of whole ones rounded. Words: the most frequent, the first of them if several are; but
    ``predominant_...`` is the likeliest of the mean ``estimations`` beside it. Lists: the first. At least one is given.
    """
    merged = _mapping([each.model_dump() for each in estimations])
    return type(estimations[0]).model_validate(merged)


def _mapping(parts: list[dict[str, Any]]) -> dict[str, Any]:
    names = dict.fromkeys(name for part in parts for name in part)
    merged = {name: _value([part[name] for part in parts if part.get(name) is not None]) for name in names}
    shares = merged.get(LIKELIEST)
    for name in merged:
        if name.startswith(PREDOMINANT) and shares:
            merged[name] = max(shares, key=lambda each: shares[each])
    return merged


def _value(values: list[Any]) -> Any:
    if not values:
        return None
    first = values[0]
    if isinstance(first, dict):
        return _mapping(values)
    if isinstance(first, str):
        return Counter(values).most_common(1)[0][0]
    if isinstance(first, float):
        return float(np.mean(values))
    return round(float(np.mean(values))) if isinstance(first, int) else first
