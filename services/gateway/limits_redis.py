"""Buckets that all gateways share, in Redis; a file of its own, for a gateway without Redis can spare its driver."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from libs.common.storage.redis import Spared
from services.gateway.limits import Rate

KEY = "mien:rate:{}"

# KEYS: the account's bucket. ARGV: microseconds per token, tokens in a full bucket. The clock is Redis's own, the same
# for every gateway. Numbers of microseconds since 1970 are exact in Lua, and in the text that is kept.
TAKE = """
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local full = math.max(now, tonumber(redis.call('GET', KEYS[1])) or 0) + ARGV[1]
local wait = full - now - ARGV[1] * ARGV[2]
if wait <= 0 then
    redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
end
return string.format('%.0f', wait)
"""


class RedisBuckets:
    """Satisfies :class:`Buckets` for every process on one Redis. While it is away, everything passes."""

    def __init__(self, redis: Redis, rate: Rate) -> None:
        self._arguments = [round(1_000_000 / rate.per_s), rate.burst]
        self._script: Any = redis.register_script(TAKE)
        self._spared = Spared("rate limits")

    async def take(self, account: str) -> float:
        wait_us = await self._spared.ask(lambda: self._script(keys=[KEY.format(account)], args=self._arguments))
        return 0.0 if wait_us is None else max(int(wait_us), 0) / 1_000_000
