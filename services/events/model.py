"""Events as clients hand them in, and notices as stores keep them."""

from __future__ import annotations

from pydantic import TypeAdapter

from libs.common.ids import NIL, Id
from libs.common.wire.events import Event
from libs.common.wire.notices import Notice

NOTICES = TypeAdapter(list[Notice])
"""To and from JSON."""


class EventDraft(Event):
    """An event to be saved; without ``account_id`` it is the caller's."""

    account_id: Id = NIL

    def of(self, account: Id) -> Event:
        """The event, owned by ``account`` if the draft names nobody."""
        return self if "account_id" in self.model_fields_set else self.model_copy(update={"account_id": account})
