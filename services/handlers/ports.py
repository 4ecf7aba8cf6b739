"""What handlers need: a store of their own, and the other services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from libs.common.bus.port import Bus
from libs.common.ids import Id
from libs.common.ports import Events, Faces, Images, Matcher, Sdk
from libs.common.wire.base import Page
from libs.common.wire.handlers import Handler, HandlerFilter
from services.handlers.journal import Traces


@dataclass(frozen=True)
class Services:
    """Whom the steps of an emission call."""

    sdk: Sdk
    faces: Faces
    events: Events
    images: Images
    matcher: Matcher
    bus: Bus


class HandlerStore(Protocol):
    """Handlers of every account; each method sees only those of the account it is given."""

    async def check(self) -> None:
        """Whether the store can be used. Raises STORE_UNAVAILABLE, or what its database raises."""
        ...

    async def add(self, handler: Handler) -> None:
        """One whose id is stored already is left as it is; the id of a deleted one is never used again."""
        ...

    async def get(self, account: Id, handler_id: Id) -> Handler | None:
        """Raises HANDLER_CORRUPTED when what is stored no longer fits the model."""
        ...

    async def find(self, account: Id, where: HandlerFilter, page: Page) -> list[Handler]:
        """Newest first."""
        ...

    async def count(self, account: Id, where: HandlerFilter) -> int: ...

    async def replace(self, handler: Handler) -> bool:
        """Put it in the place of the version before its own; whether that version was what is stored."""
        ...

    async def delete(self, account: Id, handler_id: Id) -> bool:
        """Whether there was one."""
        ...


class Journal(Protocol):
    """Emissions that store things and are not answered yet."""

    async def begin(self, traces: Traces) -> None:
        """Write it down durably; once, however often it is called. Raises STORE_UNAVAILABLE."""
        ...

    async def end(self, account: Id, emission_id: Id) -> bool:
        """Strike it out; False if somebody took it meanwhile, or it is not there. Raises STORE_UNAVAILABLE."""
        ...

    async def take(self, limit: int) -> list[Traces]:
        """At most ``limit`` that began over OVERDUE_S ago, the longest due first, of every account.

        Nobody else is given them for LEASE_S, and their emissions cannot end them any more.
        """
        ...

    async def settled(self, traces: Traces) -> None:
        """Strike out what was taken. Raises STORE_UNAVAILABLE."""
        ...
