"""One connection to RabbitMQ that comes back by itself.

Everything that hangs on a connection (channels, declarations, consumers, deliveries under way) is a session. When any
of it breaks, the whole session ends and the next one is furnished from nothing: one way to come up, at the start of
the process as after a restart of the broker. aio-pika's own robust connection restores object by object instead, and
does not say when all of them are there again, which is what a publisher has to wait for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aio_pika.connection import Connection, make_url
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, DeliveryError, PublishError

from libs.common.bus.port import Backoff
from libs.common.errors import Code, MienError

log = logging.getLogger("mien.bus")
for _library in ("aio_pika", "aiormq"):
    # what they write at lower levels quotes whole messages, and they are loud about every lost connection, as we are
    logging.getLogger(_library).setLevel(logging.CRITICAL)

CONNECT_S = 10.0
HEARTBEAT_S = 10
CLOSE_S = 5.0
CONFIRM_S = 10.0
"""How long the broker may take to say that a message is on its disk."""
AGAIN = Backoff(first_s=0.2, longest_s=2.0)
"""Between tries to connect."""

Work = Callable[[AbstractIncomingMessage], Coroutine[Any, Any, None]]


class Unroutable(MienError):
    """No queue is bound to where the message was sent."""


def unavailable(detail: str) -> MienError:
    return MienError(Code.STORE_UNAVAILABLE, f"RabbitMQ: {detail}", retry_after_s=1)


class Session:
    """What lives as long as one connection does."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._over = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.outgoing: AbstractChannel
        """For declarations, and for publishing with confirms."""

    async def open(self) -> None:
        self._connection.close_callbacks.add(self.end)
        self.outgoing = await self.channel()

    async def channel(self, *, vital: bool = True) -> AbstractChannel:
        """A channel with confirms. If ``vital``, its end is the session's."""
        channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        if vital:
            channel.close_callbacks.add(self.end)
            (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(self.end)
        return channel

    async def consume(self, queue: str, at_once: int, work: Work) -> Consumption:
        """Have ``work`` done for up to ``at_once`` messages at a time; it must acknowledge."""
        channel = await self.channel()
        await channel.set_qos(prefetch_count=at_once)
        consumption = Consumption(await channel.get_queue(queue, ensure=False))
        await consumption.begin(lambda incoming: self.spawn(work(incoming)))
        return consumption

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do ``work`` beside, for as long as the session lives. Its failure ends the session."""
        task = asyncio.create_task(self._vitally(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _vitally(self, work: Coroutine[Any, Any, None]) -> None:
        """What a failed delivery did not acknowledge is delivered again only once the session is over."""
        try:
            await work
        except (MienError, *CONNECTION_EXCEPTIONS) as lost:
            log.warning("a delivery was broken off, and will be made again: %s", lost)
            self.end()
        except Exception:
            log.exception("a delivery failed outside of its consumer, and will be made again")
            self.end()

    async def wait(self) -> None:
        """Until something of it breaks."""
        await self._over.wait()

    def end(self, *_: object) -> None:
        """Also as a callback of the library, whatever that says."""
        self._over.set()

    async def close(self) -> None:
        """Break off what was spawned; what it had not acknowledged will be delivered again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(TimeoutError, *CONNECTION_EXCEPTIONS):
            async with asyncio.timeout(CLOSE_S):
                await self._connection.close()


class Consumption:
    """What is delivered out of one queue, and the work it makes."""

    def __init__(self, queue: AbstractQueue) -> None:
        self._queue = queue
        self._tag = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self, spawn: Callable[[AbstractIncomingMessage], asyncio.Task[None]]) -> None:
        async def deliver(incoming: AbstractIncomingMessage) -> None:
            task = spawn(incoming)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._tag = await self._queue.consume(deliver)

    async def finish(self) -> None:
        """Take nothing more, and wait for what was taken."""
        with suppress(*CONNECTION_EXCEPTIONS):
            await self._queue.cancel(self._tag)
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Link:
    """Keeps a session alive from ``start`` to ``stop``. ``furnish`` declares and consumes what belongs on it.

    ``patience_s`` bounds how long ``publish`` waits for a broker that is away.
    """

    def __init__(
        self, url: str, furnish: Callable[[Session], Awaitable[None]], *, name: str, patience_s: float = 5.0
    ) -> None:
        self._url = url
        self._furnish = furnish
        self._name = name
        self._patience_s = patience_s
        self._session: Session | None = None
        self._up = asyncio.Event()
        self._failures = 0
        self._why = "not connected yet"
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to connect; does not wait for it."""
        self._task = asyncio.create_task(self._keep(), name=self._name)

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def renew(self) -> None:
        """Begin a new session, because something is not there that was declared."""
        if self._session is not None:
            self._session.end()

    def check(self) -> None:
        """Raises STORE_UNAVAILABLE while there is no session."""
        if not self._up.is_set():
            raise unavailable(self._why)

    async def session(self) -> Session:
        """The session, waited for. Raises STORE_UNAVAILABLE when there is none in time."""
        if self._session is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._up.wait(), self._patience_s)
        if self._session is None:
            raise unavailable(self._why)
        return self._session

    async def publish(self, message: aio_pika.Message, key: str, exchange: str = "", *, mandatory: bool = True) -> None:
        """Returns once the broker has the message on its disk.

        Raises OVERLOADED when a queue is full, Unroutable when it is ``mandatory`` and no queue would get it, and
        STORE_UNAVAILABLE when the broker is away, or when it cannot be known whether the message was taken.
        """
        session = await self.session()
        try:
            target = await session.outgoing.get_exchange(exchange, ensure=False)
            await target.publish(message, key, mandatory=mandatory, timeout=CONFIRM_S)
        except PublishError:
            raise Unroutable(Code.STORE_UNAVAILABLE, f"RabbitMQ: no queue for {key}", retry_after_s=1) from None
        except DeliveryError:
            raise MienError(
                Code.OVERLOADED, f"{key} takes nothing now: too much waits in it, or it is being made", retry_after_s=1
            ) from None
        except TimeoutError:
            raise unavailable(f"no confirm for {key} within {CONFIRM_S:g} s") from None
        except CONNECTION_EXCEPTIONS as lost:
            raise unavailable(f"connection lost before the confirm for {key} ({type(lost).__name__})") from None
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            raise unavailable(f"connection lost before the confirm for {key}") from None

    async def _keep(self) -> None:
        while True:
            try:
                await self._live()
            except (TimeoutError, *CONNECTION_EXCEPTIONS) as failure:
                self._why = f"{type(failure).__name__}: {failure}"
            except asyncio.CancelledError:  # the library also ends its own futures with it
                if _is_cancelled():
                    raise
            except Exception as failure:  # whatever it is, without a session nothing goes, and somebody has to hear why
                self._why = f"{type(failure).__name__}: {failure}"
                log.exception("%s failed in a way that is not RabbitMQ's", self._name)
            self._failures += 1
            level = logging.WARNING if self._failures == 1 else logging.DEBUG
            log.log(level, "%s is without RabbitMQ (%s); trying until it is there", self._name, self._why)
            await asyncio.sleep(AGAIN.wait_s(self._failures))

    async def _live(self) -> None:
        """One session from its beginning to its end."""
        address = make_url(self._url).update_query(heartbeat=HEARTBEAT_S)
        connection = Connection(address, client_properties={"connection_name": self._name})
        session = Session(connection)
        try:
            await connection.connect(timeout=CONNECT_S)
            await session.open()
            await self._furnish(session)
            self._session = session
            self._up.set()
            log.info("%s is connected to RabbitMQ", self._name)
            self._failures, self._why = 0, "connection lost"
            await session.wait()
        finally:
            self._session = None
            self._up.clear()
            await session.close()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
