"""The bus of many processes: RabbitMQ."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelNotFoundEntity

from libs.common.bus import envelope, metrics
from libs.common.bus.alone import Suspects, Turnstile
from libs.common.bus.context import delivery, stamped
from libs.common.bus.link import Link, Session, Unroutable, unavailable
from libs.common.bus.port import (
    Backoff,
    Consumer,
    DeadLetter,
    Message,
    Unreadable,
    Verdict,
    reason,
    verdict,
)
from libs.common.bus.topics import TOPICS, Topics, queues_of, readable, topic_named
from libs.common.bus.topology import (
    CAPACITY,
    EXCHANGE,
    RETRY_MS,
    WORK,
    alone_queue,
    dead_queue,
    declare_topics,
    retry_queue,
    work_queue,
)
from libs.common.bus.watch import watch
from libs.common.errors import Code, MienError

log = logging.getLogger("mien.bus")

HOLD_S = 600.0
"""A delivery is held this long while our own infrastructure is in trouble, and then set aside. RabbitMQ takes the
channel from a consumer that acknowledges nothing for 30 minutes."""
LIVES = 8
"""Consumers that may end in a row while they work on a message and on nothing else before it is given up. So many,
because it was acknowledged to somebody, and a service that is restarted often is restarted in such moments, too."""
PUT_BACK_S, PUT_BACK_LOOKS = 2.0, 200
"""How long messages that were looked at may take to be in their queue again, and how often that is looked at."""
SHOWN, SHOWN_BYTES = 1_000, 256 * 1024 * 1024
"""Dead letters that a list looks through for the oldest, if it is not to show more. It ends earlier once they had so
many bytes: RabbitMQ shows a message only whole."""
STOP_S = 5.0
"""For finishing what is worked on alone, so that a stop is not taken for its doing."""


class Killing(Exception):
    """A message ends whoever works on it."""


@dataclass(frozen=True)
class _Subscription:
    consume: Consumer
    at_once: int


class RabbitBus:
    """Satisfies :class:`libs.common.bus.port.Bus` over RabbitMQ 3.10 or newer.

    A message with several subscribers may be refused because one queue is full and be in the others all the same.
    ``capacity`` bounds each queue; it is part of what the broker was told when it was declared, and another one is
    an error that ``health`` shows. ``patience_s`` bounds how long ``publish`` waits for a broker that is away.
    """

    def __init__(
        self,
        url: str,
        *,
        topics: Topics = TOPICS,
        capacity: int = CAPACITY,
        attempts: int = 8,
        backoff: Backoff = Backoff(),  # noqa: B008 (frozen)
        patience_s: float = 5.0,
    ) -> None:
        self._topics = topics
        self._capacity = capacity
        self._attempts = attempts
        self._backoff = backoff
        self._subscriptions: dict[str, _Subscription] = {}
        self._troubles: Counter[str] = Counter()
        self._turnstile = Turnstile()
        self._suspects: list[Suspects] = []
        self._link = Link(url, self._furnish, name="mien-bus", patience_s=patience_s)

    def subscribe(self, topic: str, subscriber: str, consume: Consumer, at_once: int = 1) -> None:
        queue = topic_named(topic, self._topics).queue(subscriber)
        self._subscriptions[queue] = _Subscription(consume, at_once)

    async def start(self) -> None:
        await self._link.start()

    async def stop(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await asyncio.gather(*(each.finish() for each in self._suspects))
        await self._link.stop()

    async def health(self) -> dict[str, Any]:
        self._link.check()
        return {}

    async def publish(self, message: Message) -> None:
        if not topic_named(message.topic, self._topics).subscribers:
            return
        try:
            await self._link.publish(envelope.encode(stamped(message)), message.topic, EXCHANGE)
        except Unroutable:
            self._link.renew()  # somebody deleted the queues: a new session declares them
            raise
        except MienError as refusal:
            if refusal.code is Code.OVERLOADED:
                metrics.REFUSED.labels(message.topic).inc()
            raise

    async def _furnish(self, session: Session) -> None:
        await declare_topics(session.outgoing, self._topics, self._capacity)
        self._suspects.clear()
        for queue, subscription in self._subscriptions.items():
            await session.consume(work_queue(queue), subscription.at_once, partial(self._deliver, queue))
            work = partial(self._deliver_alone, queue)
            self._suspects.append(Suspects(await session.channel(), alone_queue(queue), self._turnstile, work))
            session.spawn(self._suspects[-1].run())
        waiting = {queue: work_queue(queue) for queue in self._subscriptions}
        buried = {queue: dead_queue(queue) for queue in self._subscriptions}
        session.spawn(watch(await session.channel(), waiting, buried))

    async def _deliver(self, queue: str, incoming: AbstractIncomingMessage) -> None:
        """Acknowledged once it was consumed, or is safe elsewhere."""
        metrics.OLDEST.labels(queue).set(envelope.age_s(incoming))
        if incoming.redelivered:
            metrics.REDELIVERED.labels(queue).inc()
        try:
            message = readable(envelope.decode(incoming), self._topics)
        except Unreadable as failure:
            await self._bury_at_last(queue, incoming, failure)
        else:
            if not (incoming.redelivered and await self._set_apart(queue, incoming)):
                await self._settle(queue, incoming, message)
        await incoming.ack()

    async def _deliver_alone(self, queue: str, incoming: AbstractIncomingMessage) -> bool:
        """While nothing else is consumed here. Whether it was settled; if not, it was given back."""
        if (lost := envelope.deaths(incoming)) >= LIVES:
            killing = Killing(f"{lost} consumers ended while they worked on it and on nothing else")
            return await self._end(incoming, await self._bury(queue, incoming, 1, killing))
        try:
            message = readable(envelope.decode(incoming), self._topics)
        except Unreadable as failure:
            return await self._end(incoming, await self._bury(queue, incoming, 1, failure))
        if (failure := await self._consume(queue, message)) is not None:
            again = await self._after(queue, incoming, message, failure)
            if again is not None and not await self._set_aside(queue, again):
                await self._link.publish(envelope.encode(again), alone_queue(queue))
        await incoming.ack()
        return True

    @staticmethod
    async def _end(incoming: AbstractIncomingMessage, is_buried: bool) -> bool:
        if is_buried:
            await incoming.ack()
        else:
            await incoming.nack(requeue=True)
        return is_buried

    async def _set_apart(self, queue: str, incoming: AbstractIncomingMessage) -> bool:
        """Whether there was room for it among the suspects."""
        return await self._is_taken(envelope.moved(incoming), alone_queue(queue))

    async def _settle(self, queue: str, incoming: AbstractIncomingMessage, message: Message) -> None:
        """Until the message was consumed, set aside for later, or buried."""
        began = time.monotonic()
        while (failure := await self._try(queue, message)) is not None:
            if verdict(failure) is Verdict.WAIT:
                await self._pause(queue, message, failure)
                if time.monotonic() - began < HOLD_S:
                    continue
            again = await self._after(queue, incoming, message, failure)
            if again is None or await self._set_aside(queue, again):
                return
            message = again
            await asyncio.sleep(self._backoff.pause_s(message.attempt))

    async def _after(
        self, queue: str, incoming: AbstractIncomingMessage, message: Message, failure: Exception
    ) -> Message | None:
        """What is to be tried again after a failed delivery; None if the message was buried."""
        match verdict(failure):
            case Verdict.WAIT:
                return message
            case Verdict.AGAIN if message.attempt < self._attempts:
                why = reason(failure)
                log.warning("retry %s in %s after attempt %d: %s", message.message_id, queue, message.attempt, why)
                return replace(message, attempt=message.attempt + 1)
            case _:
                return None if await self._bury(queue, incoming, message.attempt, failure) else message

    async def _try(self, queue: str, message: Message) -> Exception | None:
        """One delivery among others; how it failed."""
        async with self._turnstile.among_others():
            return await self._consume(queue, message)

    async def _consume(self, queue: str, message: Message) -> Exception | None:
        try:
            with delivery(queue, message):
                await self._subscriptions[queue].consume(message)
        except Exception as failure:
            return failure
        self._troubles.pop(queue, None)
        return None

    async def _pause(self, queue: str, message: Message, failure: Exception) -> None:
        """A little longer from trouble to trouble of the queue; a success starts anew."""
        self._troubles[queue] += 1
        log.warning("%s in %s waits for our own infrastructure: %s", message.message_id, queue, reason(failure))
        await asyncio.sleep(self._backoff.pause_s(self._troubles[queue]))

    async def _set_aside(self, queue: str, message: Message) -> bool:
        """Whether there was room for it among what is tried again later.

        Where there is none, nobody may wait for room: it comes about only by deliveries like the one that waits.
        """
        wait_s = self._backoff.wait_s(max(1, message.attempt - 1))
        later = envelope.encode(message)
        later.expiration = min(wait_s, RETRY_MS[-1] / 1000)
        return await self._is_taken(later, retry_queue(queue, wait_s))

    async def _bury(self, queue: str, incoming: AbstractIncomingMessage, attempt: int, failure: Exception) -> bool:
        """Whether there was room for it among the dead letters."""
        why, message_id = reason(failure), envelope.letter_id(incoming)
        if not await self._is_taken(envelope.buried(incoming, attempt, why), dead_queue(queue)):
            log.error("%s in %s cannot be given up, there are too many dead letters: %s", message_id, queue, why)
            return False
        log.error("gave up %s in %s after %d attempts: %s", message_id, queue, attempt, why)
        metrics.DEAD.labels(queue).inc()
        return True

    async def _bury_at_last(self, queue: str, incoming: AbstractIncomingMessage, failure: Exception) -> None:
        """What nobody can read can be set aside nowhere else: it waits for room among the dead letters."""
        tries = 1
        while not await self._bury(queue, incoming, 1, failure):
            await asyncio.sleep(self._backoff.pause_s(tries))
            tries += 1

    async def _is_taken(self, message: aio_pika.Message, queue: str) -> bool:
        """Whether a queue had room for it."""
        try:
            await self._link.publish(message, queue)
        except MienError as refusal:
            if refusal.code is not Code.OVERLOADED:
                raise
            return False
        return True


class RabbitDeadLetters:
    """Satisfies :class:`libs.common.bus.port.DeadLetters` over the broker of a :class:`RabbitBus`, running or not.

    The queue ``work`` holds requests of :mod:`libs.common.bus.work` that ended their workers; one that is redriven is
    worked on again, its answer to nobody.
    """

    def __init__(self, url: str, *, topics: Topics = TOPICS, patience_s: float = 5.0) -> None:
        self._queues = [*queues_of(topics), WORK]
        self._link = Link(url, self._furnish, name="mien-dead-letters", patience_s=patience_s)

    async def start(self) -> None:
        await self._link.start()

    async def stop(self) -> None:
        await self._link.stop()

    async def _furnish(self, session: Session) -> None:
        """Nothing but the session's own channel."""

    async def redrive(self, queue: str, message_ids: Sequence[str] | None) -> int:
        async def redrive(letter: AbstractIncomingMessage) -> None:
            home = f"{WORK}.{letter.type}" if queue == WORK else queue
            await self._link.publish(envelope.risen(letter), work_queue(home))

        return await self._take(queue, message_ids, redrive)

    async def purge(self, queue: str, message_ids: Sequence[str] | None) -> int:
        async def forget(_: AbstractIncomingMessage) -> None:
            """Its acknowledgement is all it takes."""

        return await self._take(queue, message_ids, forget)

    async def list(self, queue: str | None, limit: int) -> Sequence[DeadLetter]:
        found: list[DeadLetter] = []
        for each in self._queues if queue is None else [queue]:
            heads, size = list[DeadLetter](), 0
            async with self._letters(each, max(limit, SHOWN)) as letters:
                async for letter in letters:
                    heads.append(envelope.dead_letter(each, letter))
                    size += len(letter.body)
                    if size > SHOWN_BYTES:
                        break
            found += sorted(heads, key=lambda head: head.died)[:limit]
        return found

    async def _take(
        self,
        queue: str,
        message_ids: Sequence[str] | None,
        dispose: Callable[[AbstractIncomingMessage], Awaitable[None]],
    ) -> int:
        taken = 0
        async with self._letters(queue) as letters:
            async for letter in letters:
                if message_ids is None or envelope.letter_id(letter) in message_ids:
                    await dispose(letter)
                    await letter.ack()
                    taken += 1
        return taken

    @asynccontextmanager
    async def _letters(
        self, queue: str, at_most: int | None = None
    ) -> AsyncIterator[AsyncIterator[AbstractIncomingMessage]]:
        """What is dead now, one by one: each may be large. What is not acknowledged goes back in the end, and a quorum
        queue gives back in another order than it gave."""
        if queue not in self._queues:
            raise ValueError(f"no queue is named {queue}; there are {', '.join(self._queues)}")
        session = await self._link.session()
        try:
            channel = await session.channel(vital=False)
            reading = _Reading(channel, dead_queue(queue))
            try:
                async with aclosing(reading.letters(at_most)) as letters:
                    yield letters
            finally:
                await reading.give_back()
                await channel.close()
        except ChannelNotFoundEntity:  # no bus has ever run on this broker
            raise unavailable(f"{dead_queue(queue)} is not there yet") from None
        except CONNECTION_EXCEPTIONS as lost:
            raise unavailable(f"connection lost ({type(lost).__name__})") from None


class _Reading:
    """Messages of a queue, of which only one is held here at a time."""

    def __init__(self, channel: AbstractChannel, name: str) -> None:
        self._channel = channel
        self._name = name
        self._left = 0
        """Messages that were there and have not been acknowledged."""
        self._kept: AbstractIncomingMessage | None = None

    async def letters(self, at_most: int | None) -> AsyncGenerator[AbstractIncomingMessage]:
        queue, self._left = await self._declared()
        for _ in range(self._left if at_most is None else min(self._left, at_most)):
            letter = await queue.get(fail=False)
            if letter is None:
                return
            try:
                yield letter
            finally:
                if letter.processed:
                    self._left -= 1
                else:
                    self._kept = letter

    async def give_back(self) -> None:
        """All that was not acknowledged. The broker puts it back in its own time: whoever looks next is to find it."""
        if self._kept is None:
            return
        await self._kept.nack(multiple=True, requeue=True)
        for _ in range(PUT_BACK_LOOKS):
            if (await self._declared())[1] >= self._left:
                return
            await asyncio.sleep(PUT_BACK_S / PUT_BACK_LOOKS)

    async def _declared(self) -> tuple[AbstractQueue, int]:
        """The queue, and how many of its messages nobody holds."""
        queue = await self._channel.declare_queue(self._name, passive=True)
        return queue, queue.declaration_result.message_count or 0
