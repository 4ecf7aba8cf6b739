"""The adapters the contract suite of the log of notices runs on; a new one is one more row of LOGS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from libs.common.storage.sqlite import Database
from services.sender.log_redis import RedisNoticeLog
from services.sender.log_sqlite import SCHEMA, SqliteNoticeLog
from services.sender.model import Bounds
from services.sender.ports import NoticeLog

BOUNDS = Bounds(entries=1000, size_bytes=16 * 1024 * 1024, age_ms=3_600_000)


class Place:
    """Where a test's log is. Opening it twice at once is what two processes do, where an adapter is for several."""

    def __init__(self, folder: Path, request: pytest.FixtureRequest) -> None:
        self.folder = folder
        self.request = request


OpenLog = Callable[[Place, Bounds], AbstractAsyncContextManager[NoticeLog]]


@asynccontextmanager
async def sqlite_log(place: Place, bounds: Bounds = BOUNDS) -> AsyncIterator[NoticeLog]:
    database = await Database(place.folder / "notices.db", SCHEMA, durable=False).open()
    log = SqliteNoticeLog(database, bounds)
    await log.start()
    try:
        yield log
    finally:
        await log.stop()
        await database.close()


@asynccontextmanager
async def redis_log(place: Place, bounds: Bounds = BOUNDS) -> AsyncIterator[NoticeLog]:
    redis = Redis.from_url(place.request.getfixturevalue("redis_url"), socket_timeout=2, socket_connect_timeout=2)
    log = RedisNoticeLog(redis, bounds)
    await log.start()
    try:
        yield log
    finally:
        await log.stop()
        await redis.aclose()


LOGS: dict[str, OpenLog] = {"sqlite": sqlite_log, "redis": redis_log}
