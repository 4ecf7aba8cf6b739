"""The processes of a service as its callers see them: each call goes to another one, those that are away come last."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp

from libs.common.errors import Code, MienError

log = logging.getLogger("mien.peers")

AWAY_S = 2.0
"""How long one that could not be reached is asked last."""
CONNECT_S = 2.0
"""In which a process must take a connection; a machine that is gone would not refuse it for minutes."""
NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Failures before anything was sent: whatever was asked has not been done."""
HEALTH_S = 3.0
"""In which a process must say how it is."""
DOUBT_S = 1.0
"""When a call is not answered by then, its process is asked whether it lives, and again so long after each answer."""
LIVES_S = 2.0
"""In which it must say so."""
PATIENCE = 2
"""Questions in a row that a process may leave open before calls are taken from it."""


class Silent(Exception):
    """A process neither answers a call nor says that it lives: it was stopped, or its machine is gone."""


class Peers:
    """Addresses (``http://host:port``) of equal processes.

    A frozen process takes connections all the same and answers nothing. Nobody sees that but those whose calls take
    long, so while they wait it is asked whether it lives; until it says so it is asked last for anything else.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = list(addresses)
        self._turn = itertools.count()
        self._away_until: dict[str, float] = {}
        self._silent: set[str] = set()
        self._waiting: defaultdict[str, dict[asyncio.Timeout, bool]] = defaultdict(dict)
        self._watches: dict[str, asyncio.Task[None]] = {}

    def in_turn(self) -> list[str]:
        """Every address once: the next one first, those that are away or silent last."""
        first = next(self._turn) % len(self._addresses)
        rotated = self._addresses[first:] + self._addresses[:first]
        now = time.monotonic()
        return sorted(rotated, key=lambda one: one in self._silent or self._away_until.get(one, 0.0) > now)

    def away(self, address: str) -> None:
        """Remember that ``address`` could not be reached, or did not answer."""
        self._away_until[address] = time.monotonic() + AWAY_S

    @asynccontextmanager
    async def watched(self, address: str, session: aiohttp.ClientSession, *, movable: bool) -> AsyncIterator[None]:
        """Around one call of ``address``. Raises Silent when the process is, if the call is ``movable``: somebody else
        can be asked instead, even should this process go on with it later."""
        limit = asyncio.timeout(None)
        doubt = asyncio.get_running_loop().call_later(DOUBT_S, self._doubt, address, session, limit, movable)
        try:
            async with limit:
                yield
        except TimeoutError:
            if limit.expired():
                raise Silent(address) from None
            raise
        finally:
            doubt.cancel()
            self._waiting[address].pop(limit, None)

    async def silence(self, address: str, session: aiohttp.ClientSession) -> None:
        """Returns once the process is silent and there is another one; for what has no end of its own."""
        with suppress(Silent):
            async with self.watched(address, session, movable=len(self._addresses) > 1):
                await asyncio.Event().wait()

    def _doubt(self, address: str, session: aiohttp.ClientSession, limit: asyncio.Timeout, movable: bool) -> None:
        self._waiting[address][limit] = movable
        if address not in self._watches:
            watch = self._watches[address] = asyncio.create_task(self._watch(address, session), name=f"watch {address}")
            watch.add_done_callback(lambda _: self._watches.pop(address))

    async def _watch(self, address: str, session: aiohttp.ClientSession) -> None:
        """While calls wait for a process, or it is silent."""
        in_vain = 0
        while self._waiting[address] or in_vain:
            if await _is_silent(address, session):
                self._silent.add(address)
                in_vain += 1
            else:
                if in_vain >= PATIENCE:
                    log.warning("%s says again that it lives", address)
                self._silent.discard(address)
                in_vain = 0
            if in_vain == PATIENCE:
                log.warning("%s does not say that it lives: others are asked first", address)
            if in_vain >= PATIENCE:
                self._take_from(address)
            await asyncio.sleep(DOUBT_S)

    def _take_from(self, address: str) -> None:
        for limit in [limit for limit, movable in self._waiting[address].items() if movable]:
            del self._waiting[address][limit]
            limit.reschedule(asyncio.get_running_loop().time())


async def _is_silent(address: str, session: aiohttp.ClientSession) -> bool:
    """One that refuses or breaks connections is not: calls of it fail by themselves."""
    timeout = aiohttp.ClientTimeout(total=LIVES_S)
    try:
        async with session.get(f"{address}/livez", timeout=timeout):
            return False
    except TimeoutError:
        return not session.closed
    except (aiohttp.ClientError, RuntimeError):  # RuntimeError: the session was closed
        return False


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
