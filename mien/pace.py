"""Work on many things, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def at_once(count: int, work: Callable[[T], Awaitable[R]], items: Sequence[T]) -> list[R]:
    """``work`` on each of ``items``, at most ``count`` at one moment; results in the order of the items.

    The first failure ends the others and is raised.
    """
    results: dict[int, R] = {}
    waiting = iter(enumerate(items))

    async def worker() -> None:
        for position, item in waiting:
            results[position] = await work(item)

    tasks = [asyncio.create_task(worker()) for _ in range(min(count, len(items)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [results[position] for position in range(len(items))]
