"""How the accuracy tables count (`python -m bench.accuracy`)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import accuracy, trials
from libs.common.wire.estimations import Rect

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=30).map(np.array)


@pytest.mark.parametrize(
    ("genuine", "impostor", "rate", "area"),
    [
        ([0.9, 0.8], [0.1, 0.2, 0.3], 0.0, 1.0),
        ([0.1], [0.9], 1.0, 0.0),
        ([0.5, 0.5], [0.5], 1.0, 0.5),
        ([0.9, 0.4, 0.8, 0.7], [0.5, 0.1, 0.2, 0.3], 0.25, 15 / 16),
    ],
)
def test_rates_of_pairs_that_can_be_counted_by_hand(genuine: list, impostor: list, rate: float, area: float) -> None:
    pairs = np.array(genuine), np.array(impostor)
    assert accuracy._equal_error_rate(*pairs) == pytest.approx(rate)
    assert accuracy._area_under_curve(*pairs) == pytest.approx(area)


@given(genuine=SCORES, impostor=SCORES)
def test_no_threshold_errs_less_on_both_sides_than_the_equal_error_rate(genuine, impostor) -> None:
    rate = accuracy._equal_error_rate(genuine, impostor)
    for at in np.linspace(-0.1, 1.1, 50):
        assert max((impostor >= at).mean(), (genuine < at).mean()) >= rate - 1e-12


def test_a_box_is_one_faces_only() -> None:
    box, other = Rect(x=0, y=0, width=10, height=10), Rect(x=20, y=0, width=10, height=10)
    assert trials.hits([box, other], [(5, 5), (6, 6), (25, 5), (50, 50)]) == 2
    assert trials.holds(box, (5, 4), height=0.5)
    assert not trials.holds(box, (5, 5), height=0.5)


def test_what_was_not_found_is_not_right() -> None:
    counted = trials.both({"a": True, "b": True, "c": False}, {"a": True, "c": True}, "yes", "no")
    assert [(name, str(right)) for name, right in counted] == [("yes", "1 of 2"), ("no", "0 of 1")]
