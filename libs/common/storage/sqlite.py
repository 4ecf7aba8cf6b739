"""One SQLite file: a writer thread that commits many callers' work together, and reader threads.

A write is a function of the connection. Writes that wait at the same moment share one transaction (each in
its own savepoint, so one that fails undoes only itself) and are acknowledged after its commit, which reaches
the disk when ``durable``. Nothing here blocks the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from libs.common.wire.base import chunks

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

PRAGMAS = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = {synchronous};
PRAGMA foreign_keys = ON;
PRAGMA busy_timeout = 5000;
PRAGMA cache_size = -65536;
PRAGMA mmap_size = 268435456;
PRAGMA wal_autocheckpoint = 4000;
"""
BATCH = 500
PARAMETERS = 10_000
"""Of one statement; SQLite allows 32,766."""
IN_JSON = "IN (SELECT value FROM json_each(?))"
"""An IN clause that takes any number of UUIDs or integers in one parameter, a JSON array. Not for free text: in
SQLite 3.40 json_each cuts a string off at NUL."""


class Database:
    """A file with a schema. ``schema`` holds idempotent statements (``create table if not exists ...``)."""

    def __init__(self, path: Path, schema: str, *, durable: bool = True, readers: int = 2) -> None:
        self._path = path
        self._schema = schema
        self._synchronous = "FULL" if durable else "NORMAL"
        self._waiting: queue.SimpleQueue[tuple[Work[Any], Future[Any]] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_loop, name=f"{path.stem}-writer", daemon=True)
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix=f"{path.stem}-reader")
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._closed = False

    async def open(self) -> Database:
        """Create the file and its schema. Raises sqlite3.DatabaseError naming the file when it is something else."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            await asyncio.to_thread(self._prepare)
        except sqlite3.DatabaseError as fault:
            raise sqlite3.DatabaseError(f"{self._path}: {fault}") from fault
        self._writer.start()
        return self

    def _prepare(self) -> None:
        with contextlib.closing(self._connect()) as connection:
            connection.execute("PRAGMA page_size = 8192")
            connection.executescript(self._schema)

    async def close(self) -> None:
        """Finish the writes that were handed in, then close every connection."""
        if self._closed:
            return
        self._closed = True
        self._waiting.put(None)
        await asyncio.to_thread(self._writer.join)
        await asyncio.to_thread(self._readers.shutdown)
        for connection in self._connections:
            connection.close()

    async def read(self, work: Work[T]) -> T:
        """Run ``work`` on a reader's connection; all it reads is of one moment."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def rows(self, sql: str, values: tuple[Any, ...] | dict[str, Any] = ()) -> list[sqlite3.Row]:
        """All rows of one query."""
        return await self.read(lambda connection: connection.execute(sql, values).fetchall())

    async def write(self, work: Work[T]) -> T:
        """Run ``work`` inside a transaction; returns after the commit. What ``work`` raises undoes it alone."""
        if self._closed:
            raise RuntimeError(f"{self._path.name} is closed")
        done: Future[T] = Future()
        self._waiting.put((work, done))
        return await asyncio.shield(asyncio.wrap_future(done))

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.executescript(PRAGMAS.format(synchronous=self._synchronous))
        return connection

    def _read(self, work: Work[T]) -> T:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
            self._connections.append(connection)
        connection.execute("BEGIN")
        try:
            return work(connection)
        finally:
            connection.execute("ROLLBACK")

    def _write_loop(self) -> None:
        with contextlib.closing(self._connect()) as connection:
            while (first := self._waiting.get()) is not None:
                batch = [first, *self._more()]
                self._commit(connection, [item for item in batch if item])
                if None in batch:
                    return

    def _more(self) -> Iterator[tuple[Work[Any], Future[Any]] | None]:
        with contextlib.suppress(queue.Empty):
            for _ in range(BATCH - 1):
                yield self._waiting.get_nowait()

    def _commit(self, connection: sqlite3.Connection, batch: list[tuple[Work[Any], Future[Any]]]) -> None:
        """One transaction for the batch; nobody is answered before it is on the disk."""
        outcomes: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            outcomes = [(done, *_attempt(connection, work)) for work, done in batch]
            connection.execute("COMMIT")
        except Exception as failure:
            outcomes = [(done, None, failure) for _, done in batch]
            # on a failing disk this fails too; the thread must live, and the next batch will try again
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        for done, result, failure in outcomes:
            if failure is None:
                done.set_result(result)
            else:
                done.set_exception(failure)


def _attempt(connection: sqlite3.Connection, work: Work[Any]) -> tuple[Any, BaseException | None]:
    connection.execute("SAVEPOINT one")
    try:
        result = work(connection)
    except Exception as failure:
        if not connection.in_transaction:  # on a full disk SQLite undoes the whole batch itself
            raise
        connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")
        return None, failure
    connection.execute("RELEASE one")
    return result, None


def insert(db: sqlite3.Connection, table: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Insert ``rows``, many with each statement.

    After every statement the writer waits for the interpreter's lock, which a thread that parses a large request keeps
    for up to 5 ms.
    """
    for some in chunks(rows, PARAMETERS // len(columns)):
        values = ",".join([f"({marks(columns)})"] * len(some))
        sql = f"INSERT INTO {table} ({','.join(columns)}) VALUES {values}"  # noqa: S608  names are the callers' own
        db.execute(sql, [value for row in some for value in row])


def marks(values: list[Any] | tuple[Any, ...]) -> str:
    """``?,?,?`` for an IN clause."""
    return ",".join("?" * len(values))
