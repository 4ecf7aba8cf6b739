"""The filters of faces and lists as MongoDB conditions, one row per field. Operators are those that mean the same on
every server (docs/decisions/004): an element of an array is asked for by ``$in``, never by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from libs.common.errors import Code, MienError
from libs.common.storage.mongo import Document, literally
from libs.common.wire.base import Wire
from services.faces.conditions import MAX_TEXTS, ms

Condition = tuple[str, str, Callable[[Any], Any]]
"""Field of the document, operator, and how the filter's value becomes the operator's."""

MAX_IDS = 100_000
"""Ids in one filter; a query may have 16 MiB."""


def _texts(values: list[str]) -> list[str]:
    return _bounded(values, MAX_TEXTS)


def _ids(values: list[str]) -> list[str]:
    return _bounded(values, MAX_IDS)


def _bounded(values: list[str], most: int) -> list[str]:
    if len(values) > most:
        raise MienError(Code.TOO_MANY, f"{len(values)} values; a filter may have {most}")
    return values


FACE_CONDITIONS: dict[str, Condition] = {
    "user_data": ("folded", "$regex", lambda text: literally(text.casefold())),
    "event_id": ("event_id", "$eq", str),
    "list_id": ("lists", "$in", lambda list_id: [list_id]),
    "face_ids": ("_id", "$in", _ids),
    "attribute_ids": ("attribute_id", "$in", _ids),
    "external_ids": ("external_id", "$in", _texts),
    "face_id__gte": ("face_id", "$gte", str),
    "face_id__lt": ("face_id", "$lt", str),
    "create_time__gte": ("create_ms", "$gte", ms),
    "create_time__lt": ("create_ms", "$lt", ms),
}

LIST_CONDITIONS: dict[str, Condition] = {
    "user_data": ("user_data", "$regex", literally),
    "user_data__eq": ("user_data", "$eq", str),
    "create_time__gte": ("create_ms", "$gte", ms),
    "create_time__lt": ("create_ms", "$lt", ms),
    "last_update_time__gte": ("update_ms", "$gte", ms),
    "last_update_time__lt": ("update_ms", "$lt", ms),
    "list_ids": ("list_id", "$in", _ids),
    "list_id__gte": ("list_id", "$gte", str),
    "list_id__lt": ("list_id", "$lt", str),
}


def compiled(where: Wire, conditions: dict[str, Condition]) -> Document:
    """What a document that passes fulfils. Raises TOO_MANY naming the field with over MAX_IDS or MAX_TEXTS values."""
    document: defaultdict[str, Document] = defaultdict(dict)
    for name, (field, operator, convert) in conditions.items():
        value = getattr(where, name)
        if value is None:
            continue
        try:
            document[field][operator] = convert(value)
        except MienError as fault:
            raise MienError(fault.code, f"{name}: {fault.detail}") from None
    return dict(document)
