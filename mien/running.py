"""Running something until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable
from typing import Protocol


class Runnable(Protocol):
    """``addresses`` maps what listens to its URL, once started."""

    addresses: dict[str, str]

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


async def run(process: Runnable, announce: Callable[[dict[str, str]], None]) -> None:
    """Serve until SIGTERM or SIGINT, then stop cleanly. ``announce`` is told the addresses once they listen."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopped.set)
    await process.start()
    gc.collect()
    gc.freeze()  # what was loaded stays: each full collection would walk it again, a fifth of the time of an event
    try:
        announce(process.addresses)
        await stopped.wait()
    finally:
        await process.stop()
