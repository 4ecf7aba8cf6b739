"""Handlers in Redis for a short while, in front of the store that has them: every emission reads one.

Whoever changes a handler puts the new version there before it is acknowledged, so the next emission anywhere runs
under it. A version never takes the place of a newer one, and a deletion leaves a mark that counts as the newest: a
reader that was slow cannot bring an old one back. A change made while Redis is away is seen by others within one and
a half ``TTL_S`` of it, or of Redis's return; without Redis everybody reads the store.
"""

from __future__ import annotations

import time
from typing import Any

import orjson
from prometheus_client import Counter
from redis.asyncio import Redis

from libs.common.errors import MienError
from libs.common.ids import Id
from libs.common.storage.redis import Spared
from libs.common.wire.base import Page
from libs.common.wire.handlers import Handler, HandlerFilter
from services.handlers.ports import HandlerStore
from services.handlers.stored import dump, load

TTL_S = 10.0
DELETED = 2**53
"""The version of a handler that is gone; ids are not used again. The largest whole number of Lua."""

# KEYS: the handler. ARGV: version, fields (empty when it is deleted), milliseconds to live.
# One that is there already does not live longer by it: nothing is older than its time to live.
PUT = """
if tonumber(ARGV[1]) > (tonumber(redis.call('HGET', KEYS[1], 'version')) or 0) then
    redis.call('HSET', KEYS[1], 'version', ARGV[1], 'fields', ARGV[2])
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
"""

READS = Counter("mien_handler_cache_total", "Handlers read by way of the cache", ["outcome"])


class CachedHandlers:
    """Satisfies :class:`services.handlers.ports.HandlerStore` in front of ``store``."""

    def __init__(self, store: HandlerStore, redis: Redis, ttl_s: float = TTL_S) -> None:
        self._store = store
        self._redis = redis
        self._ttl_s = ttl_s
        self._put_script: Any = redis.register_script(PUT)
        self._spared = Spared("the handler cache")

    async def check(self) -> None:
        await self._store.check()

    async def add(self, handler: Handler) -> None:
        await self._store.add(handler)

    async def get(self, account: Id, handler_id: Id) -> Handler | None:
        key = _key(account, handler_id)
        fields: Any = await self._spared.ask(lambda: self._redis.hget(key, "fields"))
        if fields == b"":
            READS.labels("hit").inc()
            return None
        if fields is not None and (handler := _read(fields)):
            READS.labels("hit").inc()
            return handler
        READS.labels("miss").inc()
        return await self._read_through(account, handler_id)

    async def find(self, account: Id, where: HandlerFilter, page: Page) -> list[Handler]:
        return await self._store.find(account, where, page)

    async def count(self, account: Id, where: HandlerFilter) -> int:
        return await self._store.count(account, where)

    async def replace(self, handler: Handler) -> bool:
        replaced = await self._store.replace(handler)
        if replaced:
            await self._put(handler)
        elif await self._read_through(handler.account_id, handler.handler_id) is None:
            await self._mark_deleted(handler.account_id, handler.handler_id)
        return replaced

    async def delete(self, account: Id, handler_id: Id) -> bool:
        deleted = await self._store.delete(account, handler_id)
        # also when there is none any more: an earlier call may have deleted it and died
        await self._mark_deleted(account, handler_id)
        return deleted

    async def _read_through(self, account: Id, handler_id: Id) -> Handler | None:
        began = time.monotonic()
        handler = await self._store.get(account, handler_id)
        # what took longer may be older than a newer version that has come and expired in the meantime
        if handler is not None and time.monotonic() - began < self._ttl_s / 2:
            await self._put(handler)
        return handler

    async def _put(self, handler: Handler) -> None:
        fields = orjson.dumps(dump(handler))
        await self._keep(_key(handler.account_id, handler.handler_id), handler.version, fields)

    async def _mark_deleted(self, account: Id, handler_id: Id) -> None:
        await self._keep(_key(account, handler_id), DELETED, b"")

    async def _keep(self, key: str, version: int, fields: bytes) -> None:
        arguments = [version, fields, round(self._ttl_s * 1000)]
        await self._spared.ask(lambda: self._put_script(keys=[key], args=arguments))


def _key(account: Id, handler_id: Id) -> str:
    return f"mien:handler:{account}:{handler_id}"


def _read(fields: bytes) -> Handler | None:
    """None when another release wrote what this one cannot read."""
    try:
        return load(orjson.loads(fields))
    except (MienError, ValueError, KeyError):
        return None
