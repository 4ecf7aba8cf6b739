"""Statistics: what a request asks to count, and how the counts are answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from libs.common import clock
from libs.common.errors import Code, MienError
from libs.common.wire.events import StatsFilter, StatsRequest, StatsResult
from services.events.columns import COLUMNS, Column, Kind, Value
from services.events.filters import Predicate, condition, conjunction

MAX_ROWS = 10_000
"""Groups that one answer may have."""

Row = Sequence[Value | None]


@dataclass(frozen=True)
class Counting:
    """For each combination of values of ``groups``: in how many events each of ``targets`` is not empty.

    An event counts once for each of its values of an array column that is grouped by (each of its tags). An
    empty column is a group of its own. Without groups there is one row, else one for each group that occurs.
    """

    targets: tuple[Column, ...]
    groups: tuple[Column, ...]
    where: Predicate


def counting(request: StatsRequest) -> Counting:
    """Raises BAD_BODY naming the path of an unknown column or a value of the wrong type; TOO_MANY."""
    return Counting(
        targets=tuple(_column(one.column, f"targets.{place}") for place, one in enumerate(request.targets)),
        groups=tuple(_column(one.column, f"group_by.{place}") for place, one in enumerate(request.group_by)),
        where=conjunction([_condition(one, f"filters.{place}") for place, one in enumerate(request.filters)]),
    )


def result(what: Counting, rows: Iterable[Row]) -> StatsResult:
    """Groups first, then counts, in the order of the request."""
    columns = [column.name for column in what.groups] + [f"count({column.name})" for column in what.targets]
    return StatsResult(columns=columns, event_stats=[_rendered(what.groups, row) for row in rows])


def _column(name: str, where: str) -> Column:
    if name not in COLUMNS:
        raise MienError(Code.BAD_BODY, f"{where}.column: {name} is unknown; known are {', '.join(COLUMNS)}")
    return COLUMNS[name]


def _condition(given: StatsFilter, where: str) -> Predicate:
    column = _column(given.column, where)
    try:
        return condition(column, given.operator, given.value)
    except ValueError as wrong:
        raise MienError(Code.BAD_BODY, f"{where}.value: {wrong}") from None


def _rendered(groups: Sequence[Column], row: Row) -> list[Any]:
    times = {place for place, column in enumerate(groups) if column.kind is Kind.TIME}
    return [
        clock.render(clock.from_ms(int(value))) if place in times and value is not None else value
        for place, value in enumerate(row)
    ]
