"""What the events service needs: a store, and a queue for saves that nobody waits for."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Protocol

from libs.common.wire.events import Event
from libs.common.wire.gallery import GalleryPage, Gap
from services.events.filters import Predicate
from services.events.stats import Counting, Row

Order = Literal["newest", "oldest", "id"]
"""By time of creation, then id, upward or all the way down; or by id upward."""


class EventStore(Protocol):
    """Every method sees one account's events only, except the feed."""

    async def add(self, account: str, events: list[Event], now: datetime) -> None:
        """Store those whose id is new, all or none, with ``insert_time`` ``now``. The first write of an id wins.

        Raises REQUEST_CONFLICT when an id is another account's, or was one's in the feed.
        """
        ...

    async def delete(self, account: str, event_ids: list[str]) -> None:
        """Delete those that exist."""
        ...

    async def find(self, account: str, where: Predicate, order: Order, offset: int, limit: int) -> list[Event]:
        """Events that pass, without descriptors."""
        ...

    async def select(self, account: str, where: Predicate) -> list[str]:
        """The id of every event that passes, in order of ids."""
        ...

    async def with_descriptors(self, account: str, event_ids: list[str]) -> list[Event]:
        """Those that exist, in order of ids."""
        ...

    async def count(self, account: str, what: Counting, limit: int) -> list[Row]:
        """At most ``limit`` rows: the values of the groups, by which they are ordered, then the counts."""
        ...

    async def changes(self, after: int, limit: int, late: list[Gap]) -> GalleryPage:
        """Events of every account with a face descriptor that were stored or deleted after a revision.

        ``late`` is that of the page before; a store that numbers in commit order has no use for it. A page whose
        revision is below ``after`` has no rows and names the newest there is.
        """
        ...


class SaveQueue(Protocol):
    async def put(self, account: str, events: list[Event]) -> None:
        """Durably hand over; they are saved soon. Raises OVERLOADED."""
        ...
