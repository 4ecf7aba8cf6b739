"""From the outbox onto the bus: what is told of events, once they are stored.

A process publishes at once what it saved itself. What it did not get to publish, because it ended or the bus refused,
any process takes from the outbox when the lease is over. A notice may be published twice; its id tells.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace

from prometheus_client import Counter, Gauge

from libs.common import clock
from libs.common.bus.port import Bus, Message
from libs.common.errors import MienError
from libs.common.housekeeping import Housekeeping
from libs.common.wire.notices import Notice
from services.events.ports import Outbox, Owed

log = logging.getLogger("mien.events")
SIZE = Gauge("mien_outbox_size", "Saves whose notices are not yet known to be published")
AGE = Gauge("mien_outbox_age_seconds", "Since the oldest of them was saved")
PUBLISHED = Counter("mien_outbox_published_total", "Notices published", ["topic"])
REFUSED = Counter("mien_outbox_refused_total", "Notices that the bus did not take, and that are tried again", ["topic"])

PAGE = 200
"""Saves whose notices are published at the same time."""
WAITING = 10_000
"""Saves that wait here to be published at once; more are left to the outbox."""
SWEEP_S = 2.0
"""How often the outbox is looked through."""


class Relay:
    """Any number may run over one outbox."""

    def __init__(self, outbox: Outbox, bus: Bus) -> None:
        self._outbox = outbox
        self._bus = bus
        self._fresh: asyncio.Queue[Owed] = asyncio.Queue(WAITING)
        self._housekeeping = Housekeeping()

    def hand(self, owed: Owed) -> None:
        """Publish soon what this process has just put into the outbox."""
        with suppress(asyncio.QueueFull):
            self._fresh.put_nowait(owed)

    async def start(self) -> None:
        self._housekeeping.repeat("publishing what was saved", self._publish_fresh, every_s=0)
        self._housekeeping.repeat("looking through the outbox", self.sweep, every_s=SWEEP_S)

    async def stop(self) -> None:
        """What is not published stays in the outbox."""
        await self._housekeeping.stop()

    async def sweep(self) -> None:
        """Publish all that nobody has taken, as long as the bus takes any of it."""
        while (page := await self._outbox.take(PAGE)) and await self._publish(page):
            pass
        await self._observe()

    async def _publish_fresh(self) -> None:
        page = [await self._fresh.get()]
        with suppress(asyncio.QueueEmpty):
            while len(page) < PAGE:
                page.append(self._fresh.get_nowait())
        await self._publish(page)

    async def _publish(self, page: list[Owed]) -> bool:
        """Publish in the order of saving; whether the bus took anything."""
        left = await asyncio.gather(*(self._left(owed) for owed in page))
        if done := [owed.event_id for owed, notices in zip(page, left, strict=True) if not notices]:
            await self._outbox.clear(done)
        for owed, notices in zip(page, left, strict=True):
            if notices and len(notices) < len(owed.notices):
                await self._outbox.reduce(replace(owed, notices=notices))
        return any(len(notices) < len(owed.notices) for owed, notices in zip(page, left, strict=True))

    async def _left(self, owed: Owed) -> list[Notice]:
        """Publish the notices of one save; those that were refused."""
        taken = await asyncio.gather(*(self._is_taken(owed, notice) for notice in owed.notices))
        return [notice for notice, is_taken in zip(owed.notices, taken, strict=True) if not is_taken]

    async def _is_taken(self, owed: Owed, notice: Notice) -> bool:
        try:
            await self._bus.publish(
                Message(
                    notice.topic,
                    owed.account,
                    notice.body,
                    message_id=notice.notice_id,
                    request_id=owed.request_id,
                    headers=notice.headers,
                )
            )
        except MienError as refusal:
            REFUSED.labels(notice.topic).inc()
            log.warning("notice %s of event %s waits: %s", notice.notice_id, owed.event_id, refusal)
            return False
        PUBLISHED.labels(notice.topic).inc()
        return True

    async def _observe(self) -> None:
        backlog = await self._outbox.backlog()
        SIZE.set(backlog.size)
        AGE.set((clock.now_ms() - backlog.oldest_ms) / 1000 if backlog.oldest_ms is not None else 0)
