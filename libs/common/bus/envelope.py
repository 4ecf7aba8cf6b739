"""A message as it crosses RabbitMQ: the body as msgpack, everything else in headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import aio_pika
import msgpack
from aio_pika.abc import AbstractIncomingMessage

from libs.common import clock
from libs.common.bus.port import MAX_MESSAGE_BYTES, DeadLetter, Message, Unreadable
from libs.common.errors import Code, MienError
from libs.common.wire.base import pack

MSGPACK = "application/msgpack"
ID, ACCOUNT, VERSION, ATTEMPT, REQUEST = "mien-id", "mien-account", "mien-version", "mien-attempt", "mien-request"
PUBLISHED, DIED, REASON = "mien-published-ms", "mien-died-ms", "mien-reason"
OURS, BROKERS = "mien-", "x-"
"""Prefixes of headers that are not the publisher's own."""


def encode(message: Message) -> aio_pika.Message:
    """Raises BODY_TOO_LARGE."""
    body = pack(message.body)
    if len(body) > MAX_MESSAGE_BYTES:
        raise MienError(Code.BODY_TOO_LARGE, f"{len(body)} bytes for {message.topic}; {MAX_MESSAGE_BYTES} may be")
    headers: dict[str, Any] = {
        **message.headers,
        ID: message.message_id,
        ACCOUNT: message.account,
        VERSION: message.version,
        ATTEMPT: message.attempt,
        PUBLISHED: clock.now_ms(),
    }
    if message.request_id:
        headers[REQUEST] = message.request_id
    return _durable(body, message.topic, headers)


def decode(incoming: AbstractIncomingMessage) -> Message:
    """Raises Unreadable."""
    headers = incoming.headers
    try:
        body = msgpack.unpackb(incoming.body)
        if not isinstance(body, dict):
            raise Unreadable("the body is no map")
        message = Message(
            topic=str(incoming.type),
            account=str(headers[ACCOUNT]),
            body=body,
            message_id=str(headers[ID]),
            version=_number(headers[VERSION]),
            attempt=_number(headers[ATTEMPT]),
            headers={name: str(value) for name, value in _own(headers).items()},
        )
    except (ValueError, KeyError, msgpack.UnpackException) as wrong:
        raise Unreadable(f"the envelope is no message: {type(wrong).__name__}") from None
    return replace(message, request_id=str(headers[REQUEST])) if REQUEST in headers else message


def age_s(incoming: AbstractIncomingMessage) -> float:
    """How long ago it was published; 0 when it does not say."""
    published_ms = incoming.headers.get(PUBLISHED)
    return max(0, clock.now_ms() - published_ms) / 1000 if isinstance(published_ms, int) else 0.0


def deaths(incoming: AbstractIncomingMessage) -> int:
    """How many consumers had it out of this queue before and went away without an acknowledgement."""
    counts = (incoming.headers.get(name) for name in ("x-delivery-count", "x-acquired-count"))
    return max((count for count in counts if isinstance(count, int)), default=0)


def moved(incoming: AbstractIncomingMessage) -> aio_pika.Message:
    """What came, for another queue, where its deaths are counted anew."""
    return _durable(incoming.body, incoming.type, _kept(incoming.headers))


def buried(incoming: AbstractIncomingMessage, attempt: int, reason: str) -> aio_pika.Message:
    """What came, readable or not, as a dead letter."""
    headers = {**_kept(incoming.headers), ATTEMPT: attempt, REASON: reason, DIED: clock.now_ms()}
    return _durable(incoming.body, incoming.type, headers)


def risen(letter: AbstractIncomingMessage) -> aio_pika.Message:
    """A dead letter as it was published once."""
    headers = {name: value for name, value in _kept(letter.headers).items() if name not in (REASON, DIED)}
    return _durable(letter.body, letter.type, {**headers, ATTEMPT: 1, PUBLISHED: clock.now_ms()})


def dead_letter(queue: str, letter: AbstractIncomingMessage) -> DeadLetter:
    headers = letter.headers
    reason = headers.get(REASON)
    return DeadLetter(
        queue=queue,
        message_id=letter_id(letter),
        topic=letter.type or "",
        account=str(headers.get(ACCOUNT, "")),
        attempts=_number(headers.get(ATTEMPT, 1)),
        reason=str(reason) if reason else f"buried by RabbitMQ: {headers.get('x-first-death-reason')}",
        died=died(letter),
    )


def died(letter: AbstractIncomingMessage) -> datetime:
    """As it says, or by the broker's own record of what it buried itself."""
    died_ms = letter.headers.get(DIED)
    if isinstance(died_ms, int):
        return clock.from_ms(died_ms)
    records: Any = letter.headers.get("x-death", [])
    times = [record["time"] for record in records if isinstance(record.get("time"), datetime)]
    return times[0] if times else clock.from_ms(0)


def letter_id(letter: AbstractIncomingMessage) -> str:
    return str(letter.headers.get(ID, ""))


def _durable(body: bytes, topic: str | None, headers: dict[str, Any]) -> aio_pika.Message:
    return aio_pika.Message(
        body, content_type=MSGPACK, type=topic, headers=headers, delivery_mode=aio_pika.DeliveryMode.PERSISTENT
    )


def _kept(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Without the broker's own notes on earlier journeys."""
    return {name: value for name, value in headers.items() if not name.startswith(BROKERS)}


def _own(headers: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in _kept(headers).items() if not name.startswith(OURS)}


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise ValueError("not a whole number")
    return value
