"""The filter object of policies."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.wire.policies import Filters
from services.handlers.filters import Facts, passes

ESTIMATED = {
    "gender": st.sampled_from([0, 1]),
    "age": st.integers(0, 100),
    "ethnicity": st.integers(1, 4),
    "emotion": st.integers(1, 7),
    "mask": st.integers(1, 3),
    "liveness": st.integers(0, 2),
    "deepfake": st.integers(0, 1),
}
FACTS = st.builds(
    Facts,
    **{name: st.none() | values for name, values in ESTIMATED.items()},
    tops=st.dictionaries(st.sampled_from(["staff", "vip"]), st.floats(0, 1)),
)


def test_an_empty_filter_passes_whatever_was_seen() -> None:
    assert passes(Filters(), Facts())


@given(FACTS)
def test_a_filter_made_of_what_was_seen_passes(facts: Facts) -> None:
    seen: dict[str, Any] = {"gender": facts.gender, "age__gte": facts.age}
    seen["age__lt"] = None if facts.age is None else facts.age + 1
    for name, field in (("ethnicity", "ethnicities"), ("emotion", "emotions"), ("mask", "mask")):
        seen[field] = None if getattr(facts, name) is None else [getattr(facts, name)]
    seen["match"] = [{"label": label, "similarity__gte": value} for label, value in facts.tops.items()] or None
    assert passes(Filters.model_validate(seen), facts)


@given(FACTS, st.sampled_from(["gender", "age__gte", "emotions", "mask", "liveness", "deepfake", "ethnicities"]))
def test_a_condition_on_what_was_not_estimated_fails(facts: Facts, field: str) -> None:
    condition = Filters.model_validate({field: 0 if field in ("gender", "age__gte") else [1]})
    assert not passes(condition, Facts(tops=facts.tops))


@pytest.mark.parametrize(("age", "passed"), [(17, False), (18, True), (29, True), (30, False)])
def test_ages_are_half_open(age: int, passed: bool) -> None:
    assert passes(Filters(age__gte=18, age__lt=30), Facts(age=age)) is passed


@pytest.mark.parametrize(
    ("tops", "passed"), [({"staff": 0.6}, False), ({"staff": 0.59}, True), ({"staff": 0.0}, True), ({}, True)]
)
def test_no_candidate_counts_as_similarity_zero(tops: dict[str, float], passed: bool) -> None:
    stranger = Filters.model_validate({"match": [{"label": "staff", "similarity__lt": 0.6}]})
    assert passes(stranger, Facts(tops=tops)) is passed


def test_conditions_are_anded_and_lists_are_ored() -> None:
    filters = Filters(gender=1, emotions=[4, 5])
    assert passes(filters, Facts(gender=1, emotion=5))
    assert not passes(filters, Facts(gender=0, emotion=5))
    assert not passes(filters, Facts(gender=1, emotion=1))
