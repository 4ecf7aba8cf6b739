"""Distributions on the wire."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.remote_sdk.estimators.shares import shares

VALUES = st.lists(st.floats(-1, 1e6, width=32), min_size=1, max_size=80)


@given(VALUES)
@example([-1, 0, 0])
def test_they_sum_to_one_with_four_decimals_in_the_order_of_the_values(values: list[float]) -> None:
    words = [str(number) for number in range(len(values))]
    told = list(shares(words, np.array(values, np.float32)).values())
    assert sum(told) == pytest.approx(1, abs=1e-9)
    assert all(0 <= share <= 1 and round(share, 4) == share for share in told)
    total = sum(max(value, 0) for value in values)
    for value, share in zip(values, told, strict=True):
        expected = max(value, 0) / total if total else 1 / len(values)
        assert share == pytest.approx(expected, abs=1.001e-4)
    best = int(np.argmax(values))
    assert told[best] == max(told)
