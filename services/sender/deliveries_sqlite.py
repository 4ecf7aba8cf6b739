"""Callbacks to be made, in one SQLite file, for the suite in one process."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from libs.common import clock
from libs.common.ids import Id
from libs.common.storage.sqlite import Database, marks
from libs.common.wire.base import chunks
from libs.common.wire.policies import Callback
from services.sender.model import Backlog, Claim, DeadDelivery, Delivery, Keeping, Waiting

SCHEMA = """
CREATE TABLE IF NOT EXISTS delivery (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL,
    lane TEXT NOT NULL,
    subscriber TEXT NOT NULL,
    source TEXT NOT NULL,
    state TEXT NOT NULL,  -- waiting, done, dead
    emitted_ms INTEGER NOT NULL,
    arrived_ns INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,  -- waiting since
    ended_ms INTEGER,  -- done or dead since
    attempts INTEGER NOT NULL,
    reason TEXT,  -- of the last failure
    callback TEXT,  -- JSON; gone when done, as is the body
    body BLOB
);
CREATE INDEX IF NOT EXISTS delivery_next ON delivery (lane, emitted_ms, arrived_ns) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS delivery_waiting ON delivery (since_ms) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS delivery_dead ON delivery (account_id, subscriber, ended_ms) WHERE state = 'dead';
CREATE INDEX IF NOT EXISTS delivery_ended ON delivery (ended_ms) WHERE ended_ms IS NOT NULL;
CREATE TABLE IF NOT EXISTS lane (
    lane TEXT PRIMARY KEY,
    due_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,  -- leased
    holder TEXT NOT NULL,
    failures INTEGER NOT NULL,
    version INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lane_due ON lane (due_ms);
"""
IDS = 500
"""Ids in one statement."""


class SqliteDeliveries:
    """Satisfies :class:`services.sender.ports.Deliveries`; ``database`` has been opened with SCHEMA."""

    def __init__(self, database: Database, keeping: Keeping = Keeping()) -> None:  # noqa: B008 (frozen)
        self._database = database
        self._keeping = keeping

    async def check(self) -> None:
        await self._database.rows("SELECT 1 FROM lane LIMIT 1")

    async def add(self, delivery: Delivery) -> None:
        await self._database.write(lambda db: self._add(db, delivery))

    async def claim(self, holder: str) -> Claim | None:
        now_ms = clock.now_ms()

        def work(db: sqlite3.Connection) -> Claim | None:
            row = db.execute(
                "SELECT * FROM lane WHERE due_ms <= ? AND until_ms <= ? ORDER BY due_ms LIMIT 1", (now_ms, now_ms)
            ).fetchone()
            if row is None:
                return None
            leased = (holder, now_ms + self._keeping.lease_ms, row["lane"])
            db.execute("UPDATE lane SET holder = ?, until_ms = ? WHERE lane = ?", leased)
            return Claim(row["lane"], holder, row["version"], row["failures"])

        due = "SELECT 1 FROM lane WHERE due_ms <= ? AND until_ms <= ? LIMIT 1"
        if not await self._database.rows(due, (now_ms, now_ms)):
            return None  # asked again and again, this costs no commit
        return await self._database.write(work)

    async def extend(self, claim: Claim) -> bool:
        until = clock.now_ms() + self._keeping.lease_ms
        sql = "UPDATE lane SET until_ms = ? WHERE lane = ? AND holder = ?"
        return await self._database.write(lambda db: db.execute(sql, (until, claim.lane, claim.holder)).rowcount > 0)

    async def head(self, claim: Claim) -> Waiting | None:
        rows = await self._database.rows(
            "SELECT * FROM delivery WHERE lane = ? AND state = 'waiting' ORDER BY emitted_ms, arrived_ns LIMIT 1",
            (claim.lane,),
        )
        if rows:
            return Waiting(_delivery(rows[0]), rows[0]["attempts"], rows[0]["since_ms"])
        await self._database.write(lambda db: _leave_empty(db, claim))
        return None

    async def delivered(self, message_id: str) -> None:
        sql = (
            "UPDATE delivery SET state = 'done', ended_ms = ?, callback = NULL, body = NULL"
            " WHERE message_id = ? AND state = 'waiting'"
        )
        await self._database.write(lambda db: db.execute(sql, (clock.now_ms(), message_id)))

    async def failed(self, message_id: str, attempts: int, reason: str) -> None:
        sql = "UPDATE delivery SET attempts = ?, reason = ? WHERE message_id = ? AND state = 'waiting'"
        await self._database.write(lambda db: db.execute(sql, (attempts, reason, message_id)))

    async def died(self, message_id: str, attempts: int, reason: str) -> None:
        await self._database.write(lambda db: self._bury(db, message_id, attempts, reason))

    async def release(self, claim: Claim, *, failures: int, due_ms: int) -> None:
        sql = "UPDATE lane SET due_ms = ?, failures = ?, until_ms = 0, holder = '' WHERE lane = ? AND holder = ?"
        await self._database.write(lambda db: db.execute(sql, (due_ms, failures, claim.lane, claim.holder)))

    async def dead(self, account: Id | None, subscriber: str | None, limit: int) -> list[DeadDelivery]:
        rows = await self._database.rows(
            "SELECT * FROM delivery WHERE state = 'dead' AND account_id = coalesce(?, account_id)"
            " AND subscriber = coalesce(?, subscriber) ORDER BY ended_ms DESC, seq DESC LIMIT ?",
            (account, subscriber, limit),
        )
        return [_dead(row) for row in rows]

    async def redrive(self, message_ids: Sequence[str] | None) -> int:
        return await self._database.write(lambda db: sum(_redrive(db, some) for some in _dead_ids(db, message_ids)))

    async def purge(self, message_ids: Sequence[str] | None) -> int:
        return await self._database.write(lambda db: sum(_forget(db, some) for some in _dead_ids(db, message_ids)))

    async def backlog(self) -> Backlog:
        waiting, oldest = (
            await self._database.rows("SELECT count(*), min(since_ms) FROM delivery WHERE state = 'waiting'")
        )[0]
        dead = (await self._database.rows("SELECT count(*) FROM delivery WHERE state = 'dead'"))[0][0]
        return Backlog(waiting, oldest, dead)

    async def sweep(self) -> None:
        now_ms = clock.now_ms()
        old = (("done", now_ms - self._keeping.done_ms), ("dead", now_ms - self._keeping.dead_ms))
        sql = "DELETE FROM delivery WHERE state = ? AND ended_ms < ?"
        await self._database.write(lambda db: db.executemany(sql, old))

    def _add(self, db: sqlite3.Connection, delivery: Delivery) -> None:
        now_ms = clock.now_ms()
        in_lane = "SELECT count(*) FROM delivery WHERE lane = ? AND state = 'waiting'"
        before = db.execute(in_lane, (delivery.lane,)).fetchone()[0]
        is_new = db.execute(
            "INSERT INTO delivery (message_id, account_id, lane, subscriber, source, state, emitted_ms, arrived_ns,"
            " since_ms, attempts, callback, body) VALUES (?, ?, ?, ?, ?, 'waiting', ?, ?, ?, 0, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (
                delivery.message_id,
                delivery.account,
                delivery.lane,
                delivery.subscriber,
                delivery.source,
                delivery.emitted_ms,
                delivery.arrived_ns,
                now_ms,
                delivery.callback.model_dump_json(),
                delivery.body,
            ),
        ).rowcount
        if is_new and before >= self._keeping.lane_limit:
            self._bury(db, delivery.message_id, 0, self._keeping.full)
        elif is_new:
            _awaken(db, delivery.lane, now_ms)

    def _bury(self, db: sqlite3.Connection, message_id: str, attempts: int, reason: str) -> None:
        row = db.execute(
            "UPDATE delivery SET state = 'dead', ended_ms = ?, attempts = ?, reason = ?"
            " WHERE message_id = ? AND state = 'waiting' RETURNING account_id, subscriber",
            (clock.now_ms(), attempts, reason, message_id),
        ).fetchone()
        if row is not None:
            db.execute(
                "DELETE FROM delivery WHERE seq IN (SELECT seq FROM delivery WHERE state = 'dead' AND account_id = ?"
                " AND subscriber = ? ORDER BY ended_ms DESC, seq DESC LIMIT -1 OFFSET ?)",
                (*row, self._keeping.dead_limit),
            )


def _awaken(db: sqlite3.Connection, lane: str, now_ms: int) -> None:
    db.execute(
        "INSERT INTO lane VALUES (?, ?, 0, '', 0, 1) ON CONFLICT DO UPDATE SET version = version + 1", (lane, now_ms)
    )


def _leave_empty(db: sqlite3.Connection, claim: Claim) -> None:
    """Give the lane up, unless something was added since it was claimed: then it is due at once."""
    held = (claim.lane, claim.holder, claim.version)
    gone = db.execute("DELETE FROM lane WHERE lane = ? AND holder = ? AND version = ?", held).rowcount
    if not gone:
        db.execute("UPDATE lane SET until_ms = 0, holder = '' WHERE lane = ? AND holder = ?", held[:2])


def _dead_ids(db: sqlite3.Connection, message_ids: Sequence[str] | None) -> list[list[str]]:
    if message_ids is None:
        message_ids = [row[0] for row in db.execute("SELECT message_id FROM delivery WHERE state = 'dead'")]
    return list(chunks(list(message_ids), IDS))


def _redrive(db: sqlite3.Connection, message_ids: list[str]) -> int:
    now_ms = clock.now_ms()
    sql = (
        "UPDATE delivery SET state = 'waiting', attempts = 0, since_ms = ?, ended_ms = NULL"  # noqa: S608
        f" WHERE state = 'dead' AND message_id IN ({marks(message_ids)}) RETURNING lane"
    )
    lanes = db.execute(sql, (now_ms, *message_ids)).fetchall()
    for lane in {row[0] for row in lanes}:
        _awaken(db, lane, now_ms)
    return len(lanes)


def _forget(db: sqlite3.Connection, message_ids: list[str]) -> int:
    sql = f"DELETE FROM delivery WHERE state = 'dead' AND message_id IN ({marks(message_ids)})"  # noqa: S608
    return db.execute(sql, message_ids).rowcount


def _delivery(row: sqlite3.Row) -> Delivery:
    return Delivery(
        message_id=row["message_id"],
        account=row["account_id"],
        callback=Callback.model_validate_json(row["callback"]),
        source=row["source"],
        emitted_ms=row["emitted_ms"],
        arrived_ns=row["arrived_ns"],
        body=row["body"],
    )


def _dead(row: sqlite3.Row) -> DeadDelivery:
    return DeadDelivery(
        message_id=row["message_id"],
        account=row["account_id"],
        subscriber=row["subscriber"],
        source=row["source"],
        attempts=row["attempts"],
        reason=row["reason"],
        died=clock.from_ms(row["ended_ms"]),
    )
