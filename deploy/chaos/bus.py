"""What goes wrong on the bus: messages that come twice, and messages that nobody can read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from libs.common.bus.port import DeadLetter
from libs.common.bus.rabbit import RabbitDeadLetters
from libs.common.bus.topics import TOPICS
from libs.common.bus.topology import EXCHANGE, work_queue

POISON = "poison"
"""What the ids of our unreadable messages begin with."""


@asynccontextmanager
async def everything_twice(url: str) -> AsyncIterator[None]:
    """While it lasts, every message of every topic reaches each of its queues once more.

    A queue of our own hears what the exchange is given, and passes it straight on to the subscribers' queues.
    """
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(EXCHANGE)
        tap = await channel.declare_queue(exclusive=True)
        for topic in TOPICS.values():
            await tap.bind(exchange, topic.name)

        async def pass_on(message: AbstractIncomingMessage) -> None:
            again = aio_pika.Message(
                message.body, content_type=message.content_type, type=message.type, headers=message.headers
            )
            for queue in TOPICS[message.routing_key or ""].queues:
                await channel.default_exchange.publish(again, work_queue(queue))

        await tap.consume(pass_on, no_ack=True)
        yield


async def poison(url: str, number: int) -> int:
    """One message that is none into every queue; how many."""
    queues = [work_queue(queue) for topic in TOPICS.values() for queue in topic.queues]
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        for queue in queues:
            message = aio_pika.Message(
                b"\xc1", headers={"mien-id": f"{POISON}-{number}"}, delivery_mode=aio_pika.DeliveryMode.PERSISTENT
            )
            await channel.default_exchange.publish(message, queue)
    return len(queues)


async def dead_letters(url: str) -> list[DeadLetter]:
    """What lies dead in all queues."""
    letters = RabbitDeadLetters(url)
    await letters.start()
    try:
        return list(await letters.list(None, 1000))
    finally:
        await letters.stop()
