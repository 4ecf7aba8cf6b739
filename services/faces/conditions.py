"""The filters of faces and lists as SQL, one row per field. Values always travel as parameters."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from libs.common import clock
from libs.common.wire.base import Wire

Condition = tuple[str, Callable[[Any], Any]]
"""SQL that names the field as its parameter, and how the field's value becomes that parameter."""


def _ms(text: Any) -> int:
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
    "external_ids": ("face.external_id IN (SELECT value FROM json_each(:external_ids))", json.dumps),
    "face_id__gte": ("face.face_id >= :face_id__gte", str),
    "face_id__lt": ("face.face_id < :face_id__lt", str),
    "create_time__gte": ("face.create_ms >= :create_time__gte", _ms),
    "create_time__lt": ("face.create_ms < :create_time__lt", _ms),
}

LIST_CONDITIONS: dict[str, Condition] = {
    "user_data": ("instr(list.user_data, :user_data) > 0", str),
    "user_data__eq": ("list.user_data = :user_data__eq", str),
    "create_time__gte": ("list.create_ms >= :create_time__gte", _ms),
    "create_time__lt": ("list.create_ms < :create_time__lt", _ms),
    "last_update_time__gte": ("list.update_ms >= :last_update_time__gte", _ms),
    "last_update_time__lt": ("list.update_ms < :last_update_time__lt", _ms),
    "list_ids": ("list.list_id IN (SELECT value FROM json_each(:list_ids))", json.dumps),
    "list_id__gte": ("list.list_id >= :list_id__gte", str),
    "list_id__lt": ("list.list_id < :list_id__lt", str),
}


def compiled(table: str, account: str, where: Wire, conditions: dict[str, Condition]) -> tuple[str, dict[str, Any]]:
    """``WHERE`` of the account's rows of ``table`` that pass, with its parameters."""
    given = {name: value for name in conditions if (value := getattr(where, name)) is not None}
    clauses = [f"{table}.account = :account", *(conditions[name][0] for name in given)]
    values = {name: conditions[name][1](value) for name, value in given.items()}
    return f" WHERE {' AND '.join(clauses)}", {"account": account, **values}
