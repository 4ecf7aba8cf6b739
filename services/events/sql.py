"""Predicates and counts as SQL. Only names of our own columns get into the text; values travel as parameters.

An array column has a table of its own, ``event_<column>``, one row per event and value.
"""
# ruff: noqa: S608  see above

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from libs.common.storage.sqlite import marks
from services.events.columns import Column, Value
from services.events.filters import All, Compare, Contains, Either, Empty, NoneOf, OneOf, Predicate
from services.events.stats import Counting

_SYMBOLS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class Sql(NamedTuple):
    text: str
    values: list[Value]


def selection(account: str, where: Predicate) -> Sql:
    """The condition of a WHERE over ``event``: the account's rows that pass."""
    text, values = _compiled(account, where)
    return Sql(f"event.account_id = ? AND {text}", [account, *values])


def counts(account: str, what: Counting, limit: int) -> Sql:
    """The query that answers ``what``."""
    arrays = dict.fromkeys(column for column in what.groups if column.array)
    joins = "".join(f" LEFT JOIN {table(column)} ON {table(column)}.seq = event.seq" for column in arrays)
    keys = [_key(column) for column in what.groups]
    targets = [f"count({_key(column) if column in arrays else _counted(column)})" for column in what.targets]
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


def _compiled(account: str, predicate: Predicate) -> Sql:
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


def _joined(account: str, word: str, parts: Sequence[Predicate], nothing: str) -> Sql:
    compiled = [_compiled(account, part) for part in parts]
    if not compiled:
        return Sql(nothing, [])
    return Sql(f"({word.join(part.text for part in compiled)})", [one for part in compiled for one in part.values])


def _test(account: str, column: Column, test: str, values: Sequence[Value]) -> Sql:
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
