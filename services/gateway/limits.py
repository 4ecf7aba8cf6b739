"""How many requests an account may make: a bucket of tokens each, for all gateways together or for this process.

The buckets are kept as the generic cell rate algorithm keeps them (ITU-T I.371): one moment per account, at which its
bucket would be full again. A bucket of ``burst`` tokens that gains ``per_s`` a second is the same thing, and a full
one need not be remembered at all.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web
from prometheus_client import Counter
from redis.asyncio import Redis

from libs.common.errors import Code, MienError
from libs.common.http.routes import Call
from libs.common.ids import NIL
from libs.common.storage.redis import Spared

REMEMBERED = 100_000
"""Accounts whose buckets a process keeps; forgetting one that is not full costs no more than a burst."""
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

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
REFUSED = Counter("mien_rate_limited_total", "Requests refused because their account makes too many")


@dataclass(frozen=True)
class Rate:
    """``per_s`` requests a second in the long run, ``burst`` of them at once."""

    per_s: float
    burst: int


class Buckets(Protocol):
    """A bucket of tokens for every account."""

    async def take(self, account: str) -> float:
        """Take a token: 0, or the seconds until there is one to take."""
        ...


class MemoryBuckets:
    """Satisfies :class:`Buckets` for this process. ``now_s`` is a clock in seconds that only goes forward."""

    def __init__(self, rate: Rate, now_s: Callable[[], float] = time.monotonic) -> None:
        self._each_s = 1 / rate.per_s
        self._burst_s = rate.burst / rate.per_s
        self._now_s = now_s
        self._full_at: dict[str, float] = {}

    async def take(self, account: str) -> float:
        now = self._now_s()
        full = max(now, self._full_at.pop(account, now)) + self._each_s
        wait = full - now - self._burst_s
        if wait > 0:
            full -= self._each_s
        self._full_at[account] = full  # last in line of those to forget
        if len(self._full_at) > REMEMBERED:
            del self._full_at[next(iter(self._full_at))]
        return max(wait, 0.0)


class RedisBuckets:
    """Satisfies :class:`Buckets` for every process on one Redis. While it is away, everything passes."""

    def __init__(self, redis: Redis, rate: Rate) -> None:
        self._arguments = [round(1_000_000 / rate.per_s), rate.burst]
        self._script: Any = redis.register_script(TAKE)
        self._spared = Spared("rate limits")

    async def take(self, account: str) -> float:
        wait_us = await self._spared.ask(lambda: self._script(keys=[KEY.format(account)], args=self._arguments))
        return 0.0 if wait_us is None else max(int(wait_us), 0) / 1_000_000


def buckets(rate: Rate, redis: Redis | None) -> Buckets:
    """For all gateways together where there is a Redis, else for each process."""
    return MemoryBuckets(rate) if redis is None else RedisBuckets(redis, rate)


def limited(buckets: Buckets) -> Any:
    """The middleware. What names no account passes: it is refused later, or asks for nothing of an account's."""

    @web.middleware
    async def limit(request: web.Request, handler: Handler) -> web.StreamResponse:
        account = _account(request)
        wait_s = 0.0 if account == NIL else await buckets.take(account)
        if wait_s > 0:
            REFUSED.inc()
            detail = f"account {account} makes too many requests; there is room for one in {wait_s:.3f} s"
            raise MienError(Code.RATE_LIMITED, detail, retry_after_s=math.ceil(wait_s))
        return await handler(request)

    return limit


def _account(request: web.Request) -> str:
    try:
        return Call(request).account_or_nil
    except MienError:
        return NIL
