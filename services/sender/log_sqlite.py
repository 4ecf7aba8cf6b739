"""The log of notices in one SQLite file, for the suite in one process."""

from __future__ import annotations

import re
import secrets
import sqlite3
from asyncio import Event
from collections.abc import Sequence
from contextlib import AbstractContextManager

from libs.common import clock
from libs.common.errors import Code, MienError
from libs.common.ids import Id
from libs.common.storage.sqlite import Database
from services.sender.bells import Bells
from services.sender.model import Bounds, Entry, Notice

SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    account_id TEXT PRIMARY KEY,
    epoch TEXT NOT NULL,  -- tells this log from one that was lost
    count INTEGER NOT NULL,  -- entries ever made, which is the number of the latest
    bytes INTEGER NOT NULL  -- of all of them
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entry (
    account_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    bytes INTEGER NOT NULL,  -- of all entries up to this one
    content BLOB NOT NULL,
    UNIQUE (account_id, number)
);
CREATE INDEX IF NOT EXISTS entry_by_bytes ON entry (account_id, bytes);
CREATE INDEX IF NOT EXISTS entry_by_age ON entry (at_ms);
CREATE TABLE IF NOT EXISTS told (
    account_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (account_id, event_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS told_by_number ON told (account_id, number);
CREATE INDEX IF NOT EXISTS told_by_age ON told (at_ms);
"""
_CURSOR = re.compile(r"([0-9a-f]{12})-([0-9]{1,15})")


class SqliteNoticeLog:
    """Satisfies :class:`services.sender.ports.NoticeLog`; ``database`` has been opened with SCHEMA.

    ``bounds`` are of what is kept of one account.
    """

    def __init__(self, database: Database, bounds: Bounds) -> None:
        self._database = database
        self._bounds = bounds
        self._bells = Bells()

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def check(self) -> None:
        await self._database.rows("SELECT 1 FROM log LIMIT 1")

    async def append(self, account: Id, notices: Sequence[Notice]) -> None:
        await self._database.write(lambda db: self._append(db, account, notices))
        self._bells.ring(account)

    async def newest(self, account: Id) -> str:
        epoch, count, _ = await self._database.write(lambda db: _state(db, account))
        return f"{epoch}-{count}"

    async def read(self, account: Id, after: str, limit: int) -> list[Entry]:
        cursor = _CURSOR.fullmatch(after)
        if cursor is None:
            raise MienError(Code.BAD_QUERY, "cursor: is none of ours")
        return await self._database.read(lambda db: _read(db, account, cursor[1], int(cursor[2]), limit))

    def listening(self, account: Id) -> AbstractContextManager[Event]:
        return self._bells.listening(account)

    def _append(self, db: sqlite3.Connection, account: Id, notices: Sequence[Notice]) -> None:
        now_ms = clock.now_ms()
        _, before, size = _state(db, account)
        count = before
        for notice in notices:
            is_new = db.execute(
                "INSERT INTO told VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (account, notice.event_id, count + 1, now_ms),
            ).rowcount
            if is_new:
                count, size = count + 1, size + len(notice.content)
                db.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?)", (account, count, now_ms, size, notice.content))
        if count > before:
            db.execute("UPDATE log SET count = ?, bytes = ? WHERE account_id = ?", (count, size, account))
            self._trim(db, account, count, size, now_ms)

    def _trim(self, db: sqlite3.Connection, account: Id, count: int, size: int, now_ms: int) -> None:
        """What is too old goes of every account, or nobody would trim those where nothing happens."""
        bounds = self._bounds
        db.execute("DELETE FROM entry WHERE account_id = ? AND number <= ?", (account, count - bounds.entries))
        db.execute("DELETE FROM entry WHERE account_id = ? AND bytes <= ?", (account, size - bounds.size_bytes))
        db.execute("DELETE FROM told WHERE account_id = ? AND number <= ?", (account, count - bounds.remembered))
        db.execute("DELETE FROM entry WHERE at_ms < ?", (now_ms - bounds.age_ms,))
        db.execute("DELETE FROM told WHERE at_ms < ?", (now_ms - bounds.age_ms,))


def _state(db: sqlite3.Connection, account: Id) -> tuple[str, int, int]:
    """The account's epoch, count and bytes; an account that has none begins a log."""
    db.execute("INSERT INTO log VALUES (?, ?, 0, 0) ON CONFLICT DO NOTHING", (account, secrets.token_hex(6)))
    return tuple(db.execute("SELECT epoch, count, bytes FROM log WHERE account_id = ?", (account,)).fetchone())


def _read(db: sqlite3.Connection, account: Id, epoch: str, number: int, limit: int) -> list[Entry]:
    state = db.execute("SELECT epoch, count FROM log WHERE account_id = ?", (account,)).fetchone()
    if state is None or state["epoch"] != epoch or number > state["count"]:
        raise MienError(Code.CURSOR_GONE, "cursor: of a log that is not there any more")
    rows = db.execute(
        "SELECT number, content FROM entry WHERE account_id = ? AND number > ? ORDER BY number LIMIT ?",
        (account, number, limit),
    ).fetchall()
    if number < state["count"] and (not rows or rows[0]["number"] != number + 1):
        raise MienError(Code.CURSOR_GONE, "cursor: too old, some of what followed it is no longer kept")
    return [Entry(f"{epoch}-{row['number']}", row["content"]) for row in rows]
