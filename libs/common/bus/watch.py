"""How much waits in RabbitMQ's queues: what only the broker knows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aio_pika.abc import AbstractChannel

from libs.common.bus import metrics

WATCH_S = 5.0


async def watch(channel: AbstractChannel, waiting: Mapping[str, str], buried: Mapping[str, str]) -> None:
    """Measure for ever. Both map the label to be shown to the name of a queue."""
    while True:
        for label, queue in waiting.items():
            count = await _count(channel, queue)
            metrics.WAITING.labels(label).set(count)
            if not count:
                metrics.OLDEST.labels(label).set(0)
        for label, queue in buried.items():
            metrics.BURIED.labels(label).set(await _count(channel, queue))
        await asyncio.sleep(WATCH_S)


async def _count(channel: AbstractChannel, queue: str) -> int:
    declared = await channel.declare_queue(queue, passive=True)
    return declared.declaration_result.message_count or 0
