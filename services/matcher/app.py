"""The matcher service, put together in memory."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from libs.common import ports
from libs.common.errors import Code, MienError
from libs.common.housekeeping import Housekeeping
from libs.common.part import Part
from services.matcher.gallery import Gallery
from services.matcher.routes import MATCHER, routes
from services.matcher.service import Matcher

FOLLOW_EVERY_S = 5.0
"""So that a search after a quiet time finds little to catch up with, and the lag is known without one."""


async def build(faces: ports.Faces, events: ports.Events) -> Part:
    """The service over the stores it searches. It keeps nothing of its own: memory is replayed from their feeds."""
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="matcher-search")
    galleries = Gallery("faces", faces, thread), Gallery("events", events, thread)
    housekeeping = Housekeeping()

    async def start() -> None:
        for gallery in galleries:
            housekeeping.repeat(f"following {gallery.origin}", gallery.catch_up, FOLLOW_EVERY_S)

    async def stop() -> None:
        await housekeeping.stop()
        for gallery in galleries:
            await gallery.close()
        await asyncio.to_thread(thread.shutdown, cancel_futures=True)

    async def health() -> dict[str, Any]:
        """Raises OVERLOADED while memory is being loaded, and what a store that does not answer raises."""
        if loading := [gallery.origin for gallery in galleries if not gallery.is_loaded]:
            raise MienError(Code.OVERLOADED, f"{' and '.join(loading)} are being loaded", retry_after_s=1)
        return {gallery.origin: await gallery.state() for gallery in galleries}

    service = Matcher(faces, events, *galleries, thread)
    return Part("matcher", routes, MATCHER, service, (ports.Matcher,), start=start, stop=stop, health=health)
