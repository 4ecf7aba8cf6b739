"""The outbox as a table beside the events, so that one transaction writes both."""

from __future__ import annotations

import json
import sqlite3

from libs.common import clock
from libs.common.ids import Id
from libs.common.storage.sqlite import Database
from services.events.model import NOTICES
from services.events.ports import LEASE_S, Backlog, Owed

SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL,
    notices TEXT NOT NULL,  -- JSON
    request_id TEXT,
    saved_ms INTEGER NOT NULL,
    due_ms INTEGER NOT NULL  -- when the lease of whoever took it ends
);
CREATE INDEX IF NOT EXISTS outbox_by_due ON outbox (due_ms);
"""


class SqliteOutbox:
    """Satisfies :class:`services.events.ports.Outbox`; ``database`` has been opened with SCHEMA."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, limit: int) -> list[Owed]:
        return await self._database.write(lambda db: _take(db, limit))

    async def clear(self, event_ids: list[Id]) -> None:
        ids = json.dumps(event_ids)
        sql = "DELETE FROM outbox WHERE event_id IN (SELECT value FROM json_each(?))"
        await self._database.write(lambda db: db.execute(sql, (ids,)))

    async def reduce(self, owed: Owed) -> None:
        values = (NOTICES.dump_json(owed.notices).decode(), owed.event_id)
        await self._database.write(lambda db: db.execute("UPDATE outbox SET notices = ? WHERE event_id = ?", values))

    async def backlog(self) -> Backlog:
        [row] = await self._database.rows("SELECT count(*), min(saved_ms) FROM outbox")
        return Backlog(*row)


def put(db: sqlite3.Connection, owed: Owed) -> None:
    """Taken from the start, by the process that saved."""
    db.execute(
        "INSERT OR REPLACE INTO outbox (event_id, account_id, notices, request_id, saved_ms, due_ms)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            owed.event_id,
            owed.account,
            NOTICES.dump_json(owed.notices).decode(),
            owed.request_id,
            owed.saved_ms,
            _lease_end(),
        ),
    )


def _take(db: sqlite3.Connection, limit: int) -> list[Owed]:
    rows = db.execute("SELECT * FROM outbox WHERE due_ms <= ? ORDER BY seq LIMIT ?", (clock.now_ms(), limit)).fetchall()
    db.executemany("UPDATE outbox SET due_ms = ? WHERE seq = ?", [(_lease_end(), row["seq"]) for row in rows])
    return [_owed(row) for row in rows]


def _owed(row: sqlite3.Row) -> Owed:
    return Owed(
        event_id=row["event_id"],
        account=row["account_id"],
        notices=NOTICES.validate_json(row["notices"]),
        saved_ms=row["saved_ms"],
        request_id=row["request_id"],
    )


def _lease_end() -> int:
    return clock.now_ms() + int(LEASE_S * 1000)
