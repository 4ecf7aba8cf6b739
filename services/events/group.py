"""Writes of many callers made together, so that each costs a part of one trip to the store."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from libs.common.errors import Code, MienError

T = TypeVar("T")

GROUP = 200
"""Events in one write; a call that brings more is written alone. Few enough that a slow store takes them in time."""
WAITING = 20_000
"""Events that may wait to be written."""


@dataclass(eq=False)
class _Call(Generic[T]):
    item: T
    size: int
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Group(Generic[T]):
    """``write`` is given what came while its last run was under way; it may change the items it is given.

    One run at a time: nobody waits for a clock, and under load the groups grow by themselves.
    """

    def __init__(self, write: Callable[[list[T]], Awaitable[None]]) -> None:
        self._write = write
        self._waiting: deque[_Call[T]] = deque()
        self._size = 0
        self._writing: asyncio.Task[None] | None = None

    async def add(self, item: T, size: int) -> None:
        """Returns once a run that was given ``item`` is over; raises what it raised, OVERLOADED when too much waits.
        A run that fails otherwise than by MienError is repeated item by item.

        ``size`` is the events in it. Who is cancelled before that leaves an item that may be written all the same.
        """
        if self._size + size > WAITING and self._waiting:
            raise MienError(Code.OVERLOADED, f"{self._size} events wait to be written", retry_after_s=1)
        call = _Call(item, size)
        self._waiting.append(call)
        self._size += size
        if self._writing is None:
            nobodys = contextvars.Context()  # what is logged and traced there is of many requests
            self._writing = asyncio.create_task(self._work(), name="writing events", context=nobodys)
        await call.done

    async def close(self) -> None:
        """Finish what was handed in."""
        if self._writing is not None:
            await self._writing

    async def _work(self) -> None:
        try:
            while self._waiting:
                if calls := self._next():
                    await self._run(calls)
        finally:
            self._writing = None

    def _next(self) -> list[_Call[T]]:
        calls = [self._waiting.popleft()]
        size = calls[0].size
        while self._waiting and size + self._waiting[0].size <= GROUP:
            calls.append(self._waiting.popleft())
            size += calls[-1].size
        self._size -= size
        return [call for call in calls if not call.done.cancelled()]

    async def _run(self, calls: list[_Call[T]]) -> None:
        """Trouble of the store is everybody's. An item that cannot be written must not cost others theirs."""
        failure: Exception | None = None
        try:
            await self._write([call.item for call in calls])
        except Exception as raised:  # told to those who wait
            failure = raised
        if failure is not None and not isinstance(failure, MienError) and len(calls) > 1:
            for call in calls:
                await self._run([call])
            return
        for call in calls:
            if call.done.done():
                continue
            if failure is None:
                call.done.set_result(None)
            else:
                call.done.set_exception(failure)
