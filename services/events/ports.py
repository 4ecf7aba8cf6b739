"""What the events service needs: a store, its outbox, and a queue for saves that nobody waits for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from libs.common.ids import Id
from libs.common.wire.events import Event
from libs.common.wire.gallery import GalleryPage, Gap
from libs.common.wire.notices import Notice
from services.events.filters import Predicate
from services.events.stats import Counting, Row

Order = Literal["newest", "oldest", "id"]
"""By time of creation, then id, upward or all the way down; or by id upward."""


LEASE_S = 5.0
"""Who takes something from the outbox has so long to publish it before others may take it, too."""


@dataclass(frozen=True)
class Owed:
    """What is to be told of the events that one call saved, known by the last of them; ``saved_ms`` is when that was.

    ``request_id`` is that of the call.
    """

    event_id: Id
    account: Id
    notices: list[Notice]
    saved_ms: int
    request_id: str | None = None


@dataclass(frozen=True)
class Backlog:
    """What the outbox holds: how many calls' notices, and when the oldest of them was saved (None: nothing)."""

    size: int
    oldest_ms: int | None


class EventStore(Protocol):
    """Every method sees one account's events only, except the feed."""

    async def add(self, account: Id, events: list[Event], now: datetime, owed: Owed | None = None) -> bool:
        """Store those whose id is new, all or none, with ``insert_time`` ``now``. The first write of an id wins, and
        the id of a deleted event is never new again: a message of the bus may come after its event was deleted.

        ``events`` differ in their ids. ``owed`` is of the last of them; it is put into the outbox, taken for LEASE_S,
        by the call that stores that event, in the same step: then the answer is True. Raises REQUEST_CONFLICT when an
        id is another account's, or was.
        """
        ...

    async def delete(self, account: Id, event_ids: list[Id]) -> None:
        """Delete those that exist. An id that nobody has used is used from now on: a save that comes later stores
        nothing under it."""
        ...

    async def find(self, account: Id, where: Predicate, order: Order, offset: int, limit: int) -> list[Event]:
        """Events that pass, without descriptors."""
        ...

    async def select(self, account: Id, where: Predicate) -> list[Id]:
        """The id of every event that passes, in order of ids."""
        ...

    async def with_descriptors(self, account: Id, event_ids: list[Id]) -> list[Event]:
        """Those that exist, in order of ids."""
        ...

    async def count(self, account: Id, what: Counting, limit: int) -> list[Row]:
        """At most ``limit`` rows: the values of the groups, by which they are ordered, then the counts."""
        ...

    async def changes(self, after: int, limit: int, late: list[Gap]) -> GalleryPage:
        """Events of every account with a face descriptor that were stored or deleted after a revision.

        ``late`` is that of the page before; a store that numbers in commit order has no use for it. A page whose
        revision is below ``after`` has no rows and names the newest there is.
        """
        ...


class Outbox(Protocol):
    """What is owed, of every account. One store is both, so that events and what is told of them are one write."""

    async def take(self, limit: int) -> list[Owed]:
        """At most ``limit`` that nobody has taken within LEASE_S, oldest first."""
        ...

    async def clear(self, event_ids: list[Id]) -> None:
        """All of these have been published."""
        ...

    async def reduce(self, owed: Owed) -> None:
        """Only the notices of ``owed`` are left of it; it stays taken until its lease is over."""
        ...

    async def backlog(self) -> Backlog: ...


class SaveQueue(Protocol):
    async def put(self, account: Id, events: list[Event]) -> None:
        """Durably hand over; they are saved soon. Raises OVERLOADED, STORE_UNAVAILABLE."""
        ...
