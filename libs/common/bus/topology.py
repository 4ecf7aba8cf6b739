"""What the bus declares in RabbitMQ: names, and arguments that must be the same in every process.

::

    mien.topics (direct exchange) -- topic --> mien.<topic>.<subscriber>             what waits
                                               mien.<topic>.<subscriber>.retry.<ms>  what is tried again later
                                               mien.<topic>.<subscriber>.alone       what is worked on alone (alone.py)
                                               mien.<topic>.<subscriber>.dead        what was given up

    mien.work.<Port>.<method>        requests (libs.common.bus.work)
    mien.work.<Port>.<method>.alone  those that were in a worker's hands when it ended
    mien.work.dead                   requests that ended the workers that had nothing else in hand, for a day

All queues are quorum queues, and all but the last one refuse what there is no room for; nothing that was acknowledged
is ever dropped. A retry queue has no consumer: what expires there goes back into the queue of its subscriber, at least
once, and waits where it is as long as that one is full.
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
UNLIMITED = 1_000_000_000
"""Deliveries before RabbitMQ itself gives a message up. It counts sessions that ended for any reason (and by default up
to 20 since RabbitMQ 4), so that is not left to it."""
WORK = "work"
WORK_BURIED, WORK_BURIED_BYTES, WORK_BURIED_MS = 100, 256 * 1024 * 1024, 24 * 3600 * 1000
"""Bounds of dead requests, which hold what they were about: users' pictures."""
RETRY_MS = (1_000, 10_000, 60_000)
"""A message leaves a retry queue only at its head, so waits of a kind share one: none is late by more than its queue
allows. Longer waits than the last are cut to it."""


def work_queue(queue: str) -> str:
    return f"mien.{queue}"


def alone_queue(queue: str) -> str:
    return f"mien.{queue}.alone"


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
            names += [work_queue(queue), alone_queue(queue), dead_queue(queue)]
            names += [f"mien.{queue}.retry.{limit}" for limit in RETRY_MS]
    return names


async def declare_topics(channel: AbstractChannel, topics: Topics, capacity: int) -> None:
    """Every queue of every subscriber, also of those that never ran. Harmless when they are there.

    Raises ChannelPreconditionFailed when one is there with other arguments.
    """
    exchange = await channel.declare_exchange(EXCHANGE, ExchangeType.DIRECT, durable=True)
    await _declare_buried_work(channel)
    for topic in topics.values():
        for queue in topic.queues:
            await declare(channel, dead_queue(queue), _at_most(DEAD_LETTERS))
            for each in (work_queue(queue), alone_queue(queue)):
                await declare(channel, each, _at_most(capacity) | {"x-delivery-limit": UNLIMITED})
            for limit in RETRY_MS:
                ages = _at_most(capacity) | {"x-message-ttl": limit}
                await declare(channel, f"mien.{queue}.retry.{limit}", ages | _on_death_to(work_queue(queue)))
            bound = await channel.get_queue(work_queue(queue), ensure=False)
            await bound.bind(exchange, topic.name)


async def declare_work(channel: AbstractChannel, name: str, capacity: int) -> None:
    """The queues of one method of a port. Harmless when they are there; raises as :func:`declare_topics`."""
    await _declare_buried_work(channel)
    queue = f"{WORK}.{name}"
    for each in (work_queue(queue), alone_queue(queue)):
        await declare(channel, each, _at_most(capacity) | {"x-delivery-limit": UNLIMITED})


async def _declare_buried_work(channel: AbstractChannel) -> None:
    limits = {"x-max-length": WORK_BURIED, "x-max-length-bytes": WORK_BURIED_BYTES, "x-message-ttl": WORK_BURIED_MS}
    await declare(channel, dead_queue(WORK), {**limits, "x-overflow": "drop-head"})


async def declare(channel: AbstractChannel, name: str, arguments: dict[str, Any]) -> None:
    """One durable quorum queue."""
    await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum", **arguments})


def _at_most(length: int) -> dict[str, Any]:
    """Soft by a few messages. More are refused, not dropped."""
    return {"x-max-length": length, "x-overflow": "reject-publish"}


def _on_death_to(queue: str) -> dict[str, Any]:
    return {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
        "x-dead-letter-strategy": "at-least-once",
    }
