"""Predicates, orders and counts for MongoDB, in operators that mean the same everywhere (docs/mongo.md).

Every column is a field under its own name, null when the event has nothing in it; an array column holds an array of
scalars, or null.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from libs.common.storage.mongo import Condition, Document, literally
from services.events.columns import EVENT_ID, Column, Kind
from services.events.filters import All, Compare, Contains, Either, Empty, NoneOf, OneOf, Predicate
from services.events.ports import Order
from services.events.stats import Counting

ORDERS: dict[Order, list[tuple[str, int]]] = {
    "newest": [("create_time", -1), ("event_id", -1)],
    "oldest": [("create_time", 1), ("event_id", 1)],
    "id": [("event_id", 1)],
}
NEVER: Condition = {"_id": {"$in": []}}


def selection(where: Predicate) -> Condition:
    """The documents that pass. Says nothing of the account at the top, which is for the caller to add."""
    condition = _compiled(where)
    return {"$and": [condition]} if "account_id" in condition else condition


def counts(matching: Condition, what: Counting, limit: int) -> list[Document]:
    """A pipeline that answers ``what`` about the documents that match: one document a row, ``g0``... for the groups and
    ``c0``... for the counts. Without groups there may be no row."""
    each = {column.name: f"each_{column.name}" for column in what.groups if column.array}
    unwound = [
        {"$unwind": {"path": f"${copy}", "preserveNullAndEmptyArrays": True}} for copy in dict.fromkeys(each.values())
    ]
    copies = [{"$addFields": {copy: f"${name}" for name, copy in each.items()}}] if each else []
    fields = [f"${each.get(column.name, column.name)}" for column in what.groups]
    group: Document = {"_id": _key(list(dict(zip(fields, what.groups, strict=True)).items()))}
    group |= {f"g{place}": {"$first": field} for place, field in enumerate(fields)}
    group |= {f"c{place}": {"$sum": _if_null(f"${one.name}", 0, 1)} for place, one in enumerate(what.targets)}
    order = {f"g{place}": 1 for place in range(len(fields))}
    sorting = [{"$sort": order}] if order else []
    return [{"$match": matching}, *copies, *unwound, {"$group": group}, *sorting, {"$limit": limit}]


def folded(column: Column) -> str:
    """The field that holds the case-folded text."""
    return f"{column.name}_folded"


def _compiled(predicate: Predicate) -> Condition:
    match predicate:
        case All(parts):
            return _joined([_compiled(part) for part in parts])
        case Either(parts):
            return {"$or": [_compiled(part) for part in parts]} if parts else NEVER
        case Empty(column):
            return {column.name: {"$in": [None]}}
        case OneOf(column, values) if column is EVENT_ID:
            return {"_id": {"$in": list(values)}}
        case OneOf(column, values):
            return {column.name: {"$in": list(values)}} if values else NEVER
        case NoneOf(column, values):
            return {column.name: {"$nin": [None, *values]}}
        case Compare(column, comparison, value):
            test = {f"${comparison}": value}
            return {column.name: {"$elemMatch": test} if column.array else test}
        case Contains(column, text):
            return {folded(column): {"$regex": literally(text)}}


def _joined(conditions: Sequence[Condition]) -> Condition:
    """Every one of them, in one level as far as that can be said: the wire emulator scans under ``$and``."""
    joined: Document = {}
    others: list[Condition] = []
    for field, test in (item for condition in conditions for item in condition.items()):
        if field not in joined:
            joined[field] = test
        elif not field.startswith("$") and not joined[field].keys() & test.keys():
            joined[field] = {**joined[field], **test}
        else:
            others.append({field: test})
    return {"$and": [joined, *others]} if others else joined


def _key(groups: Sequence[tuple[str, Column]]) -> Any:
    """One scalar that differs when any group's value does; what it is made of is read from elsewhere.

    Of several groups it is a text in which each value stands behind its length.
    """
    if len(groups) < 2:
        return groups[0][0] if groups else None
    return {"$concat": [_part(field, column) for field, column in groups]}


def _part(field: str, column: Column) -> Document:
    if column.kind not in (Kind.ID, Kind.TEXT):
        return _if_null(field, "-;", {"$concat": [{"$toString": field}, ";"]})
    text = {"$ifNull": [field, ""]}  # both branches of a condition may be computed
    return _if_null(field, "-;", {"$concat": [{"$toString": {"$strLenCP": text}}, ":", text, ";"]})


def _if_null(field: str, then: Any, otherwise: Any) -> Document:
    return {"$cond": [{"$eq": [field, None]}, then, otherwise]}
