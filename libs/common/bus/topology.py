"""What the bus declares in RabbitMQ: names, and arguments that must be the same in every process.

::

    mien.topics (direct exchange) -- topic --> mien.<topic>.<subscriber>             what waits
                                               mien.<topic>.<subscriber>.retry.<ms>  what is tried again later
                                               mien.<topic>.<subscriber>.dead        what was given up

    mien.work.<Port>.<method>  requests (libs.common.bus.work); no dead letters of the broker's own, because what has
                               only expired is none
    mien.work.dead             requests that ended every worker that had them, for a day

All queues are quorum queues. A retry queue has no consumer: what expires there goes back into the queue of its
subscriber. Dead-lettering is at least once, for which RabbitMQ wants ``reject-publish`` at the source.
"""

from __future__ import annotations

from typing import Any

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel

from libs.common.bus.port import DEAD_LETTERS
from libs.common.bus.topics import Topics

EXCHANGE = "mien.topics"
CAPACITY = 10_000
"""Messages that may wait in a queue."""
DELIVERY_LIMIT = 5
"""Consumers a message may take down with it before it is dead."""
WORK = "work"
WORK_BURIED, WORK_BURIED_BYTES, WORK_BURIED_MS = 100, 256 * 1024 * 1024, 24 * 3600 * 1000
"""Bounds of dead requests, which hold what they were about: users' pictures."""
RETRY_MS = (1_000, 10_000, 60_000)
"""A message leaves a retry queue only at its head, so waits of a kind share one: none is late by more than its queue
allows. Longer waits than the last are cut to it."""


def work_queue(queue: str) -> str:
    return f"mien.{queue}"


def dead_queue(queue: str) -> str:
    return f"mien.{queue}.dead"


def retry_queue(queue: str, wait_s: float) -> str:
    """The one for a wait: the smallest whose limit is not below it."""
    limit = next((limit for limit in RETRY_MS if wait_s * 1000 <= limit), RETRY_MS[-1])
    return f"mien.{queue}.retry.{limit}"


def queue_names(topics: Topics) -> list[str]:
    """Everything that :func:`declare_topics` declares, but for the exchange."""
    names = [dead_queue(WORK)]
    for topic in topics.values():
        for queue in topic.queues:
            names += [work_queue(queue), dead_queue(queue), *(f"mien.{queue}.retry.{limit}" for limit in RETRY_MS)]
    return names


async def declare_topics(channel: AbstractChannel, topics: Topics, capacity: int) -> None:
    """Every queue of every subscriber, also of those that never ran. Harmless when they are there.

    Raises ChannelPreconditionFailed when one is there with other arguments.
    """
    exchange = await channel.declare_exchange(EXCHANGE, ExchangeType.DIRECT, durable=True)
    await _declare_buried_work(channel)
    for topic in topics.values():
        for queue in topic.queues:
            await declare(channel, dead_queue(queue), {"x-max-length": DEAD_LETTERS, "x-overflow": "drop-head"})
            limits = {"x-max-length": capacity, "x-delivery-limit": DELIVERY_LIMIT}
            await declare(channel, work_queue(queue), limits | _on_death_to(dead_queue(queue)))
            for limit in RETRY_MS:
                ages = {"x-max-length": capacity, "x-message-ttl": limit}
                await declare(channel, f"mien.{queue}.retry.{limit}", ages | _on_death_to(work_queue(queue)))
            bound = await channel.get_queue(work_queue(queue), ensure=False)
            await bound.bind(exchange, topic.name)


async def declare_work(channel: AbstractChannel, name: str, capacity: int) -> None:
    """The queue of one method of a port. Harmless when it is there; raises as :func:`declare_topics`."""
    await _declare_buried_work(channel)
    limits = {"x-max-length": capacity, "x-overflow": "reject-publish", "x-delivery-limit": 2 * DELIVERY_LIMIT}
    await declare(channel, work_queue(f"{WORK}.{name}"), limits)


async def _declare_buried_work(channel: AbstractChannel) -> None:
    limits = {"x-max-length": WORK_BURIED, "x-max-length-bytes": WORK_BURIED_BYTES, "x-message-ttl": WORK_BURIED_MS}
    await declare(channel, dead_queue(WORK), {**limits, "x-overflow": "drop-head"})


async def declare(channel: AbstractChannel, name: str, arguments: dict[str, Any]) -> None:
    """One durable quorum queue."""
    await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum", **arguments})


def _on_death_to(queue: str) -> dict[str, Any]:
    return {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
