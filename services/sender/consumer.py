"""What the bus brings: events to be told, and callbacks to be made. Kept before it is acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from pydantic import BaseModel

from libs.common.bus.port import Consumer, Message
from libs.common.errors import Code, MienError
from libs.common.ids import Id
from libs.common.wire.base import pack
from libs.common.wire.policies import Callback
from services.sender.model import Delivery, Notice
from services.sender.notices import notices_of
from services.sender.ports import Deliveries, NoticeLog

MAX_CALLBACK_BYTES = 15 * 1024 * 1024
"""Of a body; a document of MongoDB has 16 MiB."""


class CallbackBody(BaseModel):
    """Body of a message on CALLBACKS. Without ``emitted_ms`` it counts as emitted when it arrives."""

    callback: Callback
    events: list[dict[str, Any]]
    emitted_ms: int | None = None


class Telling:
    """A consumer of EVENTS_NOTIFY. A message may arrive twice: the log knows its events.

    What this process gets for an account is appended in the order in which it came: one append at a time, and what
    comes meanwhile together in the next.
    """

    def __init__(self, log: NoticeLog) -> None:
        self._log = log
        self._queues: dict[Id, _Queue] = {}

    async def __call__(self, message: Message) -> None:
        notices = notices_of(message)
        queue = self._queues.setdefault(message.account, _Queue())
        queue.notices += notices
        if queue.append is None:
            queue.append = asyncio.create_task(self._append(message.account, queue))
        await asyncio.shield(queue.append)

    async def _append(self, account: Id, queue: _Queue) -> None:
        async with queue.turn:
            notices, queue.notices, queue.append = queue.notices, [], None
            try:
                await self._log.append(account, notices)
            finally:
                if queue.append is None:
                    del self._queues[account]


@dataclass
class _Queue:
    """What is to be appended next, by a task that waits for its turn."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    notices: list[Notice] = field(default_factory=list)
    append: asyncio.Task[None] | None = None


def calling(deliveries: Deliveries, wake: Callable[[], None]) -> Consumer:
    """A consumer of CALLBACKS. A message may arrive twice: the store knows its id."""

    async def call(message: Message) -> None:
        await deliveries.add(delivery_of(message))
        wake()

    return call


def delivery_of(message: Message) -> Delivery:
    """Raises ValidationError for a body that is none, BODY_TOO_LARGE."""
    arrived_ns = time.time_ns()
    read = CallbackBody.model_validate(message.body)
    body = _encoded(read.callback, {"events": read.events})
    if len(body) > MAX_CALLBACK_BYTES:
        raise MienError(Code.BODY_TOO_LARGE, f"a callback of {len(body)} bytes; {MAX_CALLBACK_BYTES} are made")
    return Delivery(
        message_id=message.message_id,
        account=message.account,
        callback=read.callback,
        source=next((event.get("source") for event in read.events), None) or "",
        emitted_ms=read.emitted_ms if read.emitted_ms is not None else arrived_ns // 1_000_000,
        arrived_ns=arrived_ns,
        body=body,
    )


def _encoded(callback: Callback, content: dict[str, Any]) -> bytes:
    """JSON, or msgpack for who wants that."""
    return pack(content) if callback.params.content_type == "application/msgpack" else orjson.dumps(content)
