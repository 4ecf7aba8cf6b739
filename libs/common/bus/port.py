"""The bus: facts and work handed over so that nothing acknowledged is lost.

``publish`` returns once the message survives the death of the process. Every subscriber gets every message of
its topic at least once; a handler that returns acknowledges, one that raises is tried again later, and a
message that keeps failing becomes a dead letter, kept with its reason until somebody redrives or purges it.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Protocol

from pydantic import ValidationError

from libs.common.errors import MienError
from libs.common.ids import new_id
from libs.common.wire.base import fault

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Of one packed body; publishing more raises BODY_TOO_LARGE. RabbitMQ 4 closes the channel on more, and so would break
off what everybody else is doing there."""
DEAD_LETTERS = 10_000
"""Kept per queue. What would be one more stays where it is, and is tried again, until somebody made room."""


@dataclass(frozen=True)
class Message:
    """One message. ``body`` is plain data that msgpack can carry; ``version`` is that of its schema.

    ``headers`` go along unread, such as W3C's ``traceparent``. ``attempt`` counts from 1 how often the message was
    delivered in vain, troubles of our own infrastructure not counted.
    """

    topic: str
    account: str
    body: dict[str, Any]
    message_id: str = field(default_factory=new_id)
    version: int = 1
    request_id: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    attempt: int = 1


@dataclass(frozen=True)
class DeadLetter:
    """A message that was given up. What could not be read has no account or topic. Its body stays in the queue."""

    queue: str
    message_id: str
    topic: str
    account: str
    attempts: int
    reason: str
    died: datetime


Consumer = Callable[[Message], Awaitable[None]]


class Bus(Protocol):
    async def publish(self, message: Message) -> None:
        """Durably hand over to every subscriber of the topic, those that have not started yet too.

        Raises OVERLOADED when too much is waiting, STORE_UNAVAILABLE when it cannot be known that the message was
        taken (publish it again: its id makes that harmless), BODY_TOO_LARGE, ValueError for an unknown topic.
        """
        ...

    def subscribe(self, topic: str, subscriber: str, consume: Consumer, at_once: int = 1) -> None:
        """Have ``consume`` called for every message of ``topic``. Call before ``start``.

        ``subscriber`` names the queue: after a restart the same name goes on where it stopped. ``at_once``
        deliveries may run at the same time; with 1 they keep their order, but for those tried again.
        Raises ValueError for a subscriber that the table of topics does not name.
        """
        ...

    async def start(self) -> None:
        """Begin to deliver, what an earlier process left first. Does not wait for a broker that is away."""
        ...

    async def stop(self) -> None:
        """Deliver nothing more. What was being delivered is broken off, and delivered again after the next start."""
        ...

    async def health(self) -> dict[str, Any]:
        """Raises STORE_UNAVAILABLE while nothing can be published or delivered."""
        ...


class DeadLetters(Protocol):
    """What was given up, for an operator. Queues are named ``topic.subscriber``; an unknown one raises ValueError."""

    async def redrive(self, queue: str, message_ids: Sequence[str] | None) -> int:
        """Put dead letters back into their queue, their attempts forgotten; None means all. How many it were."""
        ...

    async def purge(self, queue: str, message_ids: Sequence[str] | None) -> int:
        """Delete dead letters for good; None means all. How many it were."""
        ...

    async def list(self, queue: str | None, limit: int) -> Sequence[DeadLetter]:
        """At most ``limit`` of each queue, the oldest first; None means every queue. Where there are over a thousand,
        the oldest of those at the head of the queue."""
        ...


class Unreadable(Exception):
    """A message that this release cannot read, whose schema is newer or whose bytes make no sense."""


class Verdict(Enum):
    """What becomes of a message whose delivery failed."""

    AGAIN = "again"
    """It is tried again, until its attempts are used up."""
    WAIT = "wait"
    """Our own infrastructure is in trouble, which is no fault of the message: it is tried again until that is over."""
    DEAD = "dead"
    """It can never be read: a dead letter at once."""


TROUBLE = frozenset({502, 503, 504, 507})
"""Statuses by which a store, the bus or another service of ours says that it cannot work now."""


def verdict(failure: Exception) -> Verdict:
    """The one place that decides. A consumer that calls servers of others must not let their 5xx through as its own."""
    match failure:
        case Unreadable() | ValidationError():
            return Verdict.DEAD
        case MienError():
            return Verdict.WAIT if failure.status in TROUBLE else Verdict.AGAIN
        case OSError() | sqlite3.OperationalError():
            return Verdict.WAIT
        case _:
            return Verdict.AGAIN


def reason(failure: Exception) -> str:
    """A failure in words fit for a log: pydantic would quote the value, which may be a picture or a descriptor."""
    text = fault(failure) if isinstance(failure, ValidationError) else str(failure)
    return f"{type(failure).__name__}: {text}"[:1000]


@dataclass(frozen=True)
class Backoff:
    """How long to wait before the next try: exponential from ``first_s``, with half of it jitter.

    ``longest_s`` bounds the wait of a message that keeps failing, ``trouble_s`` the pause while our own
    infrastructure is in trouble, which is short so that work goes on soon after it is over.
    """

    first_s: float = 0.2
    longest_s: float = 60.0
    trouble_s: float = 5.0

    def wait_s(self, attempt: int) -> float:
        """After the ``attempt``-th failure of a message, from 1."""
        return self._jittered(attempt, self.longest_s)

    def pause_s(self, in_a_row: int) -> float:
        """After the ``in_a_row``-th trouble of a queue without a success between, from 1."""
        return self._jittered(in_a_row, self.trouble_s)

    def _jittered(self, count: int, longest_s: float) -> float:
        exponent = min(count - 1, 30)  # 2 ** 30 is longer than any limit, and no overflow
        return random.uniform(0.5, 1.0) * min(longest_s, self.first_s * 2**exponent)  # noqa: S311
