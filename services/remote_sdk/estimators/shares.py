"""Probabilities as they are told: four decimals that sum to 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.remote_sdk.engines.port import Array

_PARTS = 10_000


def shares(words: Sequence[str], values: Array) -> dict[str, float]:
    """By word the part, 0..1, that each value (n,) has in all of them; negative ones have none. Rounded by the largest
    remainder, so that the sum is 1 and no larger value has the smaller part. Equal parts where no value is above 0."""
    parts = np.asarray(values, np.float64).clip(0, None)
    total = parts.sum()
    exact = (parts / total if total > 0 else np.full(len(parts), 1 / len(parts))) * _PARTS
    whole = np.floor(exact)
    lacking = _PARTS - int(whole.sum())
    whole[np.lexsort((-np.asarray(values), whole - exact))[:lacking]] += 1  # of equal remainders, larger values first
    return dict(zip(words, (whole / _PARTS).tolist(), strict=True))
