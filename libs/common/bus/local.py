"""The in-process bus: a queue in SQLite, so that what was published outlives the process."""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
from dataclasses import replace
from typing import Any

import msgpack
from prometheus_client import Counter, Gauge
from pydantic import ValidationError

from libs.common import clock, observability
from libs.common.bus.port import Consumer, Message
from libs.common.errors import Code, MienError
from libs.common.storage.sqlite import Database
from libs.common.wire.base import chunks, fault, pack

log = logging.getLogger("mien.bus")
WAITING = Gauge("mien_bus_waiting", "Messages not yet acknowledged", ["queue"])
DEAD = Counter("mien_bus_dead_letters_total", "Messages given up", ["queue"])

SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    message_id TEXT NOT NULL,
    due_ms INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    UNIQUE (queue, message_id)
);
CREATE INDEX IF NOT EXISTS message_due ON message (queue, due_ms, seq);
CREATE TABLE IF NOT EXISTS dead_letter (
    seq INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    message_id TEXT NOT NULL,
    died_ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    envelope BLOB NOT NULL
);
"""
PAGE = 32
BROKEN_WAIT_S = 1.0
"""Pause after the database failed."""
DEAD_LETTERS = 10_000
"""Kept per queue; the oldest go first."""


class LocalBus:
    """Satisfies :class:`libs.common.bus.port.Bus` within one process."""

    def __init__(self, database: Database, *, capacity: int = 10_000, attempts: int = 8) -> None:
        self._database = database
        self._capacity = capacity
        self._attempts = attempts
        self._consumers: dict[str, Consumer] = {}
        self._at_once: dict[str, int] = {}
        self._topics: dict[str, list[str]] = {}
        self._awake: dict[str, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def subscribe(self, topic: str, subscriber: str, consume: Consumer, at_once: int = 1) -> None:
        queue = f"{topic}.{subscriber}"
        self._at_once[queue] = at_once
        self._topics.setdefault(topic, []).append(queue)
        self._consumers[queue] = consume
        self._awake[queue] = asyncio.Event()

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(self._drain(queue), name=queue) for queue in self._consumers]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def publish(self, message: Message) -> None:
        queues = self._topics.get(message.topic, [])
        if not queues:
            return
        envelope = _pack(replace(message, request_id=message.request_id or observability.REQUEST.get()))
        await self._database.write(lambda db: self._insert(db, queues, message.message_id, envelope))
        for queue in queues:
            self._awake[queue].set()

    def _insert(self, db: sqlite3.Connection, queues: list[str], message_id: str, envelope: bytes) -> None:
        for queue in queues:
            waiting = db.execute("SELECT count(*) FROM message WHERE queue = ?", (queue,)).fetchone()[0]
            if waiting >= self._capacity:
                raise MienError(Code.OVERLOADED, f"{waiting} messages wait in {queue}", retry_after_s=1)
            db.execute(
                "INSERT INTO message (queue, message_id, due_ms, attempt, envelope) VALUES (?, ?, ?, 1, ?)"
                " ON CONFLICT DO NOTHING",
                (queue, message_id, clock.now_ms(), envelope),
            )

    async def _drain(self, queue: str) -> None:
        """Deliver what is due, oldest first, for as long as the process lives."""
        while True:
            try:
                if not await self._deliver_page(queue):
                    await self._sleep(queue)
            except sqlite3.Error:
                log.exception("%s cannot be read or written; trying again in %g s", queue, BROKEN_WAIT_S)
                await asyncio.sleep(BROKEN_WAIT_S)

    async def _deliver_page(self, queue: str) -> bool:
        """Deliver some of what is due; whether there was anything."""
        self._awake[queue].clear()
        rows = await self._database.rows(
            "SELECT seq, message_id, attempt, envelope FROM message WHERE queue = ? AND due_ms <= ?"
            " ORDER BY seq LIMIT ?",
            (queue, clock.now_ms(), PAGE),
        )
        await self._observe(queue)
        for some in chunks(rows, self._at_once[queue]):
            await asyncio.gather(*(self._deliver(queue, row) for row in some))
        return bool(rows)

    async def _observe(self, queue: str) -> None:
        rows = await self._database.rows("SELECT count(*) FROM message WHERE queue = ?", (queue,))
        WAITING.labels(queue).set(rows[0][0])

    async def _sleep(self, queue: str) -> None:
        """Until something is published or the next retry is due."""
        rows = await self._database.rows("SELECT min(due_ms) FROM message WHERE queue = ?", (queue,))
        due = rows[0][0]
        wait_s = None if due is None else max(0.01, (due - clock.now_ms()) / 1000)
        try:
            await asyncio.wait_for(self._awake[queue].wait(), wait_s)
        except TimeoutError:
            return

    async def _deliver(self, queue: str, row: sqlite3.Row) -> None:
        try:
            message = replace(_unpack(row["envelope"]), attempt=row["attempt"])
            with observability.request(message.request_id or message.message_id):
                await self._consumers[queue](message)
        except Exception as failure:
            await self._failed(queue, row, failure)
        else:
            await self._database.write(lambda db: db.execute("DELETE FROM message WHERE seq = ?", (row["seq"],)))

    async def _failed(self, queue: str, row: sqlite3.Row, failure: Exception) -> None:
        # pydantic would quote the value, which may be a picture or a descriptor
        text = fault(failure) if isinstance(failure, ValidationError) else failure
        reason = f"{type(failure).__name__}: {text}"
        message_id, attempt = row["message_id"], row["attempt"]
        # a disk that is full or fails is no fault of the message, which may have been acknowledged already
        if attempt >= self._attempts and not isinstance(failure, sqlite3.OperationalError):
            log.error("gave up %s in %s after %d attempts: %s", message_id, queue, attempt, reason)
            DEAD.labels(queue).inc()
            await self._database.write(lambda db: _bury(db, queue, row, reason))
            return
        log.warning("retry %s in %s after attempt %d: %s", message_id, queue, attempt, reason)
        due_ms = clock.now_ms() + backoff_ms(attempt)
        await self._database.write(
            lambda db: db.execute(
                "UPDATE message SET attempt = attempt + 1, due_ms = ? WHERE seq = ?", (due_ms, row["seq"])
            )
        )


def backoff_ms(attempt: int) -> int:
    """Exponential from 0.2 s to 60 s with full jitter, in milliseconds."""
    return int(random.uniform(0.5, 1.0) * min(60_000, 200 * 2 ** (attempt - 1)))  # noqa: S311


def _bury(db: sqlite3.Connection, queue: str, row: sqlite3.Row, reason: str) -> None:
    db.execute(
        "INSERT INTO dead_letter VALUES (?, ?, ?, ?, ?, ?)",
        (row["seq"], queue, row["message_id"], clock.now_ms(), reason, row["envelope"]),
    )
    db.execute("DELETE FROM message WHERE seq = ?", (row["seq"],))
    db.execute(
        "DELETE FROM dead_letter WHERE queue = ? AND seq NOT IN"
        " (SELECT seq FROM dead_letter WHERE queue = ? ORDER BY seq DESC LIMIT ?)",
        (queue, queue, DEAD_LETTERS),
    )


def _pack(message: Message) -> bytes:
    return pack(vars(message))


def _unpack(envelope: bytes) -> Message:
    fields: dict[str, Any] = msgpack.unpackb(envelope)
    return Message(**fields)
