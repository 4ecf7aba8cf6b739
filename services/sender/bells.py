"""Who waits for news of which account, within one process."""

from __future__ import annotations

from asyncio import Event
from collections.abc import Iterator
from contextlib import contextmanager

from libs.common.ids import Id


class Bells:
    """One event for each listener."""

    def __init__(self) -> None:
        self._listeners: dict[Id, set[Event]] = {}

    @contextmanager
    def listening(self, account: Id) -> Iterator[Event]:
        """An event that every ring for the account sets; set at first, for what came before."""
        bell = Event()
        bell.set()
        self._listeners.setdefault(account, set()).add(bell)
        try:
            yield bell
        finally:
            self._listeners[account].discard(bell)
            if not self._listeners[account]:
                del self._listeners[account]

    def ring(self, account: Id) -> None:
        for bell in self._listeners.get(account, ()):
            bell.set()

    def ring_all(self) -> None:
        for account in self._listeners:
            self.ring(account)
