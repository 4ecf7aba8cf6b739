"""Events in one SQLite file: flat columns to search by, the whole event as JSON, descriptors apart; and the outbox.

``change`` is the revision log of the feed: one row per event that ever had a face descriptor, holding the
revision of its latest change. A deleted event keeps its row there, or one in ``deleted``: its id is never used again,
neither by another account nor by a save that the bus delivers late. Only the writer thread makes revisions, inside the
transaction of the change, so their order is the order of commits.
"""
# ruff: noqa: S608  only constants of this package are put into SQL; values travel as parameters

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from datetime import datetime

from libs.common import clock
from libs.common.errors import Code, MienError
from libs.common.ids import Id
from libs.common.storage.sqlite import IN_JSON, PARAMETERS, Database, insert
from libs.common.wire.base import chunks
from libs.common.wire.estimations import Descriptor
from libs.common.wire.events import Event
from libs.common.wire.gallery import GalleryPage, GalleryRow, Gap
from services.events import outbox_sqlite
from services.events.columns import COLUMNS, EVENT_ID, Column, Kind, Value
from services.events.filters import OneOf, Predicate
from services.events.ports import Order, Owed
from services.events.sql import counts, folded, page, selection, table
from services.events.stats import Counting, Row

_SQL_TYPES = {Kind.ID: "TEXT", Kind.TEXT: "TEXT", Kind.INTEGER: "INTEGER", Kind.NUMBER: "REAL", Kind.TIME: "INTEGER"}
_FLAT = [column for column in COLUMNS.values() if not column.array]
_ARRAYS = [column for column in COLUMNS.values() if column.array]
_FOLDED = [column for column in COLUMNS.values() if column.folded]


def _event_table() -> str:
    columns = [f"{column.name} {_SQL_TYPES[column.kind]}" for column in _FLAT]
    columns += [f"{folded(column)} TEXT" for column in _FOLDED]
    return f"""
CREATE TABLE IF NOT EXISTS event (
    seq INTEGER PRIMARY KEY,
    {", ".join(columns)},
    payload TEXT NOT NULL,  -- JSON: the whole event but its descriptors
    UNIQUE (event_id)
);
"""


def _array_table(column: Column) -> str:
    return f"""
CREATE TABLE IF NOT EXISTS {table(column)} (
    account_id TEXT NOT NULL,
    value {_SQL_TYPES[column.kind]} NOT NULL,
    create_time INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    seq INTEGER NOT NULL REFERENCES event ON DELETE CASCADE,
    PRIMARY KEY (account_id, value, create_time, event_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS {table(column)}_of_event ON {table(column)} (seq, value);
"""


SCHEMA = (
    _event_table()
    + "".join(_array_table(column) for column in _ARRAYS)
    + """
CREATE INDEX IF NOT EXISTS event_by_time ON event (account_id, create_time, event_id);
CREATE INDEX IF NOT EXISTS event_by_id ON event (account_id, event_id);
CREATE INDEX IF NOT EXISTS event_by_handler ON event (account_id, handler_id, create_time, event_id);
CREATE INDEX IF NOT EXISTS event_by_source ON event (account_id, source, create_time, event_id);
CREATE INDEX IF NOT EXISTS event_by_track ON event (account_id, track_id, create_time, event_id)
    WHERE track_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS event_by_external ON event (account_id, external_id, create_time, event_id)
    WHERE external_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS event_by_face ON event (account_id, face_id, create_time, event_id)
    WHERE face_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS event_by_match ON event (account_id, top_similar_object_id, create_time, event_id)
    WHERE top_similar_object_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS descriptor (
    seq INTEGER NOT NULL REFERENCES event ON DELETE CASCADE,
    kind TEXT NOT NULL,  -- face, body
    version INTEGER NOT NULL,
    data BLOB NOT NULL,
    score REAL,
    PRIMARY KEY (seq, kind)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS change (
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS deleted (
    event_id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL
) WITHOUT ROWID;
"""
    + outbox_sqlite.SCHEMA
)

_DESCRIPTORS = {"face": "face_descriptor", "body": "body_descriptor"}
_INSERTED = ("seq", "payload", *(column.name for column in _FLAT), *(folded(column) for column in _FOLDED))
_USED = " UNION ".join(
    f"SELECT event_id, account_id FROM {each} WHERE event_id IN (SELECT value FROM json_each(:ids))"
    for each in ("event", "change", "deleted")
)
_BAR = f"""
INSERT INTO deleted SELECT DISTINCT value, :account FROM json_each(:ids)
WHERE value NOT IN (SELECT event_id FROM ({_USED}))
"""


class SqliteEventStore:
    """Satisfies :class:`services.events.ports.EventStore`; ``database`` has been opened with SCHEMA."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, account: Id, events: list[Event], now: datetime, owed: Owed | None = None) -> bool:
        return await self._database.write(lambda db: _add(db, account, events, now, owed))

    async def delete(self, account: Id, event_ids: list[Id]) -> None:
        await self._database.write(lambda db: _delete(db, account, event_ids))

    async def find(self, account: Id, where: Predicate, order: Order, offset: int, limit: int) -> list[Event]:
        sql, values = page(account, where, order, offset, limit)
        return await self._database.read(lambda db: [_event(row) for row in db.execute(sql, values)])

    async def select(self, account: Id, where: Predicate) -> list[Id]:
        condition, values = selection(account, where)
        # the plus: reading the whole account in order of ids costs more than sorting what passes
        sql = f"SELECT event_id FROM event WHERE {condition} ORDER BY +event_id"
        return await self._database.read(lambda db: [row[0] for row in db.execute(sql, values)])

    async def with_descriptors(self, account: Id, event_ids: list[Id]) -> list[Event]:
        return await self._database.read(lambda db: _with_descriptors(db, account, event_ids))

    async def count(self, account: Id, what: Counting, limit: int) -> list[Row]:
        sql, values = counts(account, what, limit)
        return await self._database.read(lambda db: [tuple(row) for row in db.execute(sql, values)])

    async def changes(self, after: int, limit: int, late: list[Gap]) -> GalleryPage:
        return await self._database.read(lambda db: _changes(db, after, limit))


def _event(row: sqlite3.Row) -> Event:
    return Event.model_validate_json(row["payload"])


# Writing


def _add(db: sqlite3.Connection, account: Id, events: list[Event], now: datetime, owed: Owed | None) -> bool:
    event_ids = [event.event_id for event in events]
    used = _used(db, account, event_ids)
    new = [event.model_copy(update={"insert_time": now}) for event in events if event.event_id not in used]
    _insert(db, new)
    if owed is None or event_ids[-1] in used:
        return False
    outbox_sqlite.put(db, owed)
    return True


def _used(db: sqlite3.Connection, account: Id, event_ids: list[Id]) -> set[Id]:
    """Those that are stored or deleted.

    Raises REQUEST_CONFLICT for another account's. An id stays with the account that used it first, also after deletion:
    the feed names events by id alone.
    """
    owners: dict[Id, Id] = dict(db.execute(_USED, {"ids": json.dumps(event_ids)}).fetchall())
    if taken := sorted(event_id for event_id, owner in owners.items() if owner != account):
        raise MienError(Code.REQUEST_CONFLICT, f"events {', '.join(taken)}: the id is in use")
    return set(owners)


def _insert(db: sqlite3.Connection, events: list[Event]) -> None:
    """Events whose ids are new, each after the one before."""
    start = db.execute("SELECT coalesce(max(seq), 0) + 1 FROM event").fetchone()[0]
    numbered = list(enumerate(events, start))
    insert(db, "event", _INSERTED, [(seq, *_row(event)) for seq, event in numbered])
    for column in _ARRAYS:
        rows = [
            (event.account_id, value, clock.to_ms(event.create_time), event.event_id, seq)
            for seq, event in numbered
            for value in column.values(event)
        ]
        insert(db, table(column), ("account_id", "value", "create_time", "event_id", "seq"), rows)
    described = [
        (seq, event, kind, descriptor)
        for seq, event in numbered
        for kind, field in _DESCRIPTORS.items()
        if (descriptor := getattr(event, field)) is not None
    ]
    rows = [(seq, kind, one.version, one.data, one.score) for seq, _, kind, one in described]
    insert(db, "descriptor", ("seq", "kind", "version", "data", "score"), rows)
    _revise(db, dict.fromkeys((event.event_id, event.account_id) for _, event, _, _ in described))


def _row(event: Event) -> list[Value | None]:
    """The values of ``_INSERTED`` after ``seq``."""
    payload = event.model_dump_json(exclude=set(_DESCRIPTORS.values()))
    flat = [next(iter(column.values(event)), None) for column in _FLAT]
    texts = [next((str(value).casefold() for value in column.values(event)), None) for column in _FOLDED]
    return [payload, *flat, *texts]


def _delete(db: sqlite3.Connection, account: Id, event_ids: list[Id]) -> None:
    """Tags and descriptors go with their event (ON DELETE CASCADE)."""
    ids = json.dumps(event_ids)
    known = db.execute(
        "SELECT DISTINCT event_id FROM event JOIN descriptor USING (seq)"
        f" WHERE account_id = ? AND event_id {IN_JSON} ORDER BY event_id",
        (account, ids),
    ).fetchall()
    db.execute(f"DELETE FROM event WHERE account_id = ? AND event_id {IN_JSON}", (account, ids))
    _revise(db, [(row["event_id"], account) for row in known])
    db.execute(_BAR, {"ids": ids, "account": account})


# Descriptors and the revision log


def _with_descriptors(db: sqlite3.Connection, account: Id, event_ids: list[Id]) -> list[Event]:
    found: list[Event] = []
    for some in chunks(sorted(set(event_ids)), PARAMETERS):
        condition, values = selection(account, OneOf(EVENT_ID, tuple(some)))
        rows = db.execute(f"SELECT seq, payload FROM event WHERE {condition} ORDER BY event_id", values).fetchall()
        stored = _descriptors(db, [row["seq"] for row in rows])
        found += [_event(row).model_copy(update=stored.get(row["seq"], {})) for row in rows]
    return found


def _descriptors(db: sqlite3.Connection, seqs: list[int]) -> dict[int, dict[str, Descriptor]]:
    """The descriptors of each event that has any, by the event's field."""
    found: dict[int, dict[str, Descriptor]] = {}
    for row in db.execute(f"SELECT * FROM descriptor WHERE seq {IN_JSON}", (json.dumps(seqs),)):
        descriptor = Descriptor(version=row["version"], data=row["data"], score=row["score"])
        found.setdefault(row["seq"], {})[_DESCRIPTORS[row["kind"]]] = descriptor
    return found


def _revise(db: sqlite3.Connection, changed: Iterable[tuple[str, str]]) -> None:
    """Give each event, by its id and account, the next revision. REPLACE drops the older row; AUTOINCREMENT never
    gives a number twice."""
    db.executemany("INSERT OR REPLACE INTO change (event_id, account_id) VALUES (?, ?)", changed)


def _changes(db: sqlite3.Connection, after: int, limit: int) -> GalleryPage:
    found = db.execute(
        "SELECT revision, event_id, change.account_id, seq FROM change LEFT JOIN event USING (event_id)"
        " WHERE revision > ? ORDER BY revision LIMIT ?",
        (after, limit + 1),
    ).fetchall()
    rows = found[:limit]
    if not rows:
        newest = db.execute("SELECT coalesce(max(revision), 0) FROM change").fetchone()[0]
        return GalleryPage(revision=newest, rows=[], more=False)
    stored = _searchable(db, [row["seq"] for row in rows])
    changes = [_change(row, stored.get(row["seq"], {})) for row in rows]
    return GalleryPage(revision=rows[-1]["revision"], rows=changes, more=len(found) > limit)


def _searchable(db: sqlite3.Connection, seqs: list[int | None]) -> dict[int, dict[int, bytes]]:
    """The descriptors of each event by version: those of faces and of bodies never share one."""
    found: dict[int, dict[int, bytes]] = {}
    sql = f"SELECT seq, version, data FROM descriptor WHERE seq {IN_JSON}"
    for row in db.execute(sql, (json.dumps([seq for seq in seqs if seq is not None]),)):
        found.setdefault(row["seq"], {})[row["version"]] = row["data"]
    return found


def _change(row: sqlite3.Row, descriptors: dict[int, bytes]) -> GalleryRow:
    return GalleryRow.model_construct(  # it was valid when it was stored; a page without checking is a third cheaper
        object_id=row["event_id"],
        account_id=row["account_id"],
        deleted=not descriptors,
        descriptors=descriptors,
    )
