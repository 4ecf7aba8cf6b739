"""Work that a service does beside its calls, again and again, from its start to its stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from libs.common.errors import MienError

log = logging.getLogger("mien.housekeeping")


class Housekeeping:
    """The repeated work of one service."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def repeat(self, name: str, work: Callable[[], Awaitable[Any]], every_s: float) -> None:
        """Do ``work`` at once, for what the last process left behind, and then every ``every_s`` seconds.

        A failure is logged and tried again. Needs a running event loop.
        """
        self._tasks.append(asyncio.create_task(_forever(name, work, every_s), name=name))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()


async def _forever(name: str, work: Callable[[], Awaitable[Any]], every_s: float) -> None:
    while True:
        try:
            await work()
        except MienError as trouble:
            log.warning("%s failed; trying again in %g s: %s", name, every_s, trouble)
        except Exception:  # nobody is there to be told, and one failure must not be the end of the work
            log.exception("%s failed; trying again in %g s", name, every_s)
        await asyncio.sleep(every_s)
