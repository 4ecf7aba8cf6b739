"""Temporary attributes in one SQLite file."""
# ruff: noqa: S608  only constants of this package are put into SQL; values travel as parameters

from __future__ import annotations

import json
import sqlite3

import msgpack

from libs.common import clock
from libs.common.ids import Id
from libs.common.storage.sqlite import IN_JSON, Database
from libs.common.wire.base import pack
from libs.common.wire.faces import Attribute
from services.faces.attributes import already_there, in_use

SCHEMA = """
CREATE TABLE IF NOT EXISTS temporary_attribute (
    attribute_id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    content BLOB NOT NULL  -- msgpack: the whole attribute
);
CREATE INDEX IF NOT EXISTS temporary_attribute_expires ON temporary_attribute (expires_ms);
"""


class SqliteTemporary:
    """Satisfies :class:`services.faces.ports.TemporaryAttributes`; ``database`` has been opened with SCHEMA."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def check(self) -> None:
        await self._database.rows("SELECT 1 FROM temporary_attribute LIMIT 1")

    async def add(self, account: Id, attributes: list[Attribute], now_ms: int) -> None:
        def work(db: sqlite3.Connection) -> None:
            for attribute in attributes:
                if not _exists(db, account, attribute.attribute_id, now_ms):
                    _write(db, attribute)

        await self._database.write(work)

    async def put(self, account: Id, attribute: Attribute, now_ms: int, *, force: bool) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            exists = _exists(db, account, attribute.attribute_id, now_ms)
            if exists and not force:
                raise already_there(attribute.attribute_id)
            _write(db, attribute)
            return not exists

        return await self._database.write(work)

    async def get(self, account: Id, attribute_ids: list[Id], now_ms: int) -> list[Attribute]:
        rows = await self._database.rows(
            f"SELECT content FROM temporary_attribute WHERE attribute_id {IN_JSON} AND account = ? AND expires_ms > ?"
            " ORDER BY attribute_id",
            (json.dumps(attribute_ids), account, now_ms),
        )
        return [Attribute.model_validate(msgpack.unpackb(row["content"])) for row in rows]

    async def delete(self, account: Id, attribute_ids: list[Id], now_ms: int) -> int:
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


def _exists(db: sqlite3.Connection, account: Id, attribute_id: Id, now_ms: int) -> bool:
    """Whether the account has it. Raises REQUEST_CONFLICT when another account does."""
    row = db.execute(
        "SELECT account FROM temporary_attribute WHERE attribute_id = ? AND expires_ms > ?", (attribute_id, now_ms)
    ).fetchone()
    if row is not None and row["account"] != account:
        raise in_use(attribute_id)
    return row is not None


def _write(db: sqlite3.Connection, attribute: Attribute) -> None:
    """Over what may be there: it has expired or is to be replaced."""
    assert attribute.expires is not None
    db.execute(
        "INSERT OR REPLACE INTO temporary_attribute (attribute_id, account, expires_ms, content) VALUES (?, ?, ?, ?)",
        (attribute.attribute_id, attribute.account_id, clock.to_ms(attribute.expires), pack(attribute.model_dump())),
    )
