"""What the transactions of the SQLite store are made of: functions of one connection, which must be in one."""
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
from libs.common.ids import Id
from libs.common.storage.sqlite import IN_JSON
from libs.common.wire.faces import Attribute, AttributeData, DescriptorDraft, Face, FaceList
from libs.common.wire.gallery import GalleryPage, GalleryRow
from services.faces.model import FaceRecord
from services.faces.ports import Edit

LINKS = f"SELECT face_id, list_id FROM list_face WHERE face_id {IN_JSON} ORDER BY face_id, list_id"
DESCRIPTORS = f"SELECT * FROM descriptor WHERE face_id {IN_JSON} ORDER BY face_id, version"

# Faces


def read_faces(db: sqlite3.Connection, rows: list[sqlite3.Row]) -> list[Face]:
    links = of_faces(db, LINKS, [row["face_id"] for row in rows])
    return [
        Face(
            face_id=row["face_id"],
            account_id=row["account"],
            create_time=clock.from_ms(row["create_ms"]),
            event_id=row["event_id"],
            user_data=row["user_data"],
            external_id=row["external_id"],
            avatar=row["avatar"],
            lists=[link["list_id"] for link in links.get(row["face_id"], [])],
        )
        for row in rows
    ]


def of_faces(db: sqlite3.Connection, sql: str, face_ids: list[Id]) -> dict[Id, list[sqlite3.Row]]:
    """What ``sql`` (LINKS or DESCRIPTORS) finds for each face that has some."""
    rows = db.execute(sql, (json.dumps(face_ids),))
    return {face_id: list(group) for face_id, group in groupby(rows, lambda row: row["face_id"])}


def missing(db: sqlite3.Connection, table: str, account: Id, ids: Iterable[Id]) -> list[Id]:
    """Which of ``ids`` the account does not have in ``table`` (``face`` or ``list``)."""
    wanted = sorted(set(ids))
    sql = f"SELECT {table}_id FROM {table} WHERE {table}_id {IN_JSON} AND account = ?"
    found = {row[0] for row in db.execute(sql, (json.dumps(wanted), account))}
    return [one for one in wanted if one not in found]


def require_faces(db: sqlite3.Connection, account: Id, face_ids: list[Id]) -> None:
    if absent := missing(db, "face", account, face_ids):
        raise MienError(Code.FACES_MISSING, f"faces {', '.join(absent)} were not found")


def require_lists(db: sqlite3.Connection, account: Id, list_ids: Iterable[Id]) -> None:
    if absent := missing(db, "list", account, list_ids):
        raise MienError(Code.LISTS_MISSING, f"lists {', '.join(absent)} were not found")


def require_free(db: sqlite3.Connection, account: Id, face_ids: list[Id]) -> None:
    """An id stays with the account that used it first, also after deletion: the feed names faces by id alone."""
    sql = f"SELECT face_id FROM change WHERE face_id {IN_JSON} AND account <> ? ORDER BY face_id"
    if taken := db.execute(sql, (json.dumps(face_ids), account)).fetchall():
        raise MienError(Code.REQUEST_CONFLICT, f"faces {', '.join(row[0] for row in taken)}: the id is in use")


def add_faces(db: sqlite3.Connection, account: Id, records: list[FaceRecord], now_ms: int) -> list[Face]:
    ids = [record.face.face_id for record in records]
    require_free(db, account, ids)
    absent = set(missing(db, "face", account, ids))
    fresh = {record.face.face_id: record for record in reversed(records) if record.face.face_id in absent}
    require_lists(db, account, {list_id for record in fresh.values() for list_id in record.face.lists})
    for record in fresh.values():
        insert_face(db, record)
    revise(db, account, fresh)
    touch(db, fresh, now_ms)
    sql = f"SELECT * FROM face WHERE face_id {IN_JSON} AND account = ?"
    rows = db.execute(sql, (json.dumps(ids), account)).fetchall()
    stored = {face.face_id: face for face in read_faces(db, rows)}
    return [stored[face_id] for face_id in ids]


def put_face(db: sqlite3.Connection, account: Id, record: FaceRecord, now_ms: int) -> bool:
    face_id = record.face.face_id
    require_free(db, account, [face_id])
    require_lists(db, account, record.face.lists)
    before = db.execute("SELECT create_ms FROM face WHERE account = ? AND face_id = ?", (account, face_id)).fetchone()
    if before is not None:
        delete_faces(db, account, [face_id], now_ms)
        created = clock.from_ms(before["create_ms"])
        record = FaceRecord(record.face.model_copy(update={"create_time": created}), record.attribute)
    insert_face(db, record)
    revise(db, account, [face_id])
    touch(db, [face_id], now_ms)
    return before is None


def insert_face(db: sqlite3.Connection, record: FaceRecord) -> None:
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
        link(db, list_id, face.face_id)
    if record.attribute is not None:
        insert_attribute(db, face.face_id, record.attribute)


def patch_face(db: sqlite3.Connection, account: Id, face_id: Id, changes: dict[str, Any]) -> bool:
    """Setting the id to itself lets an empty patch, too, tell whether the face exists."""
    if "user_data" in changes:
        changes = changes | {"folded": changes["user_data"].casefold()}
    assigned = ", ".join(f"{name} = :{name}" for name in ("face_id", *changes))
    sql = f"UPDATE face SET {assigned} WHERE account = :account AND face_id = :face_id"
    return db.execute(sql, {"account": account, "face_id": face_id, **changes}).rowcount > 0


def delete_faces(db: sqlite3.Connection, account: Id, face_ids: list[Id], now_ms: int) -> None:
    """Attributes, descriptors and links go with their face (ON DELETE CASCADE)."""
    sql = f"SELECT face_id FROM face WHERE face_id {IN_JSON} AND account = ? ORDER BY face_id"
    doomed = [row[0] for row in db.execute(sql, (json.dumps(face_ids), account))]
    touch(db, doomed, now_ms)
    db.execute(f"DELETE FROM face WHERE face_id {IN_JSON}", (json.dumps(doomed),))
    revise(db, account, doomed)


# Attributes


def read_attributes(db: sqlite3.Connection, account: Id, face_ids: list[Id]) -> list[Attribute]:
    rows = db.execute(
        f"SELECT attribute.* FROM attribute JOIN face USING (face_id) WHERE face_id {IN_JSON} AND account = ?"
        " ORDER BY face_id",
        (json.dumps(face_ids), account),
    ).fetchall()
    descriptors = of_faces(db, DESCRIPTORS, [row["face_id"] for row in rows])
    return [
        Attribute(
            attribute_id=row["attribute_id"],
            account_id=account,
            create_time=clock.from_ms(row["create_ms"]),
            face_id=row["face_id"],
            descriptors=[
                DescriptorDraft(descriptor=one["data"], version=one["version"], score=one["score"])
                for one in descriptors.get(row["face_id"], [])
            ],
            **msgpack.unpackb(row["content"]),
        )
        for row in rows
    ]


def insert_attribute(db: sqlite3.Connection, face_id: Id, attribute: Attribute) -> None:
    content = attribute.model_dump(include=set(AttributeData.model_fields) - {"descriptors"})
    db.execute(
        "INSERT INTO attribute (face_id, attribute_id, create_ms, content) VALUES (?, ?, ?, ?)",
        (face_id, attribute.attribute_id, clock.to_ms(attribute.create_time), msgpack.packb(content)),
    )
    db.executemany(
        "INSERT INTO descriptor (face_id, version, data, score) VALUES (?, ?, ?, ?)",
        [(face_id, draft.version, draft.descriptor, draft.score) for draft in attribute.descriptors],
    )


def edit_attribute(db: sqlite3.Connection, account: Id, face_id: Id, edit: Edit, now_ms: int) -> None:
    if missing(db, "face", account, [face_id]):
        raise MienError(Code.FACE_MISSING, f"face {face_id} was not found")
    edited = edit(next(iter(read_attributes(db, account, [face_id])), None))
    db.execute("DELETE FROM attribute WHERE face_id = ?", (face_id,))
    if edited is not None:
        insert_attribute(db, face_id, edited)
    revise(db, account, [face_id])
    touch(db, [face_id], now_ms)


# Lists


def read_list(row: sqlite3.Row) -> FaceList:
    return FaceList(
        list_id=row["list_id"],
        account_id=row["account"],
        user_data=row["user_data"],
        create_time=clock.from_ms(row["create_ms"]),
        last_update_time=clock.from_ms(row["update_ms"]),
    )


def add_list(db: sqlite3.Connection, account: Id, drawn: FaceList) -> None:
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


def delete_lists(db: sqlite3.Connection, account: Id, list_ids: list[Id]) -> list[Id]:
    """Returns their faces."""
    left: dict[Id, None] = {}
    for list_id in list_ids:
        if missing(db, "list", account, [list_id]):
            continue
        rows = db.execute("SELECT face_id FROM list_face WHERE list_id = ?", (list_id,)).fetchall()
        members: list[Id] = [row["face_id"] for row in rows]
        db.execute("DELETE FROM list WHERE list_id = ?", (list_id,))
        revise(db, account, members)
        left |= dict.fromkeys(members)
    return [*left]


def require_link(db: sqlite3.Connection, account: Id, list_id: Id, face_ids: list[Id]) -> None:
    if missing(db, "list", account, [list_id]):
        raise MienError(Code.LIST_MISSING, f"list {list_id} was not found", status=400)
    require_faces(db, account, face_ids)


def link(db: sqlite3.Connection, list_id: Id, face_id: Id) -> bool:
    """Link them; whether they were not linked before."""
    sql = "INSERT INTO list_face (list_id, face_id) VALUES (?, ?) ON CONFLICT DO NOTHING"
    return db.execute(sql, (list_id, face_id)).rowcount > 0


def record_move(db: sqlite3.Connection, account: Id, list_id: Id, face_ids: list[Id], now_ms: int) -> None:
    """Record that these faces joined or left the list."""
    revise(db, account, face_ids)
    if face_ids:
        db.execute("UPDATE list SET update_ms = ? WHERE list_id = ?", (now_ms, list_id))


def touch(db: sqlite3.Connection, face_ids: Iterable[Id], now_ms: int) -> None:
    """Move the time of update of every list these faces are in."""
    db.execute(
        f"UPDATE list SET update_ms = ? WHERE list_id IN (SELECT list_id FROM list_face WHERE face_id {IN_JSON})",
        (now_ms, json.dumps(list(face_ids))),
    )


# The revision log


def revise(db: sqlite3.Connection, account: Id, face_ids: Iterable[Id]) -> None:
    """Give each face the next revision. REPLACE drops the older row; AUTOINCREMENT never gives a number twice."""
    db.executemany(
        "INSERT OR REPLACE INTO change (face_id, account) VALUES (?, ?)",
        [(face_id, account) for face_id in face_ids],
    )


def read_changes(db: sqlite3.Connection, after: int, limit: int) -> GalleryPage:
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
    descriptors, links = of_faces(db, DESCRIPTORS, present), of_faces(db, LINKS, present)
    rows = [
        GalleryRow.model_construct(  # it was valid when it was stored; checking again nearly doubles the cost of a page
            object_id=row["face_id"],
            account_id=row["account"],
            deleted=bool(row["deleted"]),
            descriptors={one["version"]: one["data"] for one in descriptors.get(row["face_id"], [])},
            lists=[link["list_id"] for link in links.get(row["face_id"], [])],
        )
        for row in page
    ]
    return GalleryPage(revision=page[-1]["revision"], rows=rows, more=len(found) > limit)
