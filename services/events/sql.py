"""Predicates and counts as SQL. Only names of our own columns get into the text; values travel as parameters.

An array column has a table of its own, ``event_<column>``, one row per event and value, in order of time.
"""
# ruff: noqa: S608  see above

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from libs.common.ids import Id
from libs.common.storage.sqlite import marks
from services.events.columns import Column, Value
from services.events.filters import All, Compare, Contains, Either, Empty, NoneOf, OneOf, Predicate
from services.events.ports import Order
from services.events.stats import Counting

_ORDERS: dict[Order, str] = {
    "newest": "{0}.create_time DESC, {0}.event_id DESC",
    "oldest": "{0}.create_time, {0}.event_id",
    "id": "{0}.event_id",
}
_SYMBOLS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class Sql(NamedTuple):
    text: str
    values: list[Value]


def selection(account: Id, where: Predicate) -> Sql:
    """The condition of a WHERE over ``event``: the account's rows that pass."""
    text, values = _compiled(account, where)
    return Sql(f"event.account_id = ? AND {text}", [account, *values])


def page(account: Id, where: Predicate, order: Order, offset: int, limit: int) -> Sql:
    """The query of the payloads of one page.

    Under a tag it walks that tag's rows in their order of time: neither a tag that is rare nor one that is on
    every event makes it look at more events than it must.
    """
    rest, leading = (where, None) if order == "id" else _led(where)
    condition, values = selection(account, rest)
    if leading is None:
        source, ordered = "event", _ORDERS[order].format("event")
    else:
        words = table(leading.column)
        source, ordered = f"{words} CROSS JOIN event ON event.seq = {words}.seq", _ORDERS[order].format(words)
        condition = f"{words}.account_id = ? AND {words}.value = ? AND {condition}"
        values = [account, *leading.values, *values]
    text = f"SELECT payload FROM {source} WHERE {condition} ORDER BY {ordered} LIMIT ? OFFSET ?"
    return Sql(text, [*values, limit, offset])


def _led(where: Predicate) -> tuple[Predicate, OneOf | None]:
    """Take out a condition that one value of an array column be present; what is left, and that condition."""
    if isinstance(where, All):
        for part in where.parts:
            if isinstance(part, OneOf) and part.column.array and len(part.values) == 1:
                return All(tuple(other for other in where.parts if other is not part)), part
    return where, None


def counts(account: Id, what: Counting, limit: int) -> Sql:
    """The query that answers ``what``."""
    arrays = dict.fromkeys(column for column in what.groups if column.array)
    joins = "".join(f" LEFT JOIN {table(column)} ON {table(column)}.seq = event.seq" for column in arrays)
    keys = [_key(column) for column in what.groups]
    targets = [f"count({_counted(column)})" for column in what.targets]
    grouping = f" GROUP BY {', '.join(keys)} ORDER BY {', '.join(keys)}" if keys else ""
    condition, values = selection(account, what.where)
    text = f"SELECT {', '.join(keys + targets)} FROM event{joins} WHERE {condition}{grouping} LIMIT ?"
    return Sql(text, [*values, limit])


def table(column: Column) -> str:
    """The table of an array column."""
    return f"event_{column.name}"


def folded(column: Column) -> str:
    """The column that holds the case-folded text: SQLite folds ASCII only."""
    return f"{column.name}_folded"


def _compiled(account: Id, predicate: Predicate) -> Sql:
    match predicate:
        case All(parts):
            return _joined(account, " AND ", parts, "1")
        case Either(parts):
            return _joined(account, " OR ", parts, "0")
        case Empty(column):
            return Sql(f"NOT {_exists(column)}" if column.array else f"event.{column.name} IS NULL", [])
        case OneOf(column, values):
            return _test(account, column, f"IN ({marks(values)})", values)
        case NoneOf(column, values):
            text, parameters = _test(account, column, f"IN ({marks(values)})", values)
            present = _exists(column) if column.array else f"event.{column.name} IS NOT NULL"
            return Sql(f"({present} AND NOT {text})", parameters)
        case Compare(column, comparison, value):
            return _test(account, column, f"{_SYMBOLS[comparison]} ?", (value,))
        case Contains(column, text):
            return Sql(f"instr(event.{folded(column)}, ?) > 0", [text])


def _joined(account: Id, word: str, parts: Sequence[Predicate], nothing: str) -> Sql:
    compiled = [_compiled(account, part) for part in parts]
    if not compiled:
        return Sql(nothing, [])
    return Sql(f"({word.join(part.text for part in compiled)})", [one for part in compiled for one in part.values])


def _test(account: Id, column: Column, test: str, values: Sequence[Value]) -> Sql:
    if not column.array:
        return Sql(f"event.{column.name} {test}", [*values])
    rows = f"SELECT seq FROM {table(column)} WHERE account_id = ? AND value {test}"
    return Sql(f"event.seq IN ({rows})", [account, *values])


def _exists(column: Column) -> str:
    return f"EXISTS (SELECT 1 FROM {table(column)} AS one WHERE one.seq = event.seq)"


def _key(column: Column) -> str:
    return f"{table(column)}.value" if column.array else f"event.{column.name}"


def _counted(column: Column) -> str:
    """An expression that is null when the column is empty, as ``count`` wants it."""
    return f"nullif({_exists(column)}, 0)" if column.array else f"event.{column.name}"
