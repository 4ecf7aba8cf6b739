"""Tasks that go step by step, in an order that is drawn: what real processes do when nobody looks."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from random import Random
from typing import Any

from tests.clocks import Clock

SECONDS = [0] * 20 + [1, 11, 35]
"""What a step may take: mostly nothing, at times longer than a write may."""


class Killed(Exception):
    """The process died here."""


class Turns:
    """Lets one of the waiting tasks go at a time; each step of a task begins by awaiting this object."""

    def __init__(self, chance: Random, clock: Clock, seconds: Sequence[int] = SECONDS) -> None:
        self._chance = chance
        self._clock = clock
        self._seconds = seconds
        self._waiting: list[asyncio.Future[None]] = []

    async def __call__(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    async def play(self, *works: Coroutine[Any, Any, None], kills: int = 0) -> None:
        """Returns when all are done. At most ``kills`` of the steps are their task's last: Killed is raised instead."""
        tasks = [asyncio.create_task(work) for work in works]
        while not all(task.done() for task in tasks):
            while len(self._waiting) + sum(task.done() for task in tasks) < len(tasks):  # noqa: ASYNC110
                await asyncio.sleep(0)
            if self._waiting:
                self._clock.advance(self._chance.choice(self._seconds))
                turn = self._waiting.pop(self._chance.randrange(len(self._waiting)))
                if kills and self._chance.random() < 0.1:
                    kills -= 1
                    turn.set_exception(Killed())
                else:
                    turn.set_result(None)
            await asyncio.sleep(0)
        for task in tasks:
            if (failure := task.exception()) is not None and not isinstance(failure, Killed):
                raise failure
