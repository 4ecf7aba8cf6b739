"""What the sender keeps: notices for subscribers, and HTTP calls to make."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from typing import Any

import orjson

from libs.common.ids import Id
from libs.common.wire.policies import Callback


@dataclass(frozen=True)
class Notice:
    """One event that the subscribers of its account are told of.

    ``content`` is a JSON object: event_type, handler_id, account_id, event_create_time, event_end_time, and under
    ``event`` the event as an emission answers it.
    """

    event_id: Id
    content: bytes


@dataclass(frozen=True)
class Entry:
    """A notice in an account's log; ``cursor`` is its place there, opaque to everybody but the log."""

    cursor: str
    content: bytes

    @cached_property
    def told(self) -> dict[str, Any]:
        """The content, decoded once for all subscribers."""
        return orjson.loads(self.content)


@dataclass(frozen=True)
class Bounds:
    """Of one account's log of notices. ``remembered`` events are known to be in it, or to have been."""

    entries: int
    size_bytes: int
    age_ms: int
    remembered: int = 100_000


@dataclass(frozen=True)
class Delivery:
    """One HTTP callback to make: ``body`` as it was encoded once, so that every attempt carries the same bytes.

    ``emitted_ms`` is when the events were emitted: within a lane deliveries are made in that order, and those of the
    same moment in the order in which their messages arrived.
    """

    message_id: str
    account: Id
    callback: Callback
    source: str
    emitted_ms: int
    arrived_ns: int
    body: bytes

    @property
    def subscriber(self) -> str:
        """The receiver's URL."""
        assert self.callback.url is not None
        return self.callback.url

    @property
    def lane(self) -> str:
        """What keeps its order: the events of one source for one subscriber of one account."""
        return sha256("\0".join((self.account, self.subscriber, self.source)).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Keeping:
    """How long and how many deliveries are kept, in milliseconds; at most ``lane_limit`` wait in a lane and
    ``dead_limit`` dead letters of a receiver are kept."""

    lease_ms: int = 6_000
    done_ms: int = 24 * 3_600_000
    dead_ms: int = 30 * 24 * 3_600_000
    lane_limit: int = 10_000
    dead_limit: int = 10_000

    @property
    def full(self) -> str:
        """Why a delivery became a dead letter that nobody tried."""
        return f"{self.lane_limit} callbacks of this source wait for the receiver already"


@dataclass(frozen=True)
class Waiting:
    """The delivery at the head of a lane. ``attempts`` were made before; it waits since ``since_ms``."""

    delivery: Delivery
    attempts: int
    since_ms: int


@dataclass(frozen=True)
class Claim:
    """A lane that one holder works on. ``failures`` were made in a row; ``version`` changes with what is added."""

    lane: str
    holder: str
    version: int
    failures: int


@dataclass(frozen=True)
class DeadDelivery:
    """A callback that was given up. Its body and its receiver's secrets stay where they are."""

    message_id: str
    account: Id
    subscriber: str
    source: str
    attempts: int
    reason: str
    died: datetime


@dataclass(frozen=True)
class Backlog:
    """``oldest_ms`` is since when the delivery waits that has waited longest; None if none waits."""

    waiting: int
    oldest_ms: int | None
    dead: int
