"""The matcher service, put together in memory."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from libs.common import ports
from libs.common.errors import MienError
from libs.common.part import Part
from services.matcher.gallery import Gallery
from services.matcher.routes import MATCHER, routes
from services.matcher.service import Matcher

log = logging.getLogger("mien.matcher")


async def build(faces: ports.Faces, events: ports.Events) -> Part:
    """The service over the stores it searches. It keeps nothing of its own: memory is replayed from their feeds."""
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="matcher-search")
    galleries = Gallery("faces", faces, thread), Gallery("events", events, thread)
    warming: list[asyncio.Task[None]] = []

    async def start() -> None:
        warming.extend(asyncio.create_task(_warm(gallery)) for gallery in galleries)

    async def stop() -> None:
        for task in warming:
            task.cancel()
        await asyncio.gather(*warming, return_exceptions=True)
        for gallery in galleries:
            await gallery.close()
        await asyncio.to_thread(thread.shutdown, cancel_futures=True)

    async def health() -> dict[str, Any]:
        """Raises what a store that does not answer raises."""
        return {gallery.origin: await gallery.state() for gallery in galleries}

    service = Matcher(faces, events, *galleries, thread)
    return Part("matcher", routes, MATCHER, service, (ports.Matcher,), start=start, stop=stop, health=health)


async def _warm(gallery: Gallery) -> None:
    """Load what there is before the first search asks for it."""
    try:
        await gallery.catch_up()
    except MienError as failure:
        log.warning("%s could not be loaded yet, the first search will try again: %s", gallery.origin, failure)
