"""Compute threads, and the queues in front of them that turn items of many callers into batches.

Items gather while every thread is busy, and after a batch for as long as its callers need to come again, at most a
twentieth of the time that it took: else those who come first are computed alone, and callers who would share one batch
go through in two for ever. Everyone else finds an idle thread at once.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from prometheus_client import Counter, Gauge, Histogram

from libs.common.errors import Code, MienError

I = TypeVar("I")  # noqa: E741 (input)
O = TypeVar("O")  # noqa: E741 (output)

log = logging.getLogger("mien.sdk")
WAITING = Gauge("mien_sdk_waiting", "Items waiting for a compute thread", ["stage"])
REFUSED = Counter("mien_sdk_refused_total", "Items refused because too much was waiting", ["stage", "reason"])
BATCH = Histogram("mien_sdk_batch_size", "Items computed together", ["stage"], buckets=(1, 2, 4, 8, 16, 32, 64, 128))
SECONDS = Histogram("mien_sdk_batch_seconds", "Time to compute a batch", ["stage"])

_LONGEST_RETRY_S = 60
_OF_LATE = 0.1  # the weight of the newest batch in the pace
_GATHER = 0.05  # of the time that the last batch took: so much of the rate is given away at most


class Pool:
    """Threads that compute for several batchers. The batcher added first is served first.

    So the last stage of a chain is added first: what was begun is finished before anything new is begun, which keeps
    few pictures in memory. ``prepare`` runs once in each thread. ``size``: how many threads there are.
    """

    def __init__(self, threads: int, prepare: Callable[[], None] = lambda: None) -> None:
        self._prepare = prepare
        self._batchers: list[Batcher[Any, Any]] = []
        self._threads = [threading.Thread(target=self._work, name=f"compute-{n}", daemon=True) for n in range(threads)]
        self._idle = 0
        self.size = threads
        self.open = False
        self.changed = threading.Condition()

    def add(self, batcher: Batcher[Any, Any]) -> None:
        self._batchers.append(batcher)

    def start(self) -> None:
        self.open = True
        for thread in self._threads:
            thread.start()

    async def stop(self) -> None:
        """Refuse what is waiting and what still comes, let batches in progress finish, end the threads."""
        with self.changed:
            self.open = False
            for batcher in self._batchers:
                batcher.refuse_all()
            self.changed.notify_all()
        started = [thread for thread in self._threads if thread.ident is not None]
        await asyncio.to_thread(lambda: [thread.join() for thread in started])

    def _work(self) -> None:
        self._prepare()
        while job := self._next():
            batcher, batch = job
            batcher.compute(batch)

    def _next(self) -> tuple[Batcher[Any, Any], list[_Waiting[Any, Any]]] | None:
        """The next batch, waiting for one; None once the pool is stopped."""
        with self.changed:
            self._idle += 1
            try:
                while self.open:
                    for batcher in self._batchers:
                        if batch := batcher.take(self._idle):
                            return batcher, batch
                    gathering = [left for each in self._batchers if (left := each.gathering_s()) is not None]
                    self.changed.wait(min(gathering, default=None))
                return None
            finally:
                self._idle -= 1


@dataclass(frozen=True)
class _Waiting(Generic[I, O]):
    """``turn``: by which those that wait are taken, the smallest first."""

    item: I
    outcome: asyncio.Future[O]
    since: float
    turn: tuple[float, int]

    def __lt__(self, other: _Waiting[Any, Any]) -> bool:
        return self.turn < other.turn


class _Gather(NamedTuple):
    """Until when fewer than so many items wait for others."""

    items: int
    until: float


class Batcher(Generic[I, O]):
    """Gathers items of all callers into batches for one function.

    ``run`` gets at most ``max_batch`` items and returns one outcome each, in order; an outcome that is an exception
    reaches only the caller of its item, one that is raised reaches every caller of the batch. With ``queue_limit``,
    items that would make more of them wait are refused; with ``queue_age_s``, items that waited longer are given up
    before they are computed. Both are OVERLOADED (503) with a time to retry after. All callers share an event loop.

    ``cost_s``: seconds by which an item lets later ones go first, so that cheap ones do not wait for a row of dear
    ones; nobody waits for those that come more than its cost later.
    """

    def __init__(
        self,
        pool: Pool,
        name: str,
        run: Callable[[list[I]], list[O | Exception]],
        max_batch: int,
        queue_limit: int | None = None,
        queue_age_s: float | None = None,
        cost_s: Callable[[I], float] = lambda item: 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._name = name
        self._run = run
        self._max_batch = max_batch
        self._queue_limit = queue_limit
        self._queue_age_s = queue_age_s
        self._cost_s = cost_s
        self._clock = clock
        self._queue: list[_Waiting[I, O]] = []  # a heap
        self._numbers = itertools.count()
        self._gather = _Gather(0, 0.0)
        self._pace_s = 0.0  # for an item, on one thread, of late
        pool.add(self)

    async def submit(self, items: list[I]) -> list[O | BaseException]:
        """The outcomes of ``items``, in order; where an item failed, its exception. All items are let in or none.

        Cancelling the call takes back the items that are not being computed yet. Raises OVERLOADED.
        """
        return await asyncio.gather(*(each.outcome for each in self._enter(items)), return_exceptions=True)

    def _enter(self, items: list[I]) -> list[_Waiting[I, O]]:
        now, loop = self._clock(), asyncio.get_running_loop()
        entered = [
            _Waiting(item, loop.create_future(), now, (now + self._cost_s(item), next(self._numbers))) for item in items
        ]
        with self._pool.changed:
            if not self._pool.open:
                raise MienError(Code.OVERLOADED, "inference is stopping", retry_after_s=5)
            self._check_room(len(items))
            for each in entered:
                heapq.heappush(self._queue, each)
            WAITING.labels(self._name).set(len(self._queue))
            self._pool.changed.notify(len(items))
        return entered

    def _check_room(self, count: int) -> None:
        """A call larger than the whole limit is let in when nothing else waits, or it never would be."""
        if self._queue_limit is None or not self._queue or len(self._queue) + count <= self._queue_limit:
            return
        REFUSED.labels(self._name, "full").inc(count)
        detail = f"{len(self._queue)} pictures are waiting and {count} came; {self._queue_limit} may wait"
        raise MienError(Code.OVERLOADED, detail, retry_after_s=self._retry_after_s())

    def _retry_after_s(self) -> int:
        """As long as what waits will take."""
        return min(max(1, math.ceil(len(self._queue) * self._pace_s / self._pool.size)), _LONGEST_RETRY_S)

    def take(self, idle: int) -> list[_Waiting[I, O]]:
        """What one of ``idle`` threads should compute now. Called with the pool's lock held.

        The items are shared evenly: one thread with a batch and others idle would be slower. Nothing while those of
        the last batch may still come again.
        """
        if self.gathering_s():
            return []
        count = min(self._max_batch, math.ceil(len(self._queue) / idle))
        batch = [heapq.heappop(self._queue) for _ in range(count)]
        WAITING.labels(self._name).set(len(self._queue))
        return batch

    def gathering_s(self) -> float | None:
        """Seconds for which what waits is not taken yet; None when nothing waits. Called with the pool's lock held."""
        if not self._queue:
            return None
        return max(self._gather.until - self._clock(), 0.0) if len(self._queue) < self._gather.items else 0.0

    def compute(self, batch: list[_Waiting[I, O]]) -> None:
        """Compute the items nobody has taken back or waited too long for, and hand out the outcomes."""
        started = self._clock()
        wanted = [each for each in batch if not each.outcome.cancelled()]
        if late := [(each, self._refusal(each, started)) for each in wanted if self._is_late(each, started)]:
            self._hand_out(late)
        alive = [each for each in wanted if not self._is_late(each, started)]
        if not alive:
            return
        outcomes = self._outcomes([each.item for each in alive])
        ended = self._clock()
        BATCH.labels(self._name).observe(len(alive))
        SECONDS.labels(self._name).observe(ended - started)
        self._gather = _Gather(len(alive), ended + _GATHER * (ended - started))
        self._pace_s += ((ended - started) / len(alive) - self._pace_s) * (_OF_LATE if self._pace_s else 1)
        self._hand_out(list(zip(alive, outcomes, strict=True)))

    def _is_late(self, each: _Waiting[I, O], now: float) -> bool:
        return self._queue_age_s is not None and now - each.since > self._queue_age_s

    def _refusal(self, each: _Waiting[I, O], now: float) -> MienError:
        REFUSED.labels(self._name, "age").inc()
        age = now - each.since
        detail = f"waited {age:.1f} s for a compute thread; {self._queue_age_s:g} s are allowed"
        return MienError(Code.OVERLOADED, detail, retry_after_s=min(math.ceil(age), _LONGEST_RETRY_S))

    @staticmethod
    def _hand_out(outcomes: Sequence[tuple[_Waiting[I, O], O | Exception]]) -> None:
        """To the callers' event loop, which is woken once for all of them."""
        outcomes[0][0].outcome.get_loop().call_soon_threadsafe(_settle, outcomes)

    def _outcomes(self, items: list[I]) -> list[O | Exception]:
        try:
            return self._run(items)
        except MienError as error:
            return [error] * len(items)
        except Exception:  # a thread that dies would take the queue with it
            log.exception("%s failed on a batch of %d", self._name, len(items))
            return [MienError(Code.ENGINE_FAILED, f"{self._name} failed; the failure was logged")] * len(items)

    def refuse_all(self) -> None:
        """Give up everything that waits. Called with the pool's lock held."""
        if self._queue:
            stopping = MienError(Code.OVERLOADED, "inference is stopping", retry_after_s=5)
            self._hand_out([(each, stopping) for each in self._queue])
            self._queue.clear()
        WAITING.labels(self._name).set(0)


def _settle(outcomes: Sequence[tuple[_Waiting[Any, Any], Any]]) -> None:
    for each, outcome in outcomes:
        if each.outcome.done():
            continue  # taken back
        if isinstance(outcome, Exception):
            each.outcome.set_exception(outcome)
        else:
            each.outcome.set_result(outcome)
