"""Inference as a pool of workers: any process asks, whichever worker is idle answers."""

from __future__ import annotations

import asyncio
import os
from functools import cached_property
from typing import Any

from obstore.store import ObjectStore

from libs.common import ports
from libs.common.bus.claims import SWEPT_S, ObjectClaims
from libs.common.bus.work import WorkCalls, WorkServer, remote_work
from libs.common.errors import MienError
from libs.common.housekeeping import Housekeeping
from libs.common.part import Part
from libs.common.settings import SdkSettings

LOOK_EVERY_S = 0.2
"""How often a worker looks whether its models are warm."""


class Pool:
    """This process's end of it: it may ask (:attr:`sdk`), and it may be one of the workers (:meth:`serve`)."""

    def __init__(self, url: str, settings: SdkSettings, objects: ObjectStore | None, drain_s: float) -> None:
        self._url = url
        self._drain_s = drain_s
        self._settings = settings
        self._claims = ObjectClaims(objects) if objects is not None else None
        self._calls: WorkCalls | None = None
        self._server: WorkServer | None = None
        self._opening: asyncio.Task[None] | None = None
        self._housekeeping = Housekeeping()

    @cached_property
    def sdk(self) -> ports.Sdk:
        """Inference by whichever worker. To be asked for before :meth:`start`."""
        self._calls = WorkCalls(self._url, self._claims)
        return remote_work(ports.Sdk, self._calls)

    async def start(self) -> None:
        """Begin to connect, if this process asks."""
        if self._calls:
            await self._calls.start()

    def serve(self, part: Part) -> None:
        """Take work as soon as ``part`` is well: before its models are warm, another worker is sooner done."""
        # two for each thread: one under way and one at hand, and what is at hand here is not elsewhere
        at_once = 2 * (self._settings.workers or os.cpu_count() or 1)
        self._server = server = WorkServer(
            ports.Sdk,
            part.service,
            self._url,
            at_once=at_once,
            claims=self._claims,
            capacity=self._settings.queue_limit,
            drain_s=self._drain_s,
        )
        self._opening = asyncio.create_task(_open(server, part), name="pool-open")
        if self._claims:
            self._housekeeping.repeat("sweeping forgotten claims", self._claims.sweep, SWEPT_S)

    async def health(self) -> dict[str, Any]:
        """Raises STORE_UNAVAILABLE while this process cannot ask, or is not given work."""
        for end in (self._calls, self._server):
            if end:
                await end.health()
        return {}

    async def drain(self) -> None:
        """Take no more, finish what was taken, leave the rest to others."""
        if self._opening:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._server:
            await self._server.stop()

    async def stop(self) -> None:
        await self._housekeeping.stop()
        if self._calls:
            await self._calls.stop()


async def _open(server: WorkServer, part: Part) -> None:
    while True:
        try:
            await part.health()
        except MienError:
            await asyncio.sleep(LOOK_EVERY_S)
        else:
            return await server.start()
