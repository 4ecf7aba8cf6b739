"""The processes of a service as its callers see them: each call goes to another one, those that are away come last."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import Any

import aiohttp

from libs.common.errors import Code, MienError

AWAY_S = 2.0
"""How long one that could not be reached is asked last."""
CONNECT_S = 2.0
"""In which a process must take a connection; a machine that is gone would not refuse it for minutes."""
NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Failures before anything was sent: whatever was asked has not been done."""
HEALTH_S = 3.0
"""In which a process must say how it is."""


class Peers:
    """Addresses (``http://host:port``) of equal processes."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = list(addresses)
        self._turn = itertools.count()
        self._away_until: dict[str, float] = {}

    def in_turn(self) -> list[str]:
        """Every address once: the next one first, those that are away last."""
        first = next(self._turn) % len(self._addresses)
        rotated = self._addresses[first:] + self._addresses[:first]
        now = time.monotonic()
        return sorted(rotated, key=lambda address: self._away_until.get(address, 0.0) > now)

    def away(self, address: str) -> None:
        """Remember that ``address`` could not be reached, or did not answer."""
        self._away_until[address] = time.monotonic() + AWAY_S


async def health_of(peers: Peers, session: aiohttp.ClientSession) -> dict[str, Any]:
    """What a process of the service that is well says of itself. Raises MienError when none is, as one of them says."""
    answers = await asyncio.gather(*(_health(address, session) for address in peers.in_turn()))
    for answer in answers:
        if not isinstance(answer, MienError):
            return answer
    raise next(answer for answer in answers if isinstance(answer, MienError))


async def _health(address: str, session: aiohttp.ClientSession) -> dict[str, Any] | MienError:
    timeout = aiohttp.ClientTimeout(total=HEALTH_S)
    try:
        async with session.get(f"{address}/healthcheck", timeout=timeout) as answer:
            content = await answer.json()
    except (TimeoutError, aiohttp.ClientError, ValueError) as failure:
        return MienError(Code.CONNECTION, f"{address}: {type(failure).__name__}", status=503, retry_after_s=1)
    if answer.status != 200:
        error = MienError.from_body(content, answer.status)
        return MienError(error.code, f"{address}: {error.detail}", status=503, retry_after_s=1)
    content.pop("execution_time", None)
    return content
