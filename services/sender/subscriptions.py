"""Subscriptions: who listens to an account's events, and what each of them is told. Knows no HTTP."""

from __future__ import annotations

import asyncio
import logging
import random
from asyncio import Event, Task
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from prometheus_client import Gauge

from libs.common.errors import Code, MienError
from libs.common.ids import Id
from libs.common.wire.events import EventFilter
from services.sender.filters import Filter
from services.sender.model import Entry
from services.sender.ports import NoticeLog

log = logging.getLogger("mien.sender")
SUBSCRIBERS = Gauge("mien_sender_subscribers", "WebSocket subscriptions open in this process")

PAGE = 100
"""Entries of one read of the log."""
TICK_S = 5.0
"""How long a subscription may go without a page, even an empty one."""
AGAIN_S = 1.0
"""Pause before a log that could not be reached is read again."""
FULL_S = 10
"""When to come back, for whom there is no room."""


class Subscriptions:
    """The subscriptions of one process over the log of all: at most ``most``, and ``per_account`` of one account."""

    def __init__(self, log: NoticeLog, *, most: int, per_account: int) -> None:
        self._log = log
        self._reads = SharedReads(log)
        self._most = most
        self._per_account = per_account
        self._of_account: Counter[Id] = Counter()
        self._open: set[Subscription] = set()
        self._is_leaving = False

    @asynccontextmanager
    async def open(self, account: Id, where: EventFilter, cursor: str | None) -> AsyncIterator[Subscription]:
        """A subscription to what passes ``where``, from ``cursor`` or else from now on.

        Raises TOO_MANY_SUBSCRIBERS, OVERLOADED, TOO_MANY (values of filters), BAD_QUERY and CURSOR_GONE (the cursor),
        STORE_UNAVAILABLE.
        """
        wanted = Filter(where)
        with self._room(account), self._log.listening(account) as bell:
            begin = await self._begin(account, cursor)
            subscription = Subscription(account, wanted, begin, self._reads, bell)
            self._open.add(subscription)
            try:
                yield subscription
            finally:
                self._open.discard(subscription)

    async def turn_away(self) -> None:
        """Tell every subscription that this process is going, and allow no new one."""
        self._is_leaving = True
        for subscription in self._open:
            subscription.leaving.set()

    @contextmanager
    def _room(self, account: Id) -> Iterator[None]:
        self._require_room(account)
        self._of_account[account] += 1
        SUBSCRIBERS.inc()
        try:
            yield
        finally:
            SUBSCRIBERS.dec()
            self._of_account -= Counter([account])  # forgets an account that has none left

    def _require_room(self, account: Id) -> None:
        if self._is_leaving or self._of_account.total() >= self._most:
            raise MienError(Code.OVERLOADED, "no room for more subscribers in this process", retry_after_s=FULL_S)
        if (own := self._of_account[account]) >= self._per_account:
            detail = f"the account has {own} subscriptions; {self._per_account} are allowed"
            raise MienError(Code.TOO_MANY_SUBSCRIBERS, detail, retry_after_s=FULL_S)

    async def _begin(self, account: Id, cursor: str | None) -> str:
        if cursor is None:
            return await self._log.newest(account)
        await self._log.read(account, cursor, 1)
        return cursor


class Subscription:
    """One listener. It reads the log at its own pace, so nothing is kept for a slow one.

    ``cursor`` says up to where it has been told; ``leaving`` is set when its process is about to go.
    """

    def __init__(self, account: Id, wanted: Filter, cursor: str, reads: SharedReads, bell: Event) -> None:
        self.cursor = cursor
        self.leaving = Event()
        self._account = account
        self._wanted = wanted
        self._reads = reads
        self._bell = bell

    async def pages(self) -> AsyncIterator[list[Entry]]:
        """What passes of each next part of the log, in its order, as it comes; a page at least every TICK_S.

        A log that cannot be reached is waited for. Raises CURSOR_GONE when the listener is so slow that what it has
        not seen is no longer kept.
        """
        while True:
            self._bell.clear()
            entries = await self._read()
            if entries:
                self.cursor = entries[-1].cursor
            yield [entry for entry in entries if self._wanted.passes(entry.told)]
            if len(entries) < PAGE:
                await self._rung()

    async def _read(self) -> list[Entry]:
        try:
            return await self._reads.read(self._account, self.cursor)
        except MienError as away:
            if away.code is not Code.STORE_UNAVAILABLE:
                raise
            log.warning("subscribers wait for the log of notices: %s", away.detail)
            await asyncio.sleep(random.uniform(AGAIN_S / 2, AGAIN_S))  # noqa: S311
            self._bell.set()
            return []

    async def _rung(self) -> None:
        try:
            async with asyncio.timeout(TICK_S):
                await self._bell.wait()
        except TimeoutError:
            return


class SharedReads:
    """Equal reads of the log at one moment are one: everybody who is up to date reads the same."""

    def __init__(self, log: NoticeLog) -> None:
        self._log = log
        self._under_way: dict[tuple[Id, str], Task[list[Entry]]] = {}

    async def read(self, account: Id, after: str) -> list[Entry]:
        """As :meth:`NoticeLog.read`, PAGE entries."""
        key = account, after
        if key not in self._under_way:
            self._under_way[key] = asyncio.create_task(self._read(account, after))
        return await asyncio.shield(self._under_way[key])

    async def _read(self, account: Id, after: str) -> list[Entry]:
        try:
            return await self._log.read(account, after, PAGE)
        finally:
            del self._under_way[account, after]
