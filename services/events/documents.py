"""An event as one document of MongoDB, and everything that must change together with it.

Flat: each column is a field under its own name, null when the event has nothing in it, beside the whole event as JSON
(``payload``), its descriptors, its revision in the feed, and what is to be told of it. ``owner`` is whose the id is. A
deleted event keeps its document with every column null, so that no query of its account finds it and no save that comes
late takes its id; once neither the feed nor the outbox needs it, only BARE is left.
"""

from __future__ import annotations

from typing import Any

from pymongo import IndexModel

from libs.common.storage import revisions
from libs.common.storage.mongo import Collection, Document
from libs.common.wire.estimations import Descriptor
from libs.common.wire.events import Event
from services.events.columns import COLUMNS, Column, Kind
from services.events.model import NOTICES
from services.events.mongo_query import folded
from services.events.ports import Owed

_ANYTHING: dict[Kind, Any] = {Kind.ID: {"$gte": ""}, Kind.TEXT: {"$gte": ""}}
"""Bounds that every value of a kind passes, and null does not: partial indexes know them, unlike "is not null"."""
_FOLDED = [column for column in COLUMNS.values() if column.folded]
_DESCRIPTORS = {"face": "face_descriptor", "body": "body_descriptor"}
_PARTS = ("data", "version", "score")
PARTS_OF_DESCRIPTORS = {f"{kind}_{part}": 1 for kind in _DESCRIPTORS for part in _PARTS}
PENDING = {"saved_ms": {"$gte": 0}}
"""Something is still to be told."""
NOTHING_OWED = dict.fromkeys(("notices", "request_id", "saved_ms", "due_ms", "taken_by"))
EMPTY: Document = {
    **dict.fromkeys(COLUMNS),
    **{folded(column): None for column in _FOLDED},
    "payload": None,
    **dict.fromkeys(PARTS_OF_DESCRIPTORS),
}
"""What a deletion makes of an event."""
BARE: Document = {"account_id": None, "revision": None, "saved_ms": None}
"""What is left of a deleted event in the end, beside its id and its owner. Nothing brings it back."""
NOT_BARE = {name: "" for name in (*EMPTY, "written_ms", *NOTHING_OWED) if name not in BARE}


def _by(name: str, *, whole: bool = False) -> IndexModel:
    """For pages of an account's events by one column; without ``whole``, of those that have something in it."""
    keys = [("account_id", 1), (name, 1), ("create_time", 1), ("event_id", 1)]
    filled = {name: _ANYTHING[COLUMNS[name].kind]}
    return IndexModel(keys) if whole else IndexModel(keys, partialFilterExpression=filled)


EVENTS = Collection(
    "events",
    indexes=(
        IndexModel([("account_id", 1), ("create_time", 1), ("event_id", 1)]),
        IndexModel([("account_id", 1), ("event_id", 1)]),
        _by("handler_id", whole=True),
        _by("source", whole=True),
        _by("tags", whole=True),
        *(_by(name) for name in ("track_id", "external_id", "face_id", "top_similar_object_id")),
        revisions.INDEX,
        IndexModel([("saved_ms", 1)], partialFilterExpression=PENDING),
    ),
)


def document(event: Event) -> Document:
    """The event with nothing owed. Its revision is for whoever writes it to fill in."""
    return {
        "_id": event.event_id,
        "owner": event.account_id,
        **{column.name: _value(column, event) for column in COLUMNS.values()},
        **{folded(column): _folded(column, event) for column in _FOLDED},
        "payload": event.model_dump_json(exclude=set(_DESCRIPTORS.values())),
        **{
            f"{kind}_{part}": getattr(getattr(event, field), part, None)
            for kind, field in _DESCRIPTORS.items()
            for part in _PARTS
        },
        "revision": None,
        "written_ms": None,
        **NOTHING_OWED,
    }


def owing(owed: Owed, due_ms: int) -> Document:
    """Fields of the document that carries what is owed, taken until ``due_ms``."""
    return {
        "notices": NOTICES.dump_json(owed.notices).decode(),
        "request_id": owed.request_id,
        "saved_ms": owed.saved_ms,
        "due_ms": due_ms,
    }


def is_live(found: Document) -> bool:
    """Whether the event was not deleted."""
    return found["account_id"] is not None


def event_of(found: Document) -> Event:
    """The event without its descriptors."""
    return Event.model_validate_json(found["payload"])


def whole_event_of(found: Document) -> Event:
    return event_of(found).model_copy(update={field: _descriptor(kind, found) for kind, field in _DESCRIPTORS.items()})


def searchable(found: Document) -> dict[int, bytes]:
    """The descriptors of an event, by version: those of faces and of bodies never share one."""
    there = (kind for kind in _DESCRIPTORS if found[f"{kind}_data"] is not None)
    return {found[f"{kind}_version"]: found[f"{kind}_data"] for kind in there}


def _descriptor(kind: str, found: Document) -> Descriptor | None:
    parts = {part: found[f"{kind}_{part}"] for part in _PARTS}
    return None if parts["data"] is None else Descriptor(**parts)


def _value(column: Column, event: Event) -> Any:
    values = column.values(event)
    if not values:
        return None
    return list(values) if column.array else values[0]


def _folded(column: Column, event: Event) -> str | None:
    return next((str(value).casefold() for value in column.values(event)), None)


def owed_of(found: Document) -> Owed:
    """What is owed by a document that carries something."""
    return Owed(
        event_id=found["_id"],
        account=found["owner"],
        notices=NOTICES.validate_json(found["notices"]),
        saved_ms=found["saved_ms"],
        request_id=found["request_id"],
    )
