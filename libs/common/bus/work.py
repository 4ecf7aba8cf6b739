"""A port as competing consumers over RabbitMQ: the twin of :mod:`libs.common.rpc` for work that takes long.

Every method has one bounded queue, out of which the workers of all processes take requests. A request lives until its
deadline, wherever it is; a worker acknowledges it after its answer, so one that dies leaves its work to another, which
does it alone, because it may have been the cause (``alone.py``), if its caller is still there. Every method of a port
may therefore run twice.
Answers come back by RabbitMQ's direct reply-to. Requests and answers are msgpack as over HTTP; above ``inline_bytes``
they lie in an object store, and only a reference crosses the broker.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

import aio_pika
import msgpack
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.exceptions import ChannelLockedResource

from libs.common import clock, observability, tracing
from libs.common.bus import envelope, metrics
from libs.common.bus.alone import Suspects, Turnstile
from libs.common.bus.claims import Claims
from libs.common.bus.link import Consumption, Link, Session, Unroutable, unavailable
from libs.common.bus.port import MAX_MESSAGE_BYTES
from libs.common.bus.topology import WORK, alone_queue, dead_queue, declare_work, work_queue
from libs.common.bus.watch import watch
from libs.common.errors import Code, MienError
from libs.common.ids import new_id, new_request_id
from libs.common.rpc import Method, methods
from libs.common.wire.base import pack

log = logging.getLogger("mien.work")

P = TypeVar("P")
Run = Callable[..., Awaitable[Any]]

INLINE_BYTES = 256 * 1024
"""A claim is never the faster way on one machine, up to 1 MB and beyond (python -m bench.bus): what it saves is the
broker's memory and disk. A full queue of 256 requests then has at most 64 MB, and a usual photo crosses directly."""
LIVES = 2
"""Workers that may end while they work on a request by itself (for its first seconds, see alone.py) before it is given
up. Few, because somebody waits for the answer and can ask again."""
ANSWER, ERROR = "answer", "error"
CLAIM, DEADLINE, STATUS, RETRY_AFTER = "mien-claim", "mien-deadline-ms", "mien-status", "mien-retry-after-s"
ANSWER_S = 1.0
"""Beyond the deadline, for the answer of a worker that gave up at it. Without one by then nobody had begun."""
REDRIVEN_S = 600.0
"""For a dead letter that was redriven: nobody waits for it."""
REPLIES = "amq.rabbitmq.reply-to"
CALLER = "mien-caller"
"""The name of a queue that lives as long as the caller's connection; nothing is ever in it. (The address of the reply
would tell as much, but client libraries refuse its characters.)"""


@dataclass(frozen=True)
class Parcels:
    """Content on its way: in the message itself, or at its claim."""

    claims: Claims | None
    inline_bytes: int

    async def wrap(self, content: bytes) -> tuple[bytes, dict[str, Any]]:
        """Body and headers. Raises BODY_TOO_LARGE, STORE_UNAVAILABLE."""
        if len(content) <= self.inline_bytes:
            return content, {}
        if self.claims is not None:
            return b"", {CLAIM: await self.claims.put(content)}
        if len(content) > MAX_MESSAGE_BYTES:
            detail = f"{len(content)} bytes; {MAX_MESSAGE_BYTES} may be without an object store"
            raise MienError(Code.BODY_TOO_LARGE, detail)
        return content, {}

    async def unwrap(self, incoming: AbstractIncomingMessage) -> bytes:
        """Raises STORE_UNAVAILABLE, REQUEST_TIMEOUT when the claim is gone: its caller does not wait any more."""
        claim = claim_of(incoming)
        if claim is None:
            return incoming.body
        if self.claims is None:
            raise MienError(Code.STORE_UNAVAILABLE, "this process has no object store to get a request from")
        content = await self.claims.get(claim)
        if content is None:
            raise MienError(Code.REQUEST_TIMEOUT, "the request was dropped meanwhile")
        return content


def claim_of(message: AbstractIncomingMessage) -> str | None:
    claim = message.headers.get(CLAIM)
    return claim if isinstance(claim, str) else None


class WorkCalls:
    """One process's calls of work, of any port: one connection."""

    def __init__(
        self, url: str, claims: Claims | None = None, *, inline_bytes: int = INLINE_BYTES, patience_s: float = 5.0
    ) -> None:
        self._parcels = Parcels(claims, inline_bytes)
        self._link = Link(url, self._furnish, name="mien-work-calls", patience_s=patience_s)
        self._waiting: dict[str, asyncio.Future[AbstractIncomingMessage | MienError]] = {}
        self._dropping: set[asyncio.Task[None]] = set()
        self._presence = ""

    async def start(self) -> None:
        await self._link.start()

    async def stop(self) -> None:
        await self._link.stop()
        await asyncio.gather(*self._dropping, return_exceptions=True)

    async def health(self) -> dict[str, Any]:
        """Raises STORE_UNAVAILABLE while nothing can be asked."""
        self._link.check()
        return {}

    async def call(self, name: str, request: bytes, timeout_s: float) -> bytes:
        """The packed answer to a packed request. Raises as :func:`remote_work` says.

        A worker that has begun answers at the deadline at the latest, that it gave up. Without an answer nobody has, or
        nobody lived: either way the request is dropped by now, and may be sent again.
        """
        limit, deadline_ms = asyncio.timeout(timeout_s + ANSWER_S), clock.now_ms() + int(timeout_s * 1000)
        try:
            async with limit:
                with tracing.span(name, "client"):
                    return await self._call(name, request, deadline_ms)
        except TimeoutError:
            if not limit.expired():
                raise
            metrics.UNANSWERED.labels(f"work.{name}").inc()
            detail = f"no worker had time for {name} within {timeout_s:g} s"
            raise MienError(Code.OVERLOADED, detail, retry_after_s=math.ceil(timeout_s)) from None

    async def _call(self, name: str, request: bytes, deadline_ms: int) -> bytes:
        body, headers = await self._parcels.wrap(request)
        try:
            await self._link.session()
            headers[CALLER] = self._presence
            answer = await self._ask(name, _request(name, body, headers, deadline_ms))
        finally:
            self._drop(headers.get(CLAIM))
        try:
            content = await self._parcels.unwrap(answer)
        finally:
            self._drop(claim_of(answer))
        if answer.type == ERROR:
            raise _error_in(answer, content)
        return content

    async def _ask(self, name: str, request: aio_pika.Message) -> AbstractIncomingMessage:
        assert request.correlation_id is not None
        waiting = self._waiting[request.correlation_id] = asyncio.get_running_loop().create_future()
        try:
            await self._link.publish(request, work_queue(f"{WORK}.{name}"))
            answer = await waiting
        except Unroutable:
            raise unavailable(f"no worker has ever served {name}") from None
        except MienError as refusal:
            if refusal.code is Code.OVERLOADED:
                metrics.REFUSED.labels(f"work.{name}").inc()
            raise
        finally:
            del self._waiting[request.correlation_id]
        if isinstance(answer, MienError):
            raise answer
        return answer

    async def _furnish(self, session: Session) -> None:
        self._presence = (await session.outgoing.declare_queue(exclusive=True)).name
        replies = await session.outgoing.get_queue(REPLIES, ensure=False)
        await replies.consume(self._answered, no_ack=True)
        session.spawn(self._give_up_with(session))

    async def _answered(self, answer: AbstractIncomingMessage) -> None:
        waiting = self._waiting.get(answer.correlation_id or "")
        if waiting and not waiting.done():  # a request that was given to two workers is answered twice
            waiting.set_result(answer)

    async def _give_up_with(self, session: Session) -> None:
        """Answers go to the connection that asked: without it they never arrive."""
        try:
            await session.wait()
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_result(unavailable("connection lost before the answer; asking again is safe"))

    def _drop(self, claim: str | None) -> None:
        """Beside the call, which need not wait for it."""
        claims = self._parcels.claims
        if claim is None or claims is None:
            return
        task = asyncio.create_task(_dropped(claims, claim))
        self._dropping.add(task)
        task.add_done_callback(self._dropping.discard)


async def _dropped(claims: Claims, claim: str) -> None:
    try:
        await claims.drop(claim)
    except MienError as failure:
        log.info("claim %s is left to be swept: %s", claim, failure.detail)


def remote_work(port: type[P], calls: WorkCalls, timeout_s: float = 60.0) -> P:
    """``port`` as served by whatever workers there are.

    Every method raises what a worker raised, OVERLOADED when too much waits for workers or none had time for it,
    REQUEST_TIMEOUT when one began and did not end in time, ENGINE_FAILED when the request ended every worker that had
    it, STORE_UNAVAILABLE when the broker or the object store is away or no worker has ever been there, INTERNAL when
    the answer is not the port's.
    """
    members = {name: _asked(method, calls, timeout_s) for name, method in methods(port).items()}
    return cast("P", type(f"RemoteWork{port.__name__}", (), members)())


def _asked(method: Method, calls: WorkCalls, timeout_s: float) -> Callable[..., Any]:
    async def call(_self: Any, *arguments: Any) -> Any:
        return method.unpack_answer(await calls.call(method.name, method.pack_arguments(arguments), timeout_s))

    return call


def _request(name: str, body: bytes, headers: dict[str, Any], deadline_ms: int) -> aio_pika.Message:
    now_ms, request_id = clock.now_ms(), new_id()
    notes = {
        envelope.ID: request_id,
        envelope.REQUEST: observability.REQUEST.get() or new_request_id(),
        envelope.PUBLISHED: now_ms,
        DEADLINE: deadline_ms,
    }
    if account := observability.ACCOUNT.get():
        notes[envelope.ACCOUNT] = account
    return aio_pika.Message(
        body,
        headers={**tracing.headers(), **headers, **notes},
        type=name,
        correlation_id=request_id,
        reply_to=REPLIES,
        expiration=max(0, deadline_ms - now_ms) / 1000,
        content_type=envelope.MSGPACK,
    )


def _error_in(answer: AbstractIncomingMessage, content: bytes) -> MienError:
    status, retry_after_s = answer.headers.get(STATUS), answer.headers.get(RETRY_AFTER)
    return MienError.from_body(
        msgpack.unpackb(content),
        status if isinstance(status, int) else Code.INTERNAL.status,
        retry_after_s if isinstance(retry_after_s, int) else None,
    )


class WorkServer:
    """One process's work on a port: up to ``at_once`` requests of each method at a time."""

    def __init__(
        self,
        port: type[P],
        implementation: P,
        url: str,
        *,
        at_once: int,
        claims: Claims | None = None,
        inline_bytes: int = INLINE_BYTES,
        capacity: int = 256,
        drain_s: float = 25.0,
    ) -> None:
        self._methods = {method.name: (method, getattr(implementation, name)) for name, method in methods(port).items()}
        self._at_once = at_once
        self._parcels = Parcels(claims, inline_bytes)
        self._capacity = capacity
        self._drain_s = drain_s
        self._draining = False
        self._turnstile = Turnstile()
        self._sources: list[Consumption | Suspects] = []
        self._link = Link(url, self._furnish, name=f"mien-work-{port.__name__}")

    async def start(self) -> None:
        await self._link.start()

    async def stop(self) -> None:
        """Take nothing more, finish what was taken; what is not finished after ``drain_s`` is left to others."""
        self._draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(self._drain_s):
                await asyncio.gather(*(source.finish() for source in self._sources))
        await self._link.stop()

    async def health(self) -> dict[str, Any]:
        """Raises STORE_UNAVAILABLE while no request can come."""
        self._link.check()
        return {}

    async def _furnish(self, session: Session) -> None:
        self._sources.clear()
        if self._draining:
            return
        for name, (method, run) in self._methods.items():
            await declare_work(session.outgoing, name, self._capacity)
            queue, work = f"{WORK}.{name}", partial(self._work, method, run)
            self._sources.append(await session.consume(work_queue(queue), self._at_once, work))
            alone = partial(self._work_alone, method, run)
            suspects = Suspects(await session.channel(), alone_queue(queue), self._turnstile, alone)
            self._sources.append(suspects)
            session.spawn(suspects.run())
        waiting = {f"{WORK}.{name}": work_queue(f"{WORK}.{name}") for name in self._methods}
        session.spawn(watch(await session.channel(), waiting, {WORK: dead_queue(WORK)}))

    async def _work(self, method: Method, run: Run, incoming: AbstractIncomingMessage) -> None:
        label = f"{WORK}.{method.name}"
        metrics.OLDEST.labels(label).set(envelope.age_s(incoming))
        if incoming.redelivered:
            metrics.REDELIVERED.labels(label).inc()
        is_settled = incoming.redelivered and (
            not await self._is_awaited(incoming) or await self._set_apart(method, incoming)
        )
        if not is_settled:
            async with self._turnstile.among_others():
                await self._answer(method, run, incoming)
        await incoming.ack()

    async def _work_alone(self, method: Method, run: Run, incoming: AbstractIncomingMessage) -> bool:
        """While nothing else is worked on here."""
        if (lost := envelope.deaths(incoming)) >= LIVES:
            await self._give_up(method, incoming, f"{lost} workers ended while they worked on it by itself")
        elif await self._is_awaited(incoming):
            await self._answer(method, run, incoming)
        await incoming.ack()
        return True

    async def _is_awaited(self, incoming: AbstractIncomingMessage) -> bool:
        """Whether its caller is still connected: after the end of a broker nobody is, and what was in hand then would
        only keep workers from what is asked again."""
        caller = incoming.headers.get(CALLER)
        if incoming.reply_to is None or not isinstance(caller, str):
            return True  # redriven
        session = await self._link.session()
        channel = await session.channel(vital=False)
        try:
            await channel.declare_queue(caller, passive=True)
        except ChannelLockedResource:
            return True  # it is there, and another connection's own
        except ChannelNotFoundEntity:
            log.info("request %s is dropped: its caller is gone", incoming.headers.get(envelope.REQUEST))
            return False
        await channel.close()
        return True

    async def _set_apart(self, method: Method, incoming: AbstractIncomingMessage) -> bool:
        """Whether there was room among the suspects. It lives on as long as it would have here."""
        suspect = envelope.moved(incoming)
        suspect.correlation_id, suspect.reply_to = incoming.correlation_id, incoming.reply_to
        suspect.expiration = max(0.0, _left_s(incoming))
        try:
            await self._link.publish(suspect, alone_queue(f"{WORK}.{method.name}"))
        except MienError as refusal:
            if refusal.code is not Code.OVERLOADED:
                raise
            return False
        return True

    async def _answer(self, method: Method, run: Run, incoming: AbstractIncomingMessage) -> None:
        if (left_s := _left_s(incoming)) > 0:
            await self._reply(incoming, await self._outcome(method, run, incoming, left_s))
        else:
            metrics.EXPIRED.labels(f"{WORK}.{method.name}").inc()

    async def _outcome(
        self, method: Method, run: Run, incoming: AbstractIncomingMessage, left_s: float
    ) -> aio_pika.Message:
        """The answer, or the error it came to."""
        headers = {name: str(value) for name, value in incoming.headers.items()}
        request = observability.request(headers.get(envelope.REQUEST, ""), headers.get(envelope.ACCOUNT))
        limit, began = asyncio.timeout(left_s), time.perf_counter()
        with request, tracing.span(method.name, "server", headers):
            try:
                async with limit:
                    arguments = method.unpack_arguments(await self._parcels.unwrap(incoming))
                    body, notes = await self._parcels.wrap(method.pack_answer(await run(*arguments)))
                log.info("%s took %.1fms", method.name, (time.perf_counter() - began) * 1000)
            except MienError as failure:
                log.info("%s failed: %s", method.name, failure)
                return _error(failure)
            except Exception:
                if limit.expired():
                    return _error(MienError(Code.REQUEST_TIMEOUT, f"{method.name} took over {left_s:g} s"))
                log.exception("unexpected failure of %s", method.name)
                return _error(MienError(Code.INTERNAL, "the failure was logged under this request id"))
        return aio_pika.Message(body, type=ANSWER, headers=notes, content_type=envelope.MSGPACK)

    async def _give_up(self, method: Method, incoming: AbstractIncomingMessage, why: str) -> None:
        log.error("gave up request %s of %s: %s", incoming.headers.get(envelope.REQUEST), method.name, why)
        metrics.DEAD.labels(f"{WORK}.{method.name}").inc()
        letter = envelope.buried(incoming, LIVES, why)
        letter.body = await self._kept(incoming)
        for note in (CLAIM, DEADLINE):
            letter.headers.pop(note, None)
        await self._link.publish(letter, dead_queue(WORK))
        await self._reply(incoming, _error(MienError(Code.ENGINE_FAILED, f"{method.name}: {why}")))

    async def _kept(self, incoming: AbstractIncomingMessage) -> bytes:
        """The request itself: its claim goes as soon as its caller is answered."""
        with suppress(MienError):
            content = await self._parcels.unwrap(incoming)
            if len(content) <= MAX_MESSAGE_BYTES:
                return content
        return b""

    async def _reply(self, incoming: AbstractIncomingMessage, answer: aio_pika.Message) -> None:
        if incoming.reply_to is None:  # a dead letter that was redriven, to see whether it still kills
            return
        answer.correlation_id = incoming.correlation_id
        # not mandatory: a caller that is gone is no failure, and RabbitMQ would send the answer back to us as well
        await self._link.publish(answer, incoming.reply_to, mandatory=False)


def _error(failure: MienError) -> aio_pika.Message:
    headers: dict[str, Any] = {STATUS: failure.status}
    if failure.retry_after_s is not None:
        headers[RETRY_AFTER] = failure.retry_after_s
    return aio_pika.Message(pack(failure.body()), type=ERROR, headers=headers, content_type=envelope.MSGPACK)


def _left_s(incoming: AbstractIncomingMessage) -> float:
    """Until the deadline of a request, by clocks that must agree within a few seconds."""
    deadline_ms = incoming.headers.get(DEADLINE)
    return (deadline_ms - clock.now_ms()) / 1000 if isinstance(deadline_ms, int) else REDRIVEN_S
