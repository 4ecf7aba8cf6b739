"""The bus: facts and work handed over so that nothing acknowledged is lost.

``publish`` returns once the message survives the death of the process. Every subscriber gets every message of
its topic at least once; a handler that returns acknowledges, one that raises is tried again later, and a
message that keeps failing becomes a dead letter, kept with its reason.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from libs.common.ids import new_id


@dataclass(frozen=True)
class Message:
    """One message. ``body`` is plain data that msgpack can carry; ``version`` is that of its schema."""

    topic: str
    account: str
    body: dict[str, Any]
    message_id: str = field(default_factory=new_id)
    version: int = 1
    request_id: str | None = None
    attempt: int = 1


Consumer = Callable[[Message], Awaitable[None]]


class Bus(Protocol):
    async def publish(self, message: Message) -> None:
        """Durably hand over. Raises OVERLOADED when too much is waiting."""
        ...

    def subscribe(self, topic: str, subscriber: str, consume: Consumer, at_once: int = 1) -> None:
        """Have ``consume`` called for every message of ``topic``. Call before ``start``.

        ``subscriber`` names the queue: after a restart the same name goes on where it stopped. ``at_once``
        deliveries may run at the same time; with 1 they keep their order, but for those tried again.
        """
        ...

    async def start(self) -> None:
        """Begin to deliver, what an earlier process left first."""
        ...

    async def stop(self) -> None:
        """Deliver nothing more. What was being delivered is broken off, and delivered again after the next start."""
        ...
