"""Handlers read by way of Redis: never older than what was acknowledged, and there without Redis, too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from deploy.local.redis import Redis as RedisServer
from libs.common.ids import Id
from libs.common.wire.handlers import Handler
from services.handlers.ports import HandlerStore
from services.handlers.store_cached import CachedHandlers
from tests.contract.handler_stores import sqlite_store
from tests.contract.test_handler_store import MINE, handler, successor


class Gated:
    """A store whose reads are counted, and can be held up between the reading and the answer."""

    def __init__(self, store: HandlerStore) -> None:
        self._store = store
        self.reads = 0
        self.has_read = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def get(self, account: Id, handler_id: Id) -> Handler | None:
        self.reads += 1
        found = await self._store.get(account, handler_id)
        self.has_read.set()
        await self.may_answer.wait()
        return found


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url, socket_connect_timeout=1, socket_timeout=1) as redis:
        yield redis


@pytest.fixture
async def store(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    async with sqlite_store(tmp_path, request) as opened:
        yield Gated(opened)


async def test_a_handler_is_read_from_the_store_once_and_a_change_is_seen_at_once_by_every_process(
    redis: Redis, store: Any
) -> None:
    one, two = CachedHandlers(store, redis), CachedHandlers(store, redis)
    first = handler(description="first")
    await one.add(first)
    for _ in range(5):
        assert [await one.get(MINE, first.handler_id), await two.get(MINE, first.handler_id)] == [first, first]
    assert store.reads == 1

    second = successor(first, description="second")
    assert await one.replace(second)
    assert await two.get(MINE, first.handler_id) == second
    assert await two.delete(MINE, first.handler_id)
    assert await one.get(MINE, first.handler_id) is None
    assert store.reads == 1


@pytest.mark.parametrize("change", ["replaced", "deleted"])
async def test_a_slow_reader_brings_nothing_old_back(redis: Redis, store: Any, change: str) -> None:
    first = handler(description="first")
    second = successor(first, description="second")
    await store.add(first)
    reader, writer = CachedHandlers(store, redis), CachedHandlers(store, redis)
    store.may_answer.clear()
    slow = asyncio.create_task(reader.get(MINE, first.handler_id))
    await store.has_read.wait()
    if change == "replaced":
        assert await writer.replace(second)
    else:
        assert await writer.delete(MINE, first.handler_id)
    store.may_answer.set()

    assert await slow == first
    assert await reader.get(MINE, first.handler_id) == (second if change == "replaced" else None)


async def test_what_was_changed_past_the_cache_is_seen_when_its_time_is_over(redis: Redis, store: Any) -> None:
    cached = CachedHandlers(store, redis, ttl_s=0.3)
    first = handler(description="first")
    second = successor(first, description="second")
    await store.add(first)
    assert await cached.get(MINE, first.handler_id) == first
    assert await store.replace(second)
    deadline = time.monotonic() + 5
    while await cached.get(MINE, first.handler_id) != second:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_who_replaces_what_was_changed_past_the_cache_sees_the_change_at_the_second_try(
    redis: Redis, store: Any
) -> None:
    cached = CachedHandlers(store, redis)
    first = handler(description="first")
    await store.add(first)
    await cached.get(MINE, first.handler_id)
    await store.replace(successor(first, description="second"))

    assert not await cached.replace(successor(first, description="blind"))
    seen = await cached.get(MINE, first.handler_id)
    assert seen is not None
    assert seen.description == "second"
    assert await cached.replace(successor(seen, description="third"))


async def test_what_another_release_left_there_is_read_from_the_store(redis: Redis, store: Any) -> None:
    first = handler()
    await store.add(first)
    for fields in (b"not JSON", b"{}", b'{"handler_id": "x", "policies": "{\\"new\\": 1}"}'):
        await redis.hset(f"mien:handler:{MINE}:{first.handler_id}", mapping={"version": 9, "fields": fields})  # pyright: ignore
        assert await CachedHandlers(store, redis).get(MINE, first.handler_id) == first


async def test_without_redis_the_store_is_asked_and_nobody_waits(
    redis: Redis, redis_server: RedisServer, store: Any, caplog: pytest.LogCaptureFixture
) -> None:
    cached = CachedHandlers(store, redis)
    first = handler(description="first")
    second = successor(first, description="second")
    await cached.add(first)
    assert await cached.get(MINE, first.handler_id) == first
    redis_server.kill()
    began = time.monotonic()
    assert await cached.replace(second)
    assert [await cached.get(MINE, first.handler_id) for _ in range(20)] == [second] * 20
    assert await cached.delete(MINE, first.handler_id)
    assert await cached.get(MINE, first.handler_id) is None
    assert time.monotonic() - began < 2
    redis_server.start()
    assert [record.levelname for record in caplog.records if record.name == "mien.redis"] == ["WARNING"]
