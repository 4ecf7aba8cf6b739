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

from libs.common.errors import Code, MienError
from libs.common.http.routes import Call
from libs.common.ids import NIL

REMEMBERED = 100_000
"""Accounts whose buckets a process keeps; forgetting one that is not full costs no more than a burst."""

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
