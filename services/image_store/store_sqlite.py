"""The index of pictures and objects in one SQLite file."""

from __future__ import annotations

import json
import sqlite3

from libs.common import clock
from libs.common.ids import Id
from libs.common.storage.sqlite import Database, marks
from libs.common.wire.base import chunks
from libs.common.wire.images import PLATFORM_BUCKETS, Bucket
from services.image_store.ports import PLATFORM, Kind, Record, bucket_exists, bucket_missing

# Items refer to the number of their bucket: one deleted and made again under its name is another bucket.
TABLES = """
CREATE TABLE IF NOT EXISTS bucket (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    create_ms INTEGER NOT NULL,
    UNIQUE (account, name)
);
CREATE TABLE IF NOT EXISTS dropped_bucket (
    number INTEGER PRIMARY KEY
);
CREATE TABLE IF NOT EXISTS item (
    account TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    kind TEXT NOT NULL,
    item_id TEXT NOT NULL,
    key TEXT NOT NULL UNIQUE,
    content_type TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    create_ms INTEGER NOT NULL,
    expire_ms INTEGER,
    meta TEXT NOT NULL,
    PRIMARY KEY (account, bucket, kind, item_id)
);
CREATE TABLE IF NOT EXISTS sweep (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    due_ms INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS item_bucket ON item (bucket);
CREATE INDEX IF NOT EXISTS item_expiry ON item (expire_ms) WHERE expire_ms IS NOT NULL;
"""
SCHEMA = TABLES + "".join(
    "INSERT OR IGNORE INTO bucket (account, name, create_ms)"  # noqa: S608
    f" VALUES ('{PLATFORM}', '{name}', strftime('%s', 'now') * 1000);\n"
    for name in PLATFORM_BUCKETS
)
PUT = """
INSERT OR REPLACE INTO item (account, bucket, kind, item_id, key, content_type, size_bytes, sha256,
    create_ms, expire_ms, meta)
VALUES (:account, :bucket, :kind, :item_id, :key, :content_type, :size_bytes, :sha256,
    :create_ms, :expire_ms, :meta)
"""
TAKE_TURN = """
INSERT INTO sweep VALUES (1, :next_ms) ON CONFLICT (id) DO UPDATE SET due_ms = :next_ms WHERE due_ms <= :now_ms
"""
ONE = "account = ? AND bucket = ? AND kind = ? AND item_id = ?"


class SqliteIndex:
    """Satisfies :class:`services.image_store.ports.ImageIndex`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def check(self) -> None:
        await self._database.rows("SELECT 1 FROM bucket LIMIT 1")

    async def add_bucket(self, account: Id, name: str, create_ms: int) -> None:
        def add(db: sqlite3.Connection) -> None:
            if _number(db, account, name) is not None:
                raise bucket_exists(name)
            db.execute("INSERT INTO bucket (account, name, create_ms) VALUES (?, ?, ?)", (account, name, create_ms))

        await self._database.write(add)

    async def buckets(self, account: Id) -> list[Bucket]:
        rows = await self._database.rows(
            "SELECT name, create_ms FROM bucket WHERE account IN (?, ?) ORDER BY name", (PLATFORM, account)
        )
        return [Bucket(bucket=row["name"], create_time=clock.from_ms(row["create_ms"])) for row in rows]

    async def bucket(self, account: Id, name: str) -> Bucket:
        rows = await self._database.rows(
            "SELECT name, create_ms FROM bucket WHERE account IN (?, ?) AND name = ?", (PLATFORM, account, name)
        )
        if not rows:
            raise bucket_missing(name)
        return Bucket(bucket=name, create_time=clock.from_ms(rows[0]["create_ms"]))

    async def delete_bucket(self, account: Id, name: str, now_ms: int) -> bool:
        def drop(db: sqlite3.Connection) -> bool:
            rows = db.execute("DELETE FROM bucket WHERE account = ? AND name = ? RETURNING number", (account, name))
            dropped = [tuple(row) for row in rows.fetchall()]
            db.executemany("INSERT INTO dropped_bucket VALUES (?)", dropped)
            return bool(dropped)

        return await self._database.write(drop)

    async def put(self, records: list[Record]) -> list[str]:
        return await self._database.write(lambda db: [key for record in records for key in _put(db, record)])

    async def get(self, account: Id, bucket: str, kind: Kind, item_id: Id, now_ms: int) -> Record | None:
        def find(db: sqlite3.Connection) -> sqlite3.Row | None:
            values = (account, _number(db, account, bucket), kind, item_id, now_ms)
            return db.execute(
                f"SELECT * FROM item WHERE {ONE} AND (expire_ms IS NULL OR expire_ms > ?)",  # noqa: S608
                values,
            ).fetchone()

        row = await self._database.read(find)
        return None if row is None else Record(**{**dict(row), "bucket": bucket, "meta": json.loads(row["meta"])})

    async def delete(self, account: Id, bucket: str, kind: Kind, item_ids: list[Id], now_ms: int) -> list[str]:
        def forget(db: sqlite3.Connection) -> list[str]:
            number = _number(db, account, bucket)
            rows: list[sqlite3.Row] = []
            for some in chunks(item_ids, 500):
                rows += db.execute(
                    f"DELETE FROM item WHERE account = ? AND bucket = ? AND kind = ? AND item_id IN ({marks(some)})"  # noqa: S608
                    " AND (expire_ms IS NULL OR expire_ms > ?) RETURNING key",
                    (account, number, kind, *some, now_ms),
                ).fetchall()
            return [row["key"] for row in rows]

        return await self._database.write(forget)

    async def purge(self, now_ms: int, limit: int) -> list[str]:
        def forget(db: sqlite3.Connection) -> list[str]:
            rows = db.execute(
                "DELETE FROM item WHERE key IN ("
                " SELECT key FROM item WHERE expire_ms <= ?"
                " UNION ALL SELECT key FROM item WHERE bucket IN (SELECT number FROM dropped_bucket)"
                " LIMIT ?) RETURNING key",
                (now_ms, limit),
            ).fetchall()
            if len(rows) < limit:
                db.execute("DELETE FROM dropped_bucket")
            return [row["key"] for row in rows]

        return await self._database.write(forget)

    async def known(self, keys: list[str]) -> set[str]:
        def find(db: sqlite3.Connection) -> set[str]:
            found: set[str] = set()
            for some in chunks(keys, 500):
                rows = db.execute(f"SELECT key FROM item WHERE key IN ({marks(some)})", some)  # noqa: S608
                found.update(row["key"] for row in rows)
            return found

        return await self._database.read(find)

    async def take_turn(self, now_ms: int, every_ms: int) -> bool:
        values = {"now_ms": now_ms, "next_ms": now_ms + every_ms}
        return await self._database.write(lambda db: db.execute(TAKE_TURN, values).rowcount == 1)


def _number(db: sqlite3.Connection, account: Id, name: str) -> int | None:
    row = db.execute("SELECT number FROM bucket WHERE account IN (?, ?) AND name = ?", (PLATFORM, account, name))
    found = row.fetchone()
    return found and found["number"]


def _put(db: sqlite3.Connection, record: Record) -> list[str]:
    """Store one record; returns the key it replaced, if any."""
    number = _number(db, record.account, record.bucket)
    if number is None:
        raise bucket_missing(record.bucket)
    identity = (record.account, number, record.kind, record.item_id)
    replaced = db.execute(f"SELECT key FROM item WHERE {ONE}", identity).fetchall()  # noqa: S608
    db.execute(PUT, {**vars(record), "bucket": number, "meta": json.dumps(record.meta)})
    return [row["key"] for row in replaced]
