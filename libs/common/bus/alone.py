"""What a consumer had in its hands when it ended is worked on alone, to see whether it was the cause.

RabbitMQ counts how often a message came back unanswered, but not why: a consumer was restarted, lost its connection,
was killed by a neighbour, or by the message itself. So a message that came back once is moved to a queue of suspects,
out of which each process takes one at a time, and only while it works on nothing else. What comes back from there has
ended its consumer, or was there by chance when it ended; some of those chances in a row are taken for a cause.

What ends a consumer does so soon: others wait a few seconds for a suspect, and are then worked on beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from libs.common.bus.port import Backoff

LOOK_S = 0.5
"""How often suspects are looked for."""
IDLE_S = 20.0
"""How long new work waits for what is under way to end, so that a suspect can be alone. After that it has to wait."""
ALONE_S = 5.0
"""How long new work waits for a suspect."""
NOT_NOW = Backoff(first_s=1.0, longest_s=IDLE_S)


class NotIdle(Exception):
    """Others did not finish in time."""


class Turnstile:
    """Lets in many at a time, or one that is alone at first."""

    def __init__(self) -> None:
        self._inside = 0
        self._empty = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()
        self._one = asyncio.Lock()

    @asynccontextmanager
    async def among_others(self) -> AsyncIterator[None]:
        while not self._open.is_set():
            await self._open.wait()
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            self._empty.set()

    @asynccontextmanager
    async def alone(self, patience_s: float, alone_s: float) -> AsyncIterator[None]:
        """Others come in after ``alone_s``. Raises NotIdle when those inside have not left after ``patience_s``."""
        async with self._one:
            self._open.clear()
            try:
                await self._until_empty(patience_s)
                opening = asyncio.get_running_loop().call_later(alone_s, self._open.set)
                try:
                    yield
                finally:
                    opening.cancel()
            finally:
                self._open.set()

    async def _until_empty(self, patience_s: float) -> None:
        try:
            async with asyncio.timeout(patience_s):
                while self._inside:
                    self._empty.clear()
                    await self._empty.wait()
        except TimeoutError:
            raise NotIdle from None


class Suspects:
    """The suspects of one queue, worked on by this process. ``work`` acknowledges; False: not now, and it gave back."""

    def __init__(
        self,
        channel: AbstractChannel,
        queue: str,
        turnstile: Turnstile,
        work: Callable[[AbstractIncomingMessage], Awaitable[bool]],
    ) -> None:
        self._channel = channel
        self._queue = queue
        self._turnstile = turnstile
        self._work = work
        self._busy = asyncio.Lock()
        self._is_leaving = False

    async def run(self) -> None:
        """For ever, or until :meth:`finish`."""
        in_vain = 0
        while not self._is_leaving:
            try:
                async with self._busy:
                    is_more = await self._one()
                in_vain = 0
            except NotIdle:
                in_vain += 1
                await asyncio.sleep(NOT_NOW.wait_s(in_vain))
                continue
            if not is_more:
                await asyncio.sleep(LOOK_S)

    async def finish(self) -> None:
        """Take no more, and wait for what was taken."""
        self._is_leaving = True
        async with self._busy:
            return

    async def _one(self) -> bool:
        """Whether there was one to be worked on. It is taken only when nothing else is under way: were it taken before,
        it would seem to have been the cause if that ended this process."""
        queue = await self._channel.declare_queue(self._queue, passive=True)
        if not queue.declaration_result.message_count or self._is_leaving:
            return False
        async with self._turnstile.alone(IDLE_S, ALONE_S):
            suspect = await queue.get(fail=False)
            return suspect is not None and await self._work(suspect)
