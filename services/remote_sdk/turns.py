"""The pictures of one call among those of others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from libs.common.errors import Code, MienError

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

AT_ONCE = 8
"""Pictures of one call that wait at a time, at least: few for those who wait behind them, enough for a batch."""


async def in_turn(
    items: Sequence[Item], run: Callable[[Sequence[Item]], Awaitable[list[Outcome]]], at_once: int
) -> list[Outcome]:
    """The outcomes of ``items``, in order. Up to ``at_once`` go together, all or none; of more, so many are under way
    at a time. So the items of other calls come between those of a long one, and none grows too old behind its own.

    Raises what ``run`` raises. But an item of many for which there is no room waits for another one of its call to end:
    only where none is under way the call is OVERLOADED.
    """
    if len(items) <= at_once:
        return await run(items)
    outcomes: dict[int, Outcome] = {}
    waiting = deque(range(len(items)))
    lines = at_once

    async def line() -> None:
        nonlocal lines
        while waiting:
            number = waiting.popleft()
            try:
                [outcomes[number]] = await run([items[number]])
            except MienError as refusal:
                if refusal.code is not Code.OVERLOADED or lines == 1:
                    raise
                waiting.appendleft(number)
                break
        lines -= 1

    tasks = [asyncio.ensure_future(line()) for _ in range(at_once)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    return [outcomes[number] for number in range(len(items))]
