"""The journal of emissions as a table beside the handlers."""

from __future__ import annotations

import sqlite3

from libs.common import clock
from libs.common.ids import Id
from libs.common.storage.sqlite import Database
from services.handlers.journal import LEASE_S, OVERDUE_S, Traces

SCHEMA = """
CREATE TABLE IF NOT EXISTS unfinished (
    emission_id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL,
    due_ms INTEGER NOT NULL,
    is_taken INTEGER NOT NULL DEFAULT 0,
    traces TEXT NOT NULL  -- JSON
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS unfinished_by_due ON unfinished (due_ms);
"""
BEGIN = "INSERT OR IGNORE INTO unfinished (emission_id, account_id, due_ms, traces) VALUES (?, ?, ?, ?)"
END = "DELETE FROM unfinished WHERE emission_id = ? AND account_id = ? AND NOT is_taken"
SETTLED = "DELETE FROM unfinished WHERE emission_id = ? AND account_id = ?"


class SqliteJournal:
    """Satisfies :class:`services.handlers.ports.Journal`; ``database`` has been opened with SCHEMA."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, traces: Traces) -> None:
        due_ms = clock.now_ms() + int(OVERDUE_S * 1000)
        values = (traces.emission_id, traces.account, due_ms, traces.model_dump_json())
        await self._database.write(lambda db: db.execute(BEGIN, values))

    async def end(self, account: Id, emission_id: Id) -> bool:
        return await self._database.write(lambda db: db.execute(END, (emission_id, account)).rowcount == 1)

    async def take(self, limit: int) -> list[Traces]:
        return await self._database.write(lambda db: _take(db, limit))

    async def settled(self, traces: Traces) -> None:
        await self._database.write(lambda db: db.execute(SETTLED, (traces.emission_id, traces.account)))


def _take(db: sqlite3.Connection, limit: int) -> list[Traces]:
    now_ms = clock.now_ms()
    rows = db.execute(
        "SELECT emission_id, traces FROM unfinished WHERE due_ms <= ? ORDER BY due_ms LIMIT ?", (now_ms, limit)
    ).fetchall()
    lease_end = now_ms + int(LEASE_S * 1000)
    db.executemany(
        "UPDATE unfinished SET is_taken = 1, due_ms = ? WHERE emission_id = ?",
        [(lease_end, row["emission_id"]) for row in rows],
    )
    return [Traces.model_validate_json(row["traces"]) for row in rows]
