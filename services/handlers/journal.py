"""What emissions store in other services, written down before any of it is stored.

An emission is not answered before its entry is gone. So an entry that stays, because the process died, something could
not be taken back, or nobody knows how a step ended, is of an emission that nobody has an answer to: it is made whole
or taken back later (``unfinished.py``).
"""

from __future__ import annotations

from pydantic import Field

from libs.common.ids import Id, new_id
from libs.common.wire.base import Wire

OVERDUE_S = 180.0
"""An entry this old is of an emission that is over: storing ends within pipeline.STORING_S, saving within the 60 s of a
call. An emission that goes on all the same is told by ``Journal.end``."""
LEASE_S = 60.0
"""Who takes an overdue entry has so long to settle it before others try."""


class Traces(Wire):
    """All that one emission is about to store, by the ids that it chose: pictures by bucket, temporary attributes,
    faces; and the events that will be saved in the end, if any."""

    emission_id: Id = Field(default_factory=new_id)
    account: Id
    images: dict[str, list[Id]] = {}
    attributes: list[Id] = []
    faces: list[Id] = []
    events: list[Id] = []

    @property
    def are_none(self) -> bool:
        """Whether nothing is stored that would have to be taken back."""
        return not (self.images or self.attributes or self.faces)
