"""Filters as data: rows of a table, read into a predicate.

A :class:`Predicate` has two meanings that a property test keeps equal: :func:`evaluate` on an event, and the
condition that a store compiles it to (``sql.py``). A further filter of the contract is one row of FILTERS.
"""

from __future__ import annotations

import operator as py
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from libs.common.errors import Code, MienError
from libs.common.wire.events import Event, EventFilter
from services.events.columns import COLUMNS, Column, Value

MAX_VALUES = 10_000
"""Values that all the lists of one filter may hold together."""

Comparison = Literal["gt", "gte", "lt", "lte"]
Operator = Comparison | Literal["eq", "neq", "in", "nin", "contains"]


@dataclass(frozen=True)
class All:
    """Every part holds; without parts: always."""

    parts: tuple[Predicate, ...]


@dataclass(frozen=True)
class Either:
    """At least one part holds."""

    parts: tuple[Predicate, ...]


@dataclass(frozen=True)
class Empty:
    """The event has nothing in the column."""

    column: Column


@dataclass(frozen=True)
class OneOf:
    """A value of the column is among ``values``; never if those are none."""

    column: Column
    values: tuple[Value, ...]


@dataclass(frozen=True)
class NoneOf:
    """The column is not empty, and none of its values is among ``values``."""

    column: Column
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Compare:
    """A value of the column is greater or less. Text is ordered by code points."""

    column: Column
    comparison: Comparison
    value: Value


@dataclass(frozen=True)
class Contains:
    """A value of the column, case-folded, contains ``text``, which is case-folded."""

    column: Column
    text: str


Predicate: TypeAlias = All | Either | Empty | OneOf | NoneOf | Compare | Contains

COMPARISONS = {"gt": py.gt, "gte": py.ge, "lt": py.lt, "lte": py.le}


def evaluate(predicate: Predicate, event: Event) -> bool:
    """Whether the event passes."""
    match predicate:
        case All(parts):
            return all(evaluate(part, event) for part in parts)
        case Either(parts):
            return any(evaluate(part, event) for part in parts)
        case Empty(column):
            return not column.values(event)
        case OneOf(column, values):
            return any(found in values for found in column.values(event))
        case NoneOf(column, values):
            present = column.values(event)
            return bool(present) and not any(found in values for found in present)
        case Compare(column, comparison, value):
            return any(COMPARISONS[comparison](found, value) for found in column.values(event))
        case Contains(column, text):
            return any(text in str(found).casefold() for found in column.values(event))


@dataclass(frozen=True)
class Filter:
    """One filter of GET /events: its name on the wire, the column it looks at, and how."""

    name: str
    column: str
    operator: Operator


FILTERS = (
    Filter("create_time__gte", "create_time", "gte"),
    Filter("create_time__lt", "create_time", "lt"),
    Filter("end_time__gte", "end_time", "gte"),
    Filter("end_time__lt", "end_time", "lt"),
    Filter("event_ids", "event_id", "in"),
    Filter("event_id__gte", "event_id", "gte"),
    Filter("event_id__lt", "event_id", "lt"),
    Filter("handler_ids", "handler_id", "in"),
    Filter("face_ids", "face_id", "in"),
    Filter("external_ids", "external_id", "in"),
    Filter("user_data", "user_data", "contains"),
    Filter("sources", "source", "in"),
    Filter("track_ids", "track_id", "in"),
    Filter("stream_ids", "stream_id", "in"),
    Filter("tags", "tags", "in"),
    Filter("top_matching_candidates_label", "top_matching_candidates_label", "eq"),
    Filter("top_similar_object_ids", "top_similar_object_id", "in"),
    Filter("top_similar_external_ids", "top_similar_external_id", "in"),
    Filter("top_similar_object_similarity__gte", "top_similar_object_similarity", "gte"),
    Filter("top_similar_object_similarity__lt", "top_similar_object_similarity", "lt"),
    Filter("gender", "gender", "eq"),
    Filter("age__gte", "age", "gte"),
    Filter("age__lt", "age", "lt"),
    Filter("emotions", "emotion", "in"),
    Filter("masks", "mask", "in"),
    Filter("ethnic_groups", "ethnic_group", "in"),
    Filter("liveness", "liveness", "in"),
    Filter("cities", "city", "in"),
    Filter("areas", "area", "in"),
    Filter("districts", "district", "in"),
    Filter("streets", "street", "in"),
    Filter("house_numbers", "house_number", "in"),
    Filter("deepfake", "deepfake", "in"),
)


def filtered(where: EventFilter) -> Predicate:
    """The predicate of the filters that are given; relative times are read now. Raises TOO_MANY."""
    given = ((row, getattr(where, row.name)) for row in FILTERS)
    parts = (condition(COLUMNS[row.column], row.operator, value) for row, value in given if value is not None)
    return conjunction(list(parts))


def condition(column: Column, operator: Operator, given: Any) -> Predicate:
    """The test ``column operator given``. Raises ValueError that says what is wrong with ``given``.

    Null, in a list or alone, is "column is empty" for ``eq`` and ``in``; ``neq`` and ``nin`` never match an
    empty column.
    """
    match operator:
        case "eq":
            return _one_of(column, [given])
        case "in":
            return _one_of(column, given)
        case "neq":
            return NoneOf(column, _present(column, [given]))
        case "nin":
            return NoneOf(column, _present(column, given))
        case "contains":
            return Contains(column, str(column.read(given)).casefold())
        case _:
            return Compare(column, operator, column.read(given))


def _one_of(column: Column, given: Any) -> Predicate:
    among = OneOf(column, _present(column, given))
    if not any(column.is_null(one) for one in given):
        return among
    return Either((Empty(column), among)) if among.values else Empty(column)


def _present(column: Column, given: Any) -> tuple[Value, ...]:
    if not isinstance(given, list):
        raise ValueError("should be a list")
    return tuple(column.read(one) for one in given if not column.is_null(one))


def conjunction(parts: list[Predicate]) -> All:
    """Every part. Raises TOO_MANY when they hold more than MAX_VALUES values."""
    whole = All(tuple(parts))
    if (size := _size(whole)) > MAX_VALUES:
        raise MienError(Code.TOO_MANY, f"the filters hold {size} values; {MAX_VALUES} are allowed")
    return whole


def _size(predicate: Predicate) -> int:
    match predicate:
        case All(parts) | Either(parts):
            return sum(_size(part) for part in parts)
        case OneOf(_, values) | NoneOf(_, values):
            return len(values)
        case _:
            return 1
