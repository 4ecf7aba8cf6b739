"""The filters of faces and lists as SQL, one row per field. Values always travel as parameters."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from libs.common import clock
from libs.common.errors import Code, MienError
from libs.common.ids import Id
from libs.common.wire.base import Wire

Condition = tuple[str, Callable[[Any], Any]]
"""SQL that names the field as its parameter, and how the field's value becomes that parameter; a list becomes many
parameters, in the place of the braces."""

MAX_TEXTS = 10_000
"""Free texts in one filter; SQLite allows 32,766 parameters."""


def ms(text: Any) -> int:
    """Relative times are read now, at each call."""
    return clock.to_ms(clock.parse(text))


FACE_CONDITIONS: dict[str, Condition] = {
    "user_data": ("instr(face.folded, :user_data) > 0", str.casefold),
    "event_id": ("face.event_id = :event_id", str),
    "list_id": ("face.face_id IN (SELECT face_id FROM list_face WHERE list_id = :list_id)", str),
    "face_ids": ("face.face_id IN (SELECT value FROM json_each(:face_ids))", json.dumps),
    "attribute_ids": (
        "face.face_id IN (SELECT face_id FROM attribute"
        " WHERE attribute_id IN (SELECT value FROM json_each(:attribute_ids)))",
        json.dumps,
    ),
    # not as JSON: in SQLite 3.40 json_each cuts a text off at NUL
    "external_ids": ("face.external_id IN ({})", list),
    "face_id__gte": ("face.face_id >= :face_id__gte", str),
    "face_id__lt": ("face.face_id < :face_id__lt", str),
    "create_time__gte": ("face.create_ms >= :create_time__gte", ms),
    "create_time__lt": ("face.create_ms < :create_time__lt", ms),
}

LIST_CONDITIONS: dict[str, Condition] = {
    "user_data": ("instr(list.user_data, :user_data) > 0", str),
    "user_data__eq": ("list.user_data = :user_data__eq", str),
    "create_time__gte": ("list.create_ms >= :create_time__gte", ms),
    "create_time__lt": ("list.create_ms < :create_time__lt", ms),
    "last_update_time__gte": ("list.update_ms >= :last_update_time__gte", ms),
    "last_update_time__lt": ("list.update_ms < :last_update_time__lt", ms),
    "list_ids": ("list.list_id IN (SELECT value FROM json_each(:list_ids))", json.dumps),
    "list_id__gte": ("list.list_id >= :list_id__gte", str),
    "list_id__lt": ("list.list_id < :list_id__lt", str),
}


def compiled(table: str, account: Id, where: Wire, conditions: dict[str, Condition]) -> tuple[str, dict[str, Any]]:
    """``WHERE`` of the account's rows of ``table`` that pass, with its parameters. Raises TOO_MANY over MAX_TEXTS."""
    clauses, values = [f"{table}.account = :account"], {"account": account}
    given = {name: value for name in conditions if (value := getattr(where, name)) is not None}
    for name, value in given.items():
        sql, parameter = conditions[name]
        many = _numbered(name, parameter(value))
        clauses.append(sql.format(", ".join(f":{one}" for one in many)))
        values |= many
    return f" WHERE {' AND '.join(clauses)}", values


def _numbered(name: str, value: Any) -> dict[str, Any]:
    """The parameters of one field: itself, or one for each text of a list."""
    if not isinstance(value, list):
        return {name: value}
    if len(value) > MAX_TEXTS:
        raise MienError(Code.TOO_MANY, f"{name}: {len(value)} values; a filter may have {MAX_TEXTS}")
    return {f"{name}_{place}": one for place, one in enumerate(value)}
