"""The filter table is whole, and a predicate says about an event what the contract says about its filter."""

from __future__ import annotations

from typing import Any

import pytest

from libs.common.errors import Code, MienError
from libs.common.ids import new_id
from libs.common.wire.events import Event, EventFilter, StatsFilter, StatsGroup, StatsRequest, StatsTarget
from services.events import stats
from services.events.columns import COLUMNS
from services.events.filters import FILTERS, MAX_VALUES, All, Operator, condition, evaluate, filtered
from tests.contract.event_stores import NOON, event

ACCOUNT = new_id()


def test_every_filter_of_the_wire_has_its_row() -> None:
    assert sorted(row.name for row in FILTERS) == sorted(EventFilter.model_fields)
    assert {row.column for row in FILTERS} <= set(COLUMNS)


def test_without_conditions_everything_passes() -> None:
    assert filtered(EventFilter()) == All(())
    assert evaluate(filtered(EventFilter()), event(ACCOUNT))


def passes(found: Event, column: str, operator: Operator, value: Any) -> bool:
    return evaluate(condition(COLUMNS[column], operator, value), found)


@pytest.mark.parametrize(
    ("operator", "value", "of_seven", "of_empty"),
    [
        ("eq", 7, True, False),
        ("eq", None, False, True),
        ("eq", "null", False, True),
        ("in", [1, 7], True, False),
        ("in", [1, "null"], False, True),
        ("in", [7, None], True, True),
        ("in", [], False, False),
        ("neq", 1, True, False),
        ("neq", 7, False, False),
        ("neq", None, True, False),
        ("nin", [1, None], True, False),
        ("nin", [7, None], False, False),
        ("nin", [], True, False),
        ("gte", 7, True, False),
        ("gt", 7, False, False),
        ("lte", 7, True, False),
        ("lt", 7, False, False),
    ],
)
def test_null_means_an_empty_column_and_negation_never_matches_one(
    operator: Operator, value: Any, of_seven: bool, of_empty: bool
) -> None:
    assert passes(event(ACCOUNT, emotion=7), "emotion", operator, value) is of_seven
    assert passes(event(ACCOUNT), "emotion", operator, value) is of_empty


def test_any_of_several_tags_will_do_but_negation_is_about_all_of_them() -> None:
    tagged = event(ACCOUNT, tags=["a", "b"])
    assert passes(tagged, "tags", "in", ["b", "c"])
    assert passes(tagged, "tags", "nin", ["c"])
    assert not passes(tagged, "tags", "nin", ["b", "c"])
    assert not passes(event(ACCOUNT), "tags", "nin", ["c"])


def test_null_is_a_word_like_any_other_where_the_contract_does_not_make_it_a_literal() -> None:
    named = event(ACCOUNT, external_id="null", source="null")
    assert evaluate(filtered(EventFilter(external_ids=["null"])), named)
    assert not evaluate(filtered(EventFilter(sources=["null"])), named)


def test_the_values_of_a_filter_are_counted_together() -> None:
    half = [str(number) for number in range(MAX_VALUES // 2)]
    filtered(EventFilter(sources=half, tags=half))
    with pytest.raises(MienError) as refusal:
        filtered(EventFilter(sources=half, tags=half, gender=0))
    assert refusal.value.code is Code.TOO_MANY


@pytest.mark.parametrize(
    ("filters", "named"),
    [
        ([{"column": "beard", "value": 1}], "filters.0.column: beard"),
        ([{"column": "age", "value": 1}, {"column": "age", "value": "1"}], "filters.1.value"),
        ([{"column": "age", "value": True}], "filters.0.value"),
        ([{"column": "age", "value": 2**63}], "filters.0.value"),
        ([{"column": "age", "operator": "gt", "value": None}], "filters.0.value"),
        ([{"column": "age", "operator": "in", "value": 1}], "filters.0.value: should be a list"),
        ([{"column": "age", "operator": "nin", "value": [1, {}]}], "filters.0.value"),
        ([{"column": "source", "value": ["x"]}], "filters.0.value"),
        ([{"column": "handler_id", "value": "x"}], "filters.0.value: is not a UUID"),
        ([{"column": "create_time", "operator": "gte", "value": "noon"}], "filters.0.value: should be an RFC 3339"),
        ([{"column": "top_similar_object_similarity", "value": float("nan")}], "filters.0.value"),
    ],
)
def test_a_wrong_filter_of_statistics_is_named_by_its_path(filters: list[dict[str, Any]], named: str) -> None:
    request = StatsRequest(
        targets=[StatsTarget(column="event_id")], filters=[StatsFilter(**given) for given in filters]
    )
    with pytest.raises(MienError) as refusal:
        stats.counting(request)
    assert refusal.value.code is Code.BAD_BODY
    assert refusal.value.detail.startswith(named)


def test_times_among_the_groups_are_answered_as_times() -> None:
    request = StatsRequest(
        targets=[StatsTarget(column="age")], group_by=[StatsGroup(column="create_time"), StatsGroup(column="gender")]
    )
    moment = COLUMNS["create_time"].values(event(ACCOUNT, create_time=NOON))[0]
    answer = stats.result(stats.counting(request), [(moment, None, 3), (None, 1, 4)])
    assert answer.columns == ["create_time", "gender", "count(age)"]
    assert answer.event_stats == [["2024-05-04T12:00:00.000Z", None, 3], [None, 1, 4]]
