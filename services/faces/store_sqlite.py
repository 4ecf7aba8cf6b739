"""Faces, attributes and lists in one SQLite file.

``change`` is the revision log: one row per face that ever was, holding the revision of its latest change; a
face that is no more keeps its row, which also keeps its id from passing to another account. Only the writer
thread makes revisions, and inside the transaction of the change, so their order is the order of commits.
"""
# ruff: noqa: S608  only constants of this package are put into SQL; values travel as parameters

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import msgpack

from libs.common import clock
from libs.common.errors import Code, MienError
from libs.common.storage.sqlite import Database
from libs.common.wire.base import Page
from libs.common.wire.faces import Attribute, AttributeData, DescriptorDraft, Face, FaceFilter, FaceList, ListFilter
from libs.common.wire.gallery import GalleryPage, GalleryRow
from services.faces.conditions import FACE_CONDITIONS, LIST_CONDITIONS, compiled
from services.faces.model import FaceRecord
from services.faces.ports import Edit

SCHEMA = """
CREATE TABLE IF NOT EXISTS face (
    face_id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    create_ms INTEGER NOT NULL,
    event_id TEXT,
    user_data TEXT NOT NULL,
    folded TEXT NOT NULL,  -- user_data in case-folded form: LIKE folds ASCII only
    external_id TEXT,
    avatar TEXT
);
CREATE INDEX IF NOT EXISTS face_newest ON face (account, create_ms DESC, face_id);
CREATE INDEX IF NOT EXISTS face_ordered ON face (account, face_id);
CREATE INDEX IF NOT EXISTS face_external ON face (account, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS face_event ON face (account, event_id) WHERE event_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS attribute (
    face_id TEXT PRIMARY KEY REFERENCES face ON DELETE CASCADE,
    attribute_id TEXT NOT NULL,
    create_ms INTEGER NOT NULL,
    content BLOB NOT NULL  -- msgpack: all of the attribute's data but its descriptors
);
CREATE INDEX IF NOT EXISTS attribute_source ON attribute (attribute_id);
CREATE TABLE IF NOT EXISTS descriptor (
    face_id TEXT NOT NULL REFERENCES attribute ON DELETE CASCADE,
    version INTEGER NOT NULL,
    data BLOB NOT NULL,
    score REAL,
    PRIMARY KEY (face_id, version)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS temporary_attribute (
    attribute_id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    content BLOB NOT NULL  -- msgpack: the whole attribute
);
CREATE INDEX IF NOT EXISTS temporary_attribute_expires ON temporary_attribute (expires_ms);
CREATE TABLE IF NOT EXISTS list (
    list_id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    create_ms INTEGER NOT NULL,
    update_ms INTEGER NOT NULL,
    user_data TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS list_newest ON list (account, create_ms DESC, list_id);
CREATE INDEX IF NOT EXISTS list_ordered ON list (account, list_id);
CREATE TABLE IF NOT EXISTS list_face (
    list_id TEXT NOT NULL REFERENCES list ON DELETE CASCADE,
    face_id TEXT NOT NULL REFERENCES face ON DELETE CASCADE,
    PRIMARY KEY (list_id, face_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS list_face_of_face ON list_face (face_id, list_id);
CREATE TABLE IF NOT EXISTS change (
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    face_id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL
);
"""

IN_JSON = "IN (SELECT value FROM json_each(?))"
"""An IN clause that takes any number of ids in one parameter: a JSON array."""


class SqliteFaceStore:
    """Satisfies :class:`services.faces.ports.FaceStore`; ``database`` has been opened with SCHEMA."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_faces(self, account: str, records: list[FaceRecord], now_ms: int) -> list[Face]:
        return await self._database.write(lambda db: _add_faces(db, account, records, now_ms))

    async def put_face(self, account: str, record: FaceRecord, now_ms: int) -> bool:
        return await self._database.write(lambda db: _put_face(db, account, record, now_ms))

    async def patch_face(self, account: str, face_id: str, changes: dict[str, Any]) -> bool:
        return await self._database.write(lambda db: _patch_face(db, account, face_id, changes))

    async def delete_faces(self, account: str, face_ids: list[str], now_ms: int, *, all_or_none: bool) -> None:
        def work(db: sqlite3.Connection) -> None:
            if all_or_none:
                _require_faces(db, account, face_ids)
            _delete_faces(db, account, face_ids, now_ms)

        await self._database.write(work)

    async def faces(self, account: str, face_ids: list[str]) -> list[Face]:
        sql = f"SELECT * FROM face WHERE face_id {IN_JSON} AND account = ? ORDER BY face_id"
        return await self._database.read(
            lambda db: _faces(db, db.execute(sql, (json.dumps(face_ids), account)).fetchall())
        )

    async def find_faces(self, account: str, where: FaceFilter, page: Page) -> list[Face]:
        by_id = where.face_id__gte is not None or where.face_id__lt is not None
        order = "face.face_id" if by_id else "face.create_ms DESC, face.face_id"
        clause, values = compiled("face", account, where, FACE_CONDITIONS)
        sql = f"SELECT face.* FROM face{clause} ORDER BY {order} LIMIT :limit OFFSET :offset"
        values |= {"limit": page.page_size, "offset": page.offset}
        return await self._database.read(lambda db: _faces(db, db.execute(sql, values).fetchall()))

    async def select_faces(self, account: str, where: FaceFilter) -> list[str]:
        clause, values = compiled("face", account, where, FACE_CONDITIONS)
        rows = await self._database.rows(f"SELECT face.face_id FROM face{clause} ORDER BY face.face_id", values)
        return [row[0] for row in rows]

    async def count_faces(self, account: str, where: FaceFilter, *, with_attributes: bool = False) -> int:
        clause, values = compiled("face", account, where, FACE_CONDITIONS)
        owned = " AND EXISTS (SELECT 1 FROM attribute WHERE attribute.face_id = face.face_id)"
        rows = await self._database.rows(f"SELECT count(*) FROM face{clause}{owned if with_attributes else ''}", values)
        return rows[0][0]

    async def face_attributes(self, account: str, face_ids: list[str]) -> list[Attribute]:
        return await self._database.read(lambda db: _attributes(db, account, face_ids))

    async def edit_attribute(self, account: str, face_id: str, edit: Edit, now_ms: int) -> None:
        await self._database.write(lambda db: _edit_attribute(db, account, face_id, edit, now_ms))

    async def add_temporary(self, account: str, attributes: list[Attribute], now_ms: int) -> None:
        def work(db: sqlite3.Connection) -> None:
            for attribute in attributes:
                if not _temporary_exists(db, account, attribute.attribute_id, now_ms):
                    _write_temporary(db, attribute)

        await self._database.write(work)

    async def put_temporary(self, account: str, attribute: Attribute, now_ms: int, *, force: bool) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            exists = _temporary_exists(db, account, attribute.attribute_id, now_ms)
            if exists and not force:
                raise MienError(
                    Code.REQUEST_CONFLICT, f"attribute {attribute.attribute_id} exists; force=1 replaces it"
                )
            _write_temporary(db, attribute)
            return not exists

        return await self._database.write(work)

    async def temporary(self, account: str, attribute_ids: list[str], now_ms: int) -> list[Attribute]:
        rows = await self._database.rows(
            f"SELECT content FROM temporary_attribute WHERE attribute_id {IN_JSON} AND account = ? AND expires_ms > ?"
            " ORDER BY attribute_id",
            (json.dumps(attribute_ids), account, now_ms),
        )
        return [Attribute.model_validate(msgpack.unpackb(row["content"])) for row in rows]

    async def delete_temporary(self, account: str, attribute_ids: list[str], now_ms: int) -> int:
        def work(db: sqlite3.Connection) -> int:
            deleted = db.execute(
                f"DELETE FROM temporary_attribute WHERE attribute_id {IN_JSON} AND account = ? RETURNING expires_ms",
                (json.dumps(attribute_ids), account),
            ).fetchall()
            return sum(row["expires_ms"] > now_ms for row in deleted)

        return await self._database.write(work)

    async def sweep(self, now_ms: int, limit: int) -> int:
        return await self._database.write(
            lambda db: (
                db.execute(
                    "DELETE FROM temporary_attribute WHERE attribute_id IN"
                    " (SELECT attribute_id FROM temporary_attribute WHERE expires_ms <= ? LIMIT ?)",
                    (now_ms, limit),
                ).rowcount
            )
        )

    async def add_list(self, account: str, drawn: FaceList) -> None:
        await self._database.write(lambda db: _add_list(db, account, drawn))

    async def lists(self, account: str, list_ids: list[str]) -> list[FaceList]:
        sql = f"SELECT * FROM list WHERE list_id {IN_JSON} AND account = ? ORDER BY list_id"
        return [_list(row) for row in await self._database.rows(sql, (json.dumps(list_ids), account))]

    async def find_lists(self, account: str, where: ListFilter, page: Page) -> list[FaceList]:
        by_id = where.list_id__gte is not None or where.list_id__lt is not None
        order = "list.list_id" if by_id else "list.create_ms DESC, list.list_id"
        clause, values = compiled("list", account, where, LIST_CONDITIONS)
        rows = await self._database.rows(
            f"SELECT list.* FROM list{clause} ORDER BY {order} LIMIT :limit OFFSET :offset",
            values | {"limit": page.page_size, "offset": page.offset},
        )
        return [_list(row) for row in rows]

    async def count_lists(self, account: str, where: ListFilter) -> int:
        clause, values = compiled("list", account, where, LIST_CONDITIONS)
        rows = await self._database.rows(f"SELECT count(*) FROM list{clause}", values)
        return rows[0][0]

    async def members(self, account: str, list_id: str, page: Page) -> list[str]:
        rows = await self._database.rows(
            "SELECT face_id FROM list_face JOIN list USING (list_id) WHERE list_id = ? AND account = ?"
            " ORDER BY face_id LIMIT ? OFFSET ?",
            (list_id, account, page.page_size, page.offset),
        )
        return [row["face_id"] for row in rows]

    async def patch_list(self, account: str, list_id: str, user_data: str) -> bool:
        sql = "UPDATE list SET user_data = ? WHERE account = ? AND list_id = ?"
        return await self._database.write(lambda db: db.execute(sql, (user_data, account, list_id)).rowcount > 0)

    async def delete_lists(self, account: str, list_ids: list[str]) -> None:
        await self._database.write(lambda db: _delete_lists(db, account, list_ids))

    async def attach(self, account: str, list_id: str, face_ids: list[str], now_ms: int) -> None:
        def work(db: sqlite3.Connection) -> None:
            _require_link(db, account, list_id, face_ids)
            _moved(db, account, list_id, [face_id for face_id in face_ids if _linked(db, list_id, face_id)], now_ms)

        await self._database.write(work)

    async def detach(self, account: str, list_id: str, face_ids: list[str], now_ms: int) -> None:
        def work(db: sqlite3.Connection) -> None:
            _require_link(db, account, list_id, face_ids)
            gone = db.execute(
                f"DELETE FROM list_face WHERE list_id = ? AND face_id {IN_JSON} RETURNING face_id",
                (list_id, json.dumps(face_ids)),
            ).fetchall()
            _moved(db, account, list_id, [row["face_id"] for row in gone], now_ms)

        await self._database.write(work)

    async def changes(self, after: int, limit: int) -> GalleryPage:
        return await self._database.read(lambda db: _changes(db, after, limit))


# Faces


def _faces(db: sqlite3.Connection, rows: list[sqlite3.Row]) -> list[Face]:
    lists = _lists_of(db, [row["face_id"] for row in rows])
    return [
        Face(
            face_id=row["face_id"],
            account_id=row["account"],
            create_time=clock.from_ms(row["create_ms"]),
            event_id=row["event_id"],
            user_data=row["user_data"],
            external_id=row["external_id"],
            avatar=row["avatar"],
            lists=lists.get(row["face_id"], []),
        )
        for row in rows
    ]


def _lists_of(db: sqlite3.Connection, face_ids: list[str]) -> dict[str, list[str]]:
    """The lists of each face that is in one, in order of ids."""
    rows = db.execute(
        f"SELECT face_id, list_id FROM list_face WHERE face_id {IN_JSON} ORDER BY face_id, list_id",
        (json.dumps(face_ids),),
    )
    return {face_id: [row["list_id"] for row in group] for face_id, group in groupby(rows, lambda row: row["face_id"])}


def _missing(db: sqlite3.Connection, table: str, account: str, ids: Iterable[str]) -> list[str]:
    """Which of ``ids`` the account does not have in ``table`` (``face`` or ``list``)."""
    wanted = sorted(set(ids))
    sql = f"SELECT {table}_id FROM {table} WHERE {table}_id {IN_JSON} AND account = ?"
    found = {row[0] for row in db.execute(sql, (json.dumps(wanted), account))}
    return [one for one in wanted if one not in found]


def _require_faces(db: sqlite3.Connection, account: str, face_ids: list[str]) -> None:
    if missing := _missing(db, "face", account, face_ids):
        raise MienError(Code.FACES_MISSING, f"faces {', '.join(missing)} were not found")


def _require_lists(db: sqlite3.Connection, account: str, list_ids: Iterable[str]) -> None:
    if missing := _missing(db, "list", account, list_ids):
        raise MienError(Code.LISTS_MISSING, f"lists {', '.join(missing)} were not found")


def _require_free(db: sqlite3.Connection, account: str, face_ids: list[str]) -> None:
    """An id stays with the account that used it first, also after deletion: the feed names faces by id alone."""
    sql = f"SELECT face_id FROM change WHERE face_id {IN_JSON} AND account <> ? ORDER BY face_id"
    if taken := db.execute(sql, (json.dumps(face_ids), account)).fetchall():
        raise MienError(Code.REQUEST_CONFLICT, f"faces {', '.join(row[0] for row in taken)}: the id is in use")


def _add_faces(db: sqlite3.Connection, account: str, records: list[FaceRecord], now_ms: int) -> list[Face]:
    ids = [record.face.face_id for record in records]
    _require_free(db, account, ids)
    absent = set(_missing(db, "face", account, ids))
    fresh = {record.face.face_id: record for record in reversed(records) if record.face.face_id in absent}
    _require_lists(db, account, {list_id for record in fresh.values() for list_id in record.face.lists})
    for record in fresh.values():
        _insert_face(db, record)
    _revise(db, account, fresh)
    _touch(db, fresh, now_ms)
    rows = db.execute(f"SELECT * FROM face WHERE face_id {IN_JSON}", (json.dumps(ids),)).fetchall()
    stored = {face.face_id: face for face in _faces(db, rows)}
    return [stored[face_id] for face_id in ids]


def _put_face(db: sqlite3.Connection, account: str, record: FaceRecord, now_ms: int) -> bool:
    face_id = record.face.face_id
    _require_free(db, account, [face_id])
    _require_lists(db, account, record.face.lists)
    before = db.execute("SELECT create_ms FROM face WHERE account = ? AND face_id = ?", (account, face_id)).fetchone()
    if before is not None:
        _delete_faces(db, account, [face_id], now_ms)
        created = clock.from_ms(before["create_ms"])
        record = FaceRecord(record.face.model_copy(update={"create_time": created}), record.attribute)
    _insert_face(db, record)
    _revise(db, account, [face_id])
    _touch(db, [face_id], now_ms)
    return before is None


def _insert_face(db: sqlite3.Connection, record: FaceRecord) -> None:
    face = record.face
    db.execute(
        "INSERT INTO face (face_id, account, create_ms, event_id, user_data, folded, external_id, avatar)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            face.face_id,
            face.account_id,
            clock.to_ms(face.create_time),
            face.event_id,
            face.user_data,
            face.user_data.casefold(),
            face.external_id,
            face.avatar,
        ),
    )
    for list_id in face.lists:
        _linked(db, list_id, face.face_id)
    if record.attribute is not None:
        _insert_attribute(db, face.face_id, record.attribute)


def _patch_face(db: sqlite3.Connection, account: str, face_id: str, changes: dict[str, Any]) -> bool:
    if "user_data" in changes:
        changes = changes | {"folded": changes["user_data"].casefold()}
    assigned = ", ".join(f"{name} = :{name}" for name in ("face_id", *changes))
    sql = f"UPDATE face SET {assigned} WHERE account = :account AND face_id = :face_id"
    return db.execute(sql, {"account": account, "face_id": face_id, **changes}).rowcount > 0


def _delete_faces(db: sqlite3.Connection, account: str, face_ids: list[str], now_ms: int) -> None:
    """Attributes, descriptors and links go with their face (ON DELETE CASCADE)."""
    sql = f"SELECT face_id FROM face WHERE face_id {IN_JSON} AND account = ? ORDER BY face_id"
    doomed = [row[0] for row in db.execute(sql, (json.dumps(face_ids), account))]
    _touch(db, doomed, now_ms)
    db.execute(f"DELETE FROM face WHERE face_id {IN_JSON}", (json.dumps(doomed),))
    _revise(db, account, doomed)


# Attributes


def _attributes(db: sqlite3.Connection, account: str, face_ids: list[str]) -> list[Attribute]:
    rows = db.execute(
        f"SELECT attribute.* FROM attribute JOIN face USING (face_id) WHERE face_id {IN_JSON} AND account = ?"
        " ORDER BY face_id",
        (json.dumps(face_ids), account),
    ).fetchall()
    descriptors = _descriptors_of(db, [row["face_id"] for row in rows])
    return [
        Attribute(
            attribute_id=row["attribute_id"],
            account_id=account,
            create_time=clock.from_ms(row["create_ms"]),
            face_id=row["face_id"],
            descriptors=descriptors.get(row["face_id"], []),
            **msgpack.unpackb(row["content"]),
        )
        for row in rows
    ]


def _descriptors_of(db: sqlite3.Connection, face_ids: list[str]) -> dict[str, list[DescriptorDraft]]:
    """The descriptors of each face that has one, in order of versions."""
    rows = db.execute(
        f"SELECT * FROM descriptor WHERE face_id {IN_JSON} ORDER BY face_id, version", (json.dumps(face_ids),)
    )
    return {
        face_id: [DescriptorDraft(descriptor=row["data"], version=row["version"], score=row["score"]) for row in group]
        for face_id, group in groupby(rows, lambda row: row["face_id"])
    }


def _insert_attribute(db: sqlite3.Connection, face_id: str, attribute: Attribute) -> None:
    content = attribute.model_dump(include=set(AttributeData.model_fields) - {"descriptors"})
    db.execute(
        "INSERT INTO attribute (face_id, attribute_id, create_ms, content) VALUES (?, ?, ?, ?)",
        (face_id, attribute.attribute_id, clock.to_ms(attribute.create_time), msgpack.packb(content)),
    )
    db.executemany(
        "INSERT INTO descriptor (face_id, version, data, score) VALUES (?, ?, ?, ?)",
        [(face_id, draft.version, draft.descriptor, draft.score) for draft in attribute.descriptors],
    )


def _edit_attribute(db: sqlite3.Connection, account: str, face_id: str, edit: Edit, now_ms: int) -> None:
    if _missing(db, "face", account, [face_id]):
        raise MienError(Code.FACE_MISSING, f"face {face_id} was not found")
    edited = edit(next(iter(_attributes(db, account, [face_id])), None))
    db.execute("DELETE FROM attribute WHERE face_id = ?", (face_id,))
    if edited is not None:
        _insert_attribute(db, face_id, edited)
    _revise(db, account, [face_id])
    _touch(db, [face_id], now_ms)


def _temporary_exists(db: sqlite3.Connection, account: str, attribute_id: str, now_ms: int) -> bool:
    """Whether the account has it. Raises REQUEST_CONFLICT when another account does."""
    row = db.execute(
        "SELECT account FROM temporary_attribute WHERE attribute_id = ? AND expires_ms > ?", (attribute_id, now_ms)
    ).fetchone()
    if row is not None and row["account"] != account:
        raise MienError(Code.REQUEST_CONFLICT, f"attribute {attribute_id}: the id is in use")
    return row is not None


def _write_temporary(db: sqlite3.Connection, attribute: Attribute) -> None:
    """Over what may be there: it has expired or is to be replaced."""
    assert attribute.expires is not None
    db.execute(
        "INSERT OR REPLACE INTO temporary_attribute (attribute_id, account, expires_ms, content) VALUES (?, ?, ?, ?)",
        (
            attribute.attribute_id,
            attribute.account_id,
            clock.to_ms(attribute.expires),
            msgpack.packb(attribute.model_dump()),
        ),
    )


# Lists


def _list(row: sqlite3.Row) -> FaceList:
    return FaceList(
        list_id=row["list_id"],
        account_id=row["account"],
        user_data=row["user_data"],
        create_time=clock.from_ms(row["create_ms"]),
        last_update_time=clock.from_ms(row["update_ms"]),
    )


def _add_list(db: sqlite3.Connection, account: str, drawn: FaceList) -> None:
    row = db.execute("SELECT account FROM list WHERE list_id = ?", (drawn.list_id,)).fetchone()
    if row is not None and row["account"] != account:
        raise MienError(Code.REQUEST_CONFLICT, f"list {drawn.list_id}: the id is in use")
    db.execute(
        "INSERT INTO list (list_id, account, create_ms, update_ms, user_data) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        (
            drawn.list_id,
            account,
            clock.to_ms(drawn.create_time),
            clock.to_ms(drawn.last_update_time),
            drawn.user_data,
        ),
    )


def _delete_lists(db: sqlite3.Connection, account: str, list_ids: list[str]) -> None:
    for list_id in list_ids:
        if _missing(db, "list", account, [list_id]):
            continue
        members = db.execute("SELECT face_id FROM list_face WHERE list_id = ?", (list_id,)).fetchall()
        db.execute("DELETE FROM list WHERE list_id = ?", (list_id,))
        _revise(db, account, [row["face_id"] for row in members])


def _require_link(db: sqlite3.Connection, account: str, list_id: str, face_ids: list[str]) -> None:
    if _missing(db, "list", account, [list_id]):
        raise MienError(Code.LIST_MISSING, f"list {list_id} was not found", status=400)
    _require_faces(db, account, face_ids)


def _linked(db: sqlite3.Connection, list_id: str, face_id: str) -> bool:
    """Link them; whether they were not linked before."""
    sql = "INSERT INTO list_face (list_id, face_id) VALUES (?, ?) ON CONFLICT DO NOTHING"
    return db.execute(sql, (list_id, face_id)).rowcount > 0


def _moved(db: sqlite3.Connection, account: str, list_id: str, face_ids: list[str], now_ms: int) -> None:
    """Record that these faces joined or left the list."""
    _revise(db, account, face_ids)
    if face_ids:
        db.execute("UPDATE list SET update_ms = ? WHERE list_id = ?", (now_ms, list_id))


def _touch(db: sqlite3.Connection, face_ids: Iterable[str], now_ms: int) -> None:
    """Move the time of update of every list these faces are in."""
    db.execute(
        f"UPDATE list SET update_ms = ? WHERE list_id IN (SELECT list_id FROM list_face WHERE face_id {IN_JSON})",
        (now_ms, json.dumps(list(face_ids))),
    )


# The revision log


def _revise(db: sqlite3.Connection, account: str, face_ids: Iterable[str]) -> None:
    """Give each face the next revision. REPLACE drops the older row; AUTOINCREMENT never gives a number twice."""
    db.executemany(
        "INSERT OR REPLACE INTO change (face_id, account) VALUES (?, ?)",
        [(face_id, account) for face_id in face_ids],
    )


def _changes(db: sqlite3.Connection, after: int, limit: int) -> GalleryPage:
    found = db.execute(
        "SELECT change.*, face.face_id IS NULL AS deleted FROM change LEFT JOIN face USING (face_id)"
        " WHERE revision > ? ORDER BY revision LIMIT ?",
        (after, limit + 1),
    ).fetchall()
    page = found[:limit]
    if not page:
        newest = db.execute("SELECT coalesce(max(revision), 0) FROM change").fetchone()[0]
        return GalleryPage(revision=newest, rows=[], more=False)
    present = [row["face_id"] for row in page if not row["deleted"]]
    descriptors, lists = _descriptors_of(db, present), _lists_of(db, present)
    rows = [
        GalleryRow(
            object_id=row["face_id"],
            account_id=row["account"],
            deleted=bool(row["deleted"]),
            descriptors={draft.version: draft.descriptor for draft in descriptors.get(row["face_id"], [])},
            lists=lists.get(row["face_id"], []),
        )
        for row in page
    ]
    return GalleryPage(revision=page[-1]["revision"], rows=rows, more=len(found) > limit)
