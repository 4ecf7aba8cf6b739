"""Redis: what it fails with, in one place, and uses of it that one can do without."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from prometheus_client import Counter
from redis.exceptions import ClusterDownError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import ConnectionError as Away
from redis.exceptions import TimeoutError as TooSlow

from libs.common.errors import Code, MienError

T = TypeVar("T")

PASSING = (Away, TooSlow, ReadOnlyError, OutOfMemoryError, ClusterDownError)
NOT_SAVING = ("MISCONF", "NOREPLICAS")
"""How Redis refuses to write when its disk is full or broken, or it has too few replicas; redis-py has no exceptions of
their own for them."""
PATIENCE_S = 0.5
"""What a use that one can do without may cost a call; Redis answers in a tenth of a millisecond."""
REST_S = 1.0
"""How long such a use does without Redis before it tries it again."""

log = logging.getLogger("mien.redis")
DONE_WITHOUT = Counter("mien_redis_done_without_total", "Uses of Redis given up because it was away", ["use"])


@contextmanager
def reached() -> Iterator[None]:
    """Trouble on the way to the server, or in it, leaves as STORE_UNAVAILABLE; any other failure as it is."""
    try:
        yield
    except RedisError as failure:
        if not _is_passing(failure):
            raise
        detail = f"Redis: {type(failure).__name__}; whether it was done is not known, repeating it is safe"
        raise MienError(Code.STORE_UNAVAILABLE, detail, retry_after_s=1) from failure


def _is_passing(failure: RedisError) -> bool:
    if isinstance(failure, PASSING):
        return True
    return isinstance(failure, ResponseError) and any(word in str(failure) for word in NOT_SAVING)


class Spared:
    """A use of Redis that a service can do without: its absence is counted, logged once, and costs little time."""

    def __init__(self, use: str) -> None:
        self._use = use
        self._resting_until = 0.0
        self._is_away = False

    async def ask(self, command: Callable[[], Awaitable[T]]) -> T | None:
        """The command's answer, or None when Redis is away."""
        if time.monotonic() < self._resting_until:
            return self._without()
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await command()
        except (RedisError, OSError, TimeoutError) as failure:  # whatever it is, one can do without
            self._resting_until = time.monotonic() + REST_S
            if not self._is_away:
                log.warning("%s goes on without Redis: %s", self._use, type(failure).__name__)
            self._is_away = True
            return self._without()
        if self._is_away:
            log.warning("%s has Redis again", self._use)
        self._is_away = False
        return answer

    def _without(self) -> None:
        DONE_WITHOUT.labels(self._use).inc()
