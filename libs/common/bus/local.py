"""The in-process bus: a queue in SQLite, so that what was published outlives the process."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import msgpack

from libs.common import clock
from libs.common.bus import metrics
from libs.common.bus.context import delivery, stamped
from libs.common.bus.port import (
    DEAD_LETTERS,
    MAX_MESSAGE_BYTES,
    Backoff,
    Consumer,
    DeadLetter,
    Message,
    Unreadable,
    Verdict,
    reason,
    verdict,
)
from libs.common.bus.topics import TOPICS, Topics, queues_of, readable, topic_named
from libs.common.errors import Code, MienError
from libs.common.storage.sqlite import Database
from libs.common.wire.base import chunks, pack

log = logging.getLogger("mien.bus")

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
TAKE = """
DELETE FROM dead_letter
WHERE queue = :queue AND (:ids IS NULL OR message_id IN (SELECT value FROM json_each(:ids)))
RETURNING seq, message_id, envelope
"""
PAGE = 32
BROKEN_WAIT_S = 1.0
"""Pause after the database failed."""
UNTOLD_S = 5.0
"""After how long a message is noticed that another process put into the file (a dead letter that was redriven)."""


class LocalBus:
    """Satisfies :class:`libs.common.bus.port.Bus` within one process."""

    def __init__(
        self,
        database: Database,
        *,
        topics: Topics = TOPICS,
        capacity: int = 10_000,
        attempts: int = 8,
        backoff: Backoff = Backoff(),  # noqa: B008 (frozen)
    ) -> None:
        self._database = database
        self._topics = topics
        self._capacity = capacity
        self._attempts = attempts
        self._backoff = backoff
        self._consumers: dict[str, Consumer] = {}
        self._at_once: dict[str, int] = {}
        self._awake = {queue: asyncio.Event() for queue in queues_of(topics)}
        self._troubles: Counter[str] = Counter()
        self._tasks: list[asyncio.Task[None]] = []

    def subscribe(self, topic: str, subscriber: str, consume: Consumer, at_once: int = 1) -> None:
        queue = topic_named(topic, self._topics).queue(subscriber)
        self._at_once[queue] = at_once
        self._consumers[queue] = consume

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(self._drain(queue), name=queue) for queue in self._consumers]
        for task in self._tasks:
            task.add_done_callback(_report)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def health(self) -> dict[str, Any]:
        if ended := [task.get_name() for task in self._tasks if task.done()]:
            raise MienError(Code.STORE_UNAVAILABLE, f"nothing is delivered any more out of {', '.join(ended)}")
        return {}

    async def publish(self, message: Message) -> None:
        queues = topic_named(message.topic, self._topics).queues
        envelope = _pack(stamped(message))
        await self._database.write(lambda db: self._insert(db, queues, message.message_id, envelope))
        for queue in queues:
            self._awake[queue].set()

    def _insert(self, db: sqlite3.Connection, queues: Sequence[str], message_id: str, envelope: bytes) -> None:
        for queue in queues:
            waiting = db.execute("SELECT count(*) FROM message WHERE queue = ?", (queue,)).fetchone()[0]
            if waiting >= self._capacity:
                metrics.REFUSED.labels(queue).inc()
                raise MienError(Code.OVERLOADED, f"{waiting} messages wait in {queue}", retry_after_s=1)
            _put(db, queue, message_id, envelope)

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
        rows = await self._database.rows(
            "SELECT count(*), min(due_ms), (SELECT count(*) FROM dead_letter WHERE queue = :queue)"
            " FROM message WHERE queue = :queue",
            {"queue": queue},
        )
        waiting, due_ms, buried = rows[0]
        metrics.WAITING.labels(queue).set(waiting)
        metrics.OLDEST.labels(queue).set(max(0, clock.now_ms() - due_ms) / 1000 if waiting else 0)
        metrics.BURIED.labels(queue).set(buried)

    async def _sleep(self, queue: str) -> None:
        """Until something is published or the next retry is due."""
        rows = await self._database.rows("SELECT min(due_ms) FROM message WHERE queue = ?", (queue,))
        due = rows[0][0]
        wait_s = UNTOLD_S if due is None else min(UNTOLD_S, max(0.01, (due - clock.now_ms()) / 1000))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._awake[queue].wait(), wait_s)

    async def _deliver(self, queue: str, row: sqlite3.Row) -> None:
        try:
            message = readable(replace(_unpack(row["envelope"]), attempt=row["attempt"]), self._topics)
            with delivery(queue, message):
                await self._consumers[queue](message)
        except Exception as failure:
            await self._failed(queue, row, failure)
        else:
            self._troubles.pop(queue, None)
            await self._database.write(lambda db: db.execute("DELETE FROM message WHERE seq = ?", (row["seq"],)))

    async def _failed(self, queue: str, row: sqlite3.Row, failure: Exception) -> None:
        message_id, attempt, why = row["message_id"], row["attempt"], reason(failure)
        fate = verdict(failure)
        if fate is Verdict.WAIT:
            self._troubles[queue] += 1
            log.warning("%s in %s waits for our own infrastructure: %s", message_id, queue, why)
            await asyncio.sleep(self._backoff.pause_s(self._troubles[queue]))
        elif fate is not Verdict.DEAD and attempt < self._attempts:
            log.warning("retry %s in %s after attempt %d: %s", message_id, queue, attempt, why)
            await self._set_aside(row, attempt + 1)
        elif await self._database.write(lambda db: _bury(db, queue, row, why)):
            log.error("gave up %s in %s after %d attempts: %s", message_id, queue, attempt, why)
            metrics.DEAD.labels(queue).inc()
        else:
            log.error("%s in %s cannot be given up, there are too many dead letters: %s", message_id, queue, why)
            await self._set_aside(row, attempt)

    async def _set_aside(self, row: sqlite3.Row, attempt: int) -> None:
        """Have it tried again later, as its ``attempt``-th."""
        due_ms = clock.now_ms() + int(self._backoff.wait_s(row["attempt"]) * 1000)
        values = (attempt, due_ms, row["seq"])
        await self._database.write(
            lambda db: db.execute("UPDATE message SET attempt = ?, due_ms = ? WHERE seq = ?", values)
        )


def _report(task: asyncio.Task[None]) -> None:
    """A task that was to live as long as the process has ended."""
    failure = None if task.cancelled() else task.exception()
    if failure is not None:
        log.critical("delivery of %s has ended", task.get_name(), exc_info=failure)


class LocalDeadLetters:
    """Satisfies :class:`libs.common.bus.port.DeadLetters` over the file of a :class:`LocalBus`, running or not."""

    def __init__(self, database: Database, *, topics: Topics = TOPICS) -> None:
        self._database = database
        self._queues = queues_of(topics)

    async def redrive(self, queue: str, message_ids: Sequence[str] | None) -> int:
        values = _chosen(self._known(queue), message_ids)
        return await self._database.write(lambda db: self._redrive(db, queue, values))

    @staticmethod
    def _redrive(db: sqlite3.Connection, queue: str, values: dict[str, Any]) -> int:
        rows = sorted(db.execute(TAKE, values).fetchall(), key=lambda row: row["seq"])
        for row in rows:
            _put(db, queue, row["message_id"], row["envelope"])
        return len(rows)

    async def purge(self, queue: str, message_ids: Sequence[str] | None) -> int:
        values = _chosen(self._known(queue), message_ids)
        return await self._database.write(lambda db: len(db.execute(TAKE, values).fetchall()))

    async def list(self, queue: str | None, limit: int) -> Sequence[DeadLetter]:
        found: list[DeadLetter] = []
        for each in self._queues if queue is None else [self._known(queue)]:
            found += await self._database.read(partial(_listed, each, limit))
        return found

    def _known(self, queue: str) -> str:
        if queue not in self._queues:
            raise ValueError(f"no queue is named {queue}; there are {', '.join(self._queues)}")
        return queue


def _chosen(queue: str, message_ids: Sequence[str] | None) -> dict[str, Any]:
    return {"queue": queue, "ids": None if message_ids is None else json.dumps(list(message_ids))}


def _listed(queue: str, limit: int, db: sqlite3.Connection) -> list[DeadLetter]:
    """Row by row, because each may be large and none of its body is shown."""
    rows = db.execute("SELECT * FROM dead_letter WHERE queue = ? ORDER BY seq LIMIT ?", (queue, limit))
    return [_dead_letter(row) for row in rows]


def _dead_letter(row: sqlite3.Row) -> DeadLetter:
    try:
        message = _unpack(row["envelope"])
    except Unreadable:
        message = Message("", "", {}, attempt=1)
    return DeadLetter(
        queue=row["queue"],
        message_id=row["message_id"],
        topic=message.topic,
        account=message.account,
        attempts=message.attempt,
        reason=row["reason"],
        died=clock.from_ms(row["died_ms"]),
    )


def _put(db: sqlite3.Connection, queue: str, message_id: str, envelope: bytes) -> None:
    db.execute(
        "INSERT INTO message (queue, message_id, due_ms, attempt, envelope) VALUES (?, ?, ?, 1, ?)"
        " ON CONFLICT DO NOTHING",
        (queue, message_id, clock.now_ms(), envelope),
    )


def _bury(db: sqlite3.Connection, queue: str, row: sqlite3.Row, why: str) -> bool:
    """Whether there was room for it among the dead letters."""
    buried = db.execute("SELECT count(*) FROM dead_letter WHERE queue = ?", (queue,)).fetchone()[0]
    if buried >= DEAD_LETTERS:
        return False
    db.execute(
        "INSERT INTO dead_letter VALUES (?, ?, ?, ?, ?, ?)",
        (row["seq"], queue, row["message_id"], clock.now_ms(), why, _counted(row["envelope"], row["attempt"])),
    )
    db.execute("DELETE FROM message WHERE seq = ?", (row["seq"],))
    return True


def _counted(envelope: bytes, attempt: int) -> bytes:
    """The envelope with its attempts written into it, if it can be read."""
    with suppress(Unreadable):
        return _pack(replace(_unpack(envelope), attempt=attempt))
    return envelope


def _pack(message: Message) -> bytes:
    envelope = pack(vars(message))
    if len(envelope) > MAX_MESSAGE_BYTES:
        raise MienError(Code.BODY_TOO_LARGE, f"{len(envelope)} bytes for {message.topic}; {MAX_MESSAGE_BYTES} may be")
    return envelope


def _unpack(envelope: bytes) -> Message:
    """Raises Unreadable."""
    try:
        return Message(**msgpack.unpackb(envelope))
    except (ValueError, TypeError, msgpack.UnpackException) as wrong:
        raise Unreadable(f"the envelope is no message: {type(wrong).__name__}") from None
