"""What the sender needs: a log of notices, a store of deliveries, and somebody who may call users' URLs."""

from __future__ import annotations

from asyncio import Event
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from libs.common.ids import Id
from services.sender.model import Backlog, Claim, DeadDelivery, Delivery, Entry, Notice, Waiting


class NoticeLog(Protocol):
    """Every account's latest notices in the order they came; bounded in number and age, so that it may be resumed."""

    async def append(self, account: Id, notices: Sequence[Notice]) -> None:
        """Put them at the end and wake who listens. One whose event is in the log already, or was until lately, is
        left out, so that a message that arrives twice changes nothing. Raises STORE_UNAVAILABLE."""
        ...

    async def newest(self, account: Id) -> str:
        """The cursor after everything that is there now. Raises STORE_UNAVAILABLE."""
        ...

    async def read(self, account: Id, after: str, limit: int) -> list[Entry]:
        """What follows the cursor ``after``, oldest first.

        Raises CURSOR_GONE when some of it is no longer kept, or the cursor is of a log that was lost; BAD_QUERY when
        it is no cursor; STORE_UNAVAILABLE.
        """
        ...

    def listening(self, account: Id) -> AbstractContextManager[Event]:
        """An event that is set whenever there may be more for the account. Clear it before reading."""
        ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def check(self) -> None:
        """Raises STORE_UNAVAILABLE while it cannot be reached."""
        ...


class Deliveries(Protocol):
    """HTTP callbacks to be made, in lanes: one after the other within a lane, whoever works on it.

    A lane is claimed by one holder for a short lease; a holder that dies lets it run out. Times are milliseconds.
    """

    async def add(self, delivery: Delivery) -> None:
        """Keep it until it is delivered or dead; adding it again, later too, changes nothing.

        With too many waiting in its lane it is a dead letter at once. Raises STORE_UNAVAILABLE.
        """
        ...

    async def claim(self, holder: str) -> Claim | None:
        """The lane that is due the longest and nobody else's, or None. ``holder`` is a new name for each claim."""
        ...

    async def extend(self, claim: Claim) -> bool:
        """Begin the lease anew; False when it has passed to somebody else."""
        ...

    async def head(self, claim: Claim) -> Waiting | None:
        """The next of the lane; None when there is none, then the lane is given up."""
        ...

    async def delivered(self, message_id: str) -> None:
        """It is done, and is known to be for a while, in case its message arrives again."""
        ...

    async def failed(self, message_id: str, attempts: int, reason: str) -> None:
        """It stays the head of its lane."""
        ...

    async def died(self, message_id: str, attempts: int, reason: str) -> None:
        """It is a dead letter, and its lane goes on without it."""
        ...

    async def release(self, claim: Claim, *, failures: int, due_ms: int) -> None:
        """Leave the lane, to be claimed from ``due_ms`` on."""
        ...

    async def dead(self, account: Id | None, subscriber: str | None, limit: int) -> list[DeadDelivery]:
        """Dead letters, latest first, of one account or receiver or of all."""
        ...

    async def redrive(self, message_ids: Sequence[str] | None) -> int:
        """Have these dead letters, or all, delivered again as if they were new; how many."""
        ...

    async def purge(self, message_ids: Sequence[str] | None) -> int:
        """Forget these dead letters, or all; how many."""
        ...

    async def backlog(self) -> Backlog: ...

    async def check(self) -> None:
        """Raises STORE_UNAVAILABLE while it cannot be reached."""
        ...

    async def sweep(self) -> None:
        """Forget what was kept long enough. Several processes may do so at once."""
        ...


class Poster(Protocol):
    """Whoever may call users' URLs (the guarded fetcher)."""

    async def post(self, url: str, body: bytes, headers: dict[str, str], timeout_s: float) -> int:
        """The HTTP status of the answer. Raises BAD_URL, FETCH_REFUSED, REQUEST_TIMEOUT, CONNECTION."""
        ...
