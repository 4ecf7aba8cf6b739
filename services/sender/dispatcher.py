"""Works on the lanes of callbacks: one call after the other within a lane, many lanes at once. Knows no HTTP."""

from __future__ import annotations

import asyncio
import logging
from asyncio import Event, Semaphore, Task
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Literal, Protocol

from prometheus_client import Counter, Gauge

from libs.common import clock
from libs.common.bus.port import Backoff
from libs.common.errors import Code, MienError
from libs.common.housekeeping import Housekeeping
from libs.common.ids import new_id
from services.sender.model import Claim, Delivery, Keeping, Waiting
from services.sender.ports import Deliveries

log = logging.getLogger("mien.sender")
CALLS = Counter("mien_sender_callbacks_total", "HTTP callbacks made, by what became of them", ["outcome"])
WAITING = Gauge("mien_sender_callbacks_waiting", "HTTP callbacks not delivered yet, of all processes")
AGE = Gauge("mien_sender_callbacks_age_seconds", "How long the oldest HTTP callback has waited")
DEAD = Gauge("mien_sender_callbacks_dead", "HTTP callbacks given up and kept, of all processes")

POLL_S = 0.5
"""How often a process that has nothing to do asks for lanes that are due again, or were left by another one."""
BROKEN_S = 1.0
"""Pause after the store failed."""
TURN = 32
"""Calls in a lane before others get their turn."""
STOP_S = 3.0
"""How long calls under way may go on when the process stops."""
OBSERVE_S, SWEEP_S = 10.0, 600.0
HOPELESS = frozenset({Code.BAD_URL, Code.FETCH_REFUSED})
"""Failures that are the same at every attempt."""


class Delivering(Protocol):
    async def deliver(self, delivery: Delivery) -> None:
        """Raises MienError when the receiver did not take it."""
        ...


Outcome = Literal["delivered", "failed", "dead"]


@dataclass(frozen=True)
class Left:
    """How a lane is left: after so many failures in a row, to be taken up again after so many seconds."""

    failures: int
    wait_s: float


@dataclass(frozen=True)
class Rules:
    """When a callback is tried again, and when it is given up.

    ``settle_ms``: how long one waits at first, so that what was emitted earlier and came through another process is
    there when it is its turn. ``lease_s`` is that of the store.
    """

    attempts: int
    age_s: float
    backoff: Backoff
    at_once: int = 64
    lease_s: float = Keeping.lease_ms / 1000
    settle_ms: int = 0


class Dispatcher:
    """The callbacks of one process; any number of processes share the store."""

    def __init__(self, deliveries: Deliveries, courier: Delivering, rules: Rules) -> None:
        self._deliveries = deliveries
        self._courier = courier
        self._rules = rules
        self._room = Semaphore(rules.at_once)
        self._news = Event()
        self._chores = Housekeeping()
        self._loop: Task[None] | None = None
        self._turns: set[Task[None]] = set()

    async def start(self) -> None:
        self._loop = asyncio.create_task(self._run(), name="callbacks")
        self._chores.repeat("observing callbacks", self._observe, OBSERVE_S)
        self._chores.repeat("sweeping callbacks", self._deliveries.sweep, SWEEP_S)

    async def stop(self) -> None:
        """Claim nothing more; calls under way get STOP_S, and what they leave is due at once for others."""
        await self._chores.stop()
        if self._loop:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        if self._turns:
            await asyncio.wait(self._turns, timeout=STOP_S)
        for turn in self._turns:
            turn.cancel()
        await asyncio.gather(*self._turns, return_exceptions=True)

    def wake(self) -> None:
        """There is something new in the store."""
        self._news.set()

    async def _run(self) -> None:
        while True:
            await self._room.acquire()
            self._news.clear()
            try:
                claim = await self._deliveries.claim(new_id())
            except Exception:  # whatever the store fails with, it will be asked again
                log.exception("no callbacks can be claimed; trying again in %g s", BROKEN_S)
                self._room.release()
                await asyncio.sleep(BROKEN_S)
                continue
            if claim is None:
                self._room.release()
                await self._rest()
            else:
                self._begin(claim)

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._news.wait()

    def _begin(self, claim: Claim) -> None:
        turn = asyncio.create_task(self._turn(claim), name=f"lane {claim.lane}")
        self._turns.add(turn)
        turn.add_done_callback(self._ended)

    def _ended(self, turn: Task[None]) -> None:
        self._turns.discard(turn)
        self._room.release()
        if not turn.cancelled() and (failure := turn.exception()):
            log.error("a lane of callbacks was left to its lease", exc_info=failure)

    async def _turn(self, claim: Claim) -> None:
        """Some calls of a lane; then, or when this process stops, it is left."""
        async with self._leased(claim) as lease:
            left: Left | None = Left(claim.failures, 0.0)
            try:
                left = await self._work(claim, lease)
            finally:
                if left is not None:
                    due_ms = clock.now_ms() + int(left.wait_s * 1000)
                    await self._deliveries.release(claim, failures=left.failures, due_ms=due_ms)

    async def _work(self, claim: Claim, lease: Lease) -> Left | None:
        """Up to TURN calls of a lane, up to the first that is to be tried again; None when it is no longer ours."""
        failures = claim.failures
        for _ in range(TURN):
            waiting = await self._head(claim)
            if waiting is None or not lease.is_ours():
                return None
            outcome = await self._attempt(waiting)
            CALLS.labels(outcome).inc()
            if outcome == "failed":
                return Left(failures + 1, self._rules.backoff.wait_s(failures + 1))
            if outcome == "delivered":
                failures = 0
        return Left(failures, 0.0)

    async def _head(self, claim: Claim) -> Waiting | None:
        waiting = await self._deliveries.head(claim)
        if waiting and (short_ms := waiting.since_ms + self._rules.settle_ms - clock.now_ms()) > 0:
            await asyncio.sleep(min(short_ms, self._rules.settle_ms) / 1000)
            waiting = await self._deliveries.head(claim)
        return waiting

    async def _attempt(self, waiting: Waiting) -> Outcome:
        delivery, attempts = waiting.delivery, waiting.attempts + 1
        try:
            await self._courier.deliver(delivery)
        except MienError as failure:
            return await self._failed(waiting, attempts, str(failure), hopeless=failure.code in HOPELESS)
        except Exception as failure:  # a fault of ours must not hold up the lane for ever
            log.exception("callback %s could not be made", delivery.message_id)
            return await self._failed(waiting, attempts, f"unexpected {type(failure).__name__}", hopeless=False)
        await self._deliveries.delivered(delivery.message_id)
        return "delivered"

    async def _failed(self, waiting: Waiting, attempts: int, reason: str, *, hopeless: bool) -> Outcome:
        message_id = waiting.delivery.message_id
        is_old = clock.now_ms() - waiting.since_ms > self._rules.age_s * 1000
        if hopeless or is_old or attempts >= self._rules.attempts:
            log.error("gave up callback %s after %d attempts: %s", message_id, attempts, reason)
            await self._deliveries.died(message_id, attempts, reason)
            return "dead"
        log.warning("callback %s failed at attempt %d: %s", message_id, attempts, reason)
        await self._deliveries.failed(message_id, attempts, reason)
        return "failed"

    @asynccontextmanager
    async def _leased(self, claim: Claim) -> AsyncIterator[Lease]:
        """Keeps the lane ours for as long as the work on it goes on, and its store can be reached."""
        lease = Lease(self._rules.lease_s)
        keeper = asyncio.create_task(self._keep(claim, lease))
        try:
            yield lease
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def _keep(self, claim: Claim, lease: Lease) -> None:
        while True:
            await asyncio.sleep(self._rules.lease_s / 3)
            began = monotonic()
            try:
                if not await self._deliveries.extend(claim):
                    return
            except Exception as failure:  # whatever the store fails with, the lease runs out in time
                log.warning("a lane of callbacks could not be kept; trying again: %s", failure)
            else:
                lease.renew(began)

    async def _observe(self) -> None:
        backlog = await self._deliveries.backlog()
        WAITING.set(backlog.waiting)
        DEAD.set(backlog.dead)
        AGE.set(0 if backlog.oldest_ms is None else max(0, clock.now_ms() - backlog.oldest_ms) / 1000)


class Lease:
    """Until when a lane is surely ours, by our own clock."""

    def __init__(self, length_s: float) -> None:
        self._length_s = length_s * 0.9  # begins to count a little after the store's
        self.renew(monotonic())

    def renew(self, since: float) -> None:
        self._until = since + self._length_s

    def is_ours(self) -> bool:
        return monotonic() < self._until
