"""Faces, attributes and lists in one SQLite file.

``change`` is the revision log: one row per face that ever was, holding the revision of its latest change; a
face that is no more keeps its row, which also keeps its id from passing to another account. Only the writer
thread makes revisions, and inside the transaction of the change, so their order is the order of commits.
"""
# ruff: noqa: S608  only constants of this package are put into SQL; values travel as parameters

from __future__ import annotations

import json
import sqlite3
from typing import Any

from libs.common.ids import Id
from libs.common.storage.sqlite import IN_JSON, Database
from libs.common.wire.base import Page
from libs.common.wire.faces import Attribute, Face, FaceFilter, FaceList, ListFilter
from libs.common.wire.gallery import GalleryPage, Gap
from services.faces import statements
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


class SqliteFaceStore:
    """Satisfies :class:`services.faces.ports.FaceStore`; ``database`` has been opened with SCHEMA."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def check(self) -> None:
        await self._database.rows("SELECT 1 FROM face LIMIT 1")

    async def add_faces(self, account: Id, records: list[FaceRecord], now_ms: int) -> list[Face]:
        return await self._database.write(lambda db: statements.add_faces(db, account, records, now_ms))

    async def put_face(self, account: Id, record: FaceRecord, now_ms: int) -> bool:
        return await self._database.write(lambda db: statements.put_face(db, account, record, now_ms))

    async def patch_face(self, account: Id, face_id: Id, changes: dict[str, Any]) -> bool:
        return await self._database.write(lambda db: statements.patch_face(db, account, face_id, changes))

    async def delete_faces(self, account: Id, face_ids: list[Id], now_ms: int, *, all_or_none: bool) -> None:
        def work(db: sqlite3.Connection) -> None:
            if all_or_none:
                statements.require_faces(db, account, face_ids)
            statements.delete_faces(db, account, face_ids, now_ms)

        await self._database.write(work)

    async def faces(self, account: Id, face_ids: list[Id]) -> list[Face]:
        sql = f"SELECT * FROM face WHERE face_id {IN_JSON} AND account = ? ORDER BY face_id"
        return await self._database.read(
            lambda db: statements.read_faces(db, db.execute(sql, (json.dumps(face_ids), account)).fetchall())
        )

    async def find_faces(self, account: Id, where: FaceFilter, page: Page) -> list[Face]:
        by_id = where.face_id__gte is not None or where.face_id__lt is not None
        order = "face.face_id" if by_id else "face.create_ms DESC, face.face_id"
        clause, values = compiled("face", account, where, FACE_CONDITIONS)
        sql = f"SELECT face.* FROM face{clause} ORDER BY {order} LIMIT :limit OFFSET :offset"
        values |= {"limit": page.page_size, "offset": page.offset}
        return await self._database.read(lambda db: statements.read_faces(db, db.execute(sql, values).fetchall()))

    async def select_faces(self, account: Id, where: FaceFilter) -> list[Id]:
        clause, values = compiled("face", account, where, FACE_CONDITIONS)
        rows = await self._database.rows(f"SELECT face.face_id FROM face{clause} ORDER BY face.face_id", values)
        return [row[0] for row in rows]

    async def count_faces(self, account: Id, where: FaceFilter, *, with_attributes: bool = False) -> int:
        clause, values = compiled("face", account, where, FACE_CONDITIONS)
        owned = " AND EXISTS (SELECT 1 FROM attribute WHERE attribute.face_id = face.face_id)"
        rows = await self._database.rows(f"SELECT count(*) FROM face{clause}{owned if with_attributes else ''}", values)
        return rows[0][0]

    async def face_attributes(self, account: Id, face_ids: list[Id]) -> list[Attribute]:
        return await self._database.read(lambda db: statements.read_attributes(db, account, face_ids))

    async def edit_attribute(self, account: Id, face_id: Id, edit: Edit, now_ms: int) -> None:
        await self._database.write(lambda db: statements.edit_attribute(db, account, face_id, edit, now_ms))

    async def add_list(self, account: Id, drawn: FaceList) -> None:
        await self._database.write(lambda db: statements.add_list(db, account, drawn))

    async def lists(self, account: Id, list_ids: list[Id]) -> list[FaceList]:
        sql = f"SELECT * FROM list WHERE list_id {IN_JSON} AND account = ? ORDER BY list_id"
        return [statements.read_list(row) for row in await self._database.rows(sql, (json.dumps(list_ids), account))]

    async def find_lists(self, account: Id, where: ListFilter, page: Page) -> list[FaceList]:
        by_id = where.list_id__gte is not None or where.list_id__lt is not None
        order = "list.list_id" if by_id else "list.create_ms DESC, list.list_id"
        clause, values = compiled("list", account, where, LIST_CONDITIONS)
        rows = await self._database.rows(
            f"SELECT list.* FROM list{clause} ORDER BY {order} LIMIT :limit OFFSET :offset",
            values | {"limit": page.page_size, "offset": page.offset},
        )
        return [statements.read_list(row) for row in rows]

    async def count_lists(self, account: Id, where: ListFilter) -> int:
        clause, values = compiled("list", account, where, LIST_CONDITIONS)
        rows = await self._database.rows(f"SELECT count(*) FROM list{clause}", values)
        return rows[0][0]

    async def members(self, account: Id, list_id: Id, page: Page) -> list[Id]:
        rows = await self._database.rows(
            "SELECT face_id FROM list_face JOIN list USING (list_id) WHERE list_id = ? AND account = ?"
            " ORDER BY face_id LIMIT ? OFFSET ?",
            (list_id, account, page.page_size, page.offset),
        )
        return [row["face_id"] for row in rows]

    async def patch_list(self, account: Id, list_id: Id, user_data: str) -> bool:
        sql = "UPDATE list SET user_data = ? WHERE account = ? AND list_id = ?"
        return await self._database.write(lambda db: db.execute(sql, (user_data, account, list_id)).rowcount > 0)

    async def delete_lists(self, account: Id, list_ids: list[Id]) -> list[Id]:
        return await self._database.write(lambda db: statements.delete_lists(db, account, list_ids))

    async def finish_deletions(self) -> None:
        """A transaction leaves nothing to complete."""

    async def attach(self, account: Id, list_id: Id, face_ids: list[Id], now_ms: int) -> None:
        def work(db: sqlite3.Connection) -> None:
            statements.require_link(db, account, list_id, face_ids)
            linked = [face_id for face_id in face_ids if statements.link(db, list_id, face_id)]
            statements.record_move(db, account, list_id, linked, now_ms)

        await self._database.write(work)

    async def detach(self, account: Id, list_id: Id, face_ids: list[Id], now_ms: int) -> None:
        def work(db: sqlite3.Connection) -> None:
            statements.require_link(db, account, list_id, face_ids)
            gone = db.execute(
                f"DELETE FROM list_face WHERE list_id = ? AND face_id {IN_JSON} RETURNING face_id",
                (list_id, json.dumps(face_ids)),
            ).fetchall()
            statements.record_move(db, account, list_id, [row["face_id"] for row in gone], now_ms)

        await self._database.write(work)

    async def changes(self, after: int, limit: int, late: list[Gap]) -> GalleryPage:
        return await self._database.read(lambda db: statements.read_changes(db, after, limit))
