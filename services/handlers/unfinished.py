"""Emissions that were not brought to their end: made whole, or taken back, nothing in between.

An emission whose events are saved is whole, because what they rest on is stored before them. Of any other one
everything is deleted, its events' ids first: then a save that is still on its way stores nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

from prometheus_client import Counter

from libs.common.errors import MienError
from libs.common.wire.events import EventFilter
from services.handlers.journal import Traces
from services.handlers.ports import Journal, Services

PAGE = 100
"""Emissions taken out of the journal at a time."""
SWEEP_S = 10.0
"""How often the journal is looked through."""

log = logging.getLogger("mien.handlers")
SETTLED = Counter("mien_emissions_settled_total", "Emissions found unfinished, and what became of them", ["outcome"])


async def take_back(traces: Traces, services: Services) -> bool:
    """Delete what an emission stored, faces first; whether all of it is gone. Harmless to repeat."""
    is_done = True
    for undo in _deletions(traces, services):
        try:
            await undo()
        except Exception:  # the others are to be undone all the same; this one is tried again later
            log.exception("a part of emission %s is taken back later", traces.emission_id)
            is_done = False
    return is_done


def _deletions(traces: Traces, services: Services) -> Iterator[Callable[[], Awaitable[None]]]:
    if traces.faces:
        yield partial(services.faces.delete_faces, traces.account, traces.faces)
    if traces.attributes:
        yield partial(services.faces.delete_attributes, traces.account, traces.attributes)
    for bucket, ids in traces.images.items():
        yield partial(services.images.delete, traces.account, bucket, ids)


class Unfinished:
    """Settles what the journal holds too long. Any number may run over one journal."""

    def __init__(self, journal: Journal, services: Services) -> None:
        self._journal = journal
        self._services = services

    async def sweep(self) -> None:
        """Settle all that is overdue; what cannot be settled now is taken again after its lease."""
        while page := await self._journal.take(PAGE):
            for traces in page:
                try:
                    await self._settle(traces)
                except MienError as trouble:
                    log.warning("emission %s is settled later: %s", traces.emission_id, trouble)

    async def _settle(self, traces: Traces) -> None:
        if await self._is_saved(traces):
            outcome = "whole"
        else:
            await self._services.events.delete(traces.account, traces.events)
            if not await take_back(traces, self._services):
                return
            outcome = "taken back"
        await self._journal.settled(traces)
        SETTLED.labels(outcome).inc()
        log.warning("emission %s was not brought to its end; it is %s", traces.emission_id, outcome)

    async def _is_saved(self, traces: Traces) -> bool:
        """Also of events that are saved in portions: after the first one nothing is taken back."""
        if not traces.events:
            return False
        return bool(await self._services.events.select(traces.account, EventFilter(event_ids=traces.events)))
