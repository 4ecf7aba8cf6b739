"""What handlers need of a store and of whoever carries their notifications."""

from __future__ import annotations

from typing import Protocol

from libs.common.ids import Id
from libs.common.wire.base import Page
from libs.common.wire.handlers import Handler, HandlerFilter


class HandlerStore(Protocol):
    """Handlers of every account; each method sees only those of the account it is given."""

    async def add(self, handler: Handler) -> None: ...

    async def get(self, account: Id, handler_id: Id) -> Handler | None:
        """Raises HANDLER_CORRUPTED when what is stored no longer fits the model."""
        ...

    async def find(self, account: Id, where: HandlerFilter, page: Page) -> list[Handler]:
        """Newest first."""
        ...

    async def count(self, account: Id, where: HandlerFilter) -> int: ...

    async def replace(self, handler: Handler) -> int | None:
        """Replace everything but id, account and create time; the new version, or None when there is none."""
        ...

    async def delete(self, account: Id, handler_id: Id) -> bool:
        """Whether there was one."""
        ...
