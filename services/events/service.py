"""Use cases of events. Knows no HTTP, bus or database."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from libs.common import clock, observability
from libs.common.errors import Code, MienError
from libs.common.event_rules import check, check_notices
from libs.common.ids import Id
from libs.common.wire.estimations import Descriptor
from libs.common.wire.events import Event, EventFilter, EventPage, StatsRequest, StatsResult
from libs.common.wire.gallery import GalleryPage, Gap
from libs.common.wire.notices import Notice
from services.events import stats
from services.events.columns import EVENT_ID
from services.events.filters import OneOf, filtered
from services.events.model import EventDraft
from services.events.ports import EventStore, Order, Owed, SaveQueue

MAX_EVENTS = 1000
"""Events of one request to save."""
MAX_CHANGES = 10_000
"""Rows of one page of the feed."""

DescriptorType = Literal["face", "body"]
_ABSENT = {"face": Code.DESCRIPTOR_MISSING, "body": Code.BODY_DESCRIPTOR_MISSING}


class Events:
    """The events of every handler. Satisfies :class:`libs.common.ports.Events`.

    ``publish_soon`` is told of everything that was put into the store's outbox.
    """

    def __init__(self, store: EventStore, queue: SaveQueue, publish_soon: Callable[[Owed], None]) -> None:
        self._store = store
        self._queue = queue
        self._publish_soon = publish_soon

    async def submit(self, account: Id, drafts: list[EventDraft], *, wait: bool) -> list[Event]:
        """Save events, all or none; without ``wait``, after the answer. Answers them with their owner.

        Raises TOO_MANY over MAX_EVENTS, OVERLOADED and STORE_UNAVAILABLE without ``wait``, and as :meth:`save`.
        """
        if len(drafts) > MAX_EVENTS:
            raise MienError(Code.TOO_MANY, f"events: {len(drafts)} were sent; {MAX_EVENTS} are allowed")
        events = [draft.of(account) for draft in drafts]
        if wait:
            await self.save(account, events, [])
        else:
            _check_all(account, events)
            await self._queue.put(account, events)
        return events

    async def save(self, account: Id, events: list[Event], notices: list[Notice]) -> None:
        """Store events, all or none, and with them what is to be told of them; an id the account has stored already is
        left as it is, and one that it has deleted is not used again. ``notices`` count only if this call stores the
        last event.

        Raises BAD_BODY, BAD_DESCRIPTOR and DESCRIPTOR_VERSION_UNKNOWN naming the event's or notice's place,
        REQUEST_CONFLICT when an id is in use elsewhere.
        """
        _check_all(account, events)
        check_notices(notices)
        if notices and not events:
            raise MienError(Code.BAD_BODY, "notices: there are no events that they could be about")
        unique, now = _first_of_each(events), clock.now()
        owed = None
        if notices:
            owed = Owed(unique[-1].event_id, account, notices, clock.to_ms(now), observability.REQUEST.get())
        if await self._store.add(account, unique, now, owed) and owed is not None:
            self._publish_soon(owed)

    async def delete(self, account: Id, event_ids: list[Id]) -> None:
        """Delete those that exist, for good: what is saved later under any of the ids is not stored."""
        await self._store.delete(account, event_ids)

    async def find(self, account: Id, where: EventFilter, page: EventPage) -> list[Event]:
        """Newest first (or last, as ``page`` says), ties by id; upward by id when ``where`` bounds the id.

        Raises TOO_MANY when the filter holds too many values.
        """
        order = _order(where, page)
        return await self._store.find(account, filtered(where), order, page.offset, page.page_size)

    async def select(self, account: Id, where: EventFilter) -> list[Id]:
        """The ids of every event that passes, in order. Raises TOO_MANY as :meth:`find`."""
        return await self._store.select(account, filtered(where))

    async def get(self, account: Id, event_id: Id) -> Event:
        """One event, without descriptors. Raises EVENT_MISSING."""
        for event in await self._store.find(account, OneOf(EVENT_ID, (event_id,)), "id", 0, 1):
            return event
        raise _missing(event_id)

    async def with_descriptors(self, account: Id, event_ids: list[Id]) -> list[Event]:
        """Those events that exist, in order of ids, descriptors included."""
        return await self._store.with_descriptors(account, event_ids)

    async def descriptor(self, account: Id, event_id: Id, kind: DescriptorType, version: int | None) -> Descriptor:
        """The descriptor of an event, of any version when that is None.

        Raises EVENT_MISSING, DESCRIPTOR_MISSING, BODY_DESCRIPTOR_MISSING.
        """
        for event in await self._store.with_descriptors(account, [event_id]):
            found = event.face_descriptor if kind == "face" else event.body_descriptor
            if found is not None and version in (None, found.version):
                return found
            wanted = "descriptor" if version is None else f"descriptor of version {version}"
            raise MienError(_ABSENT[kind], f"event {event_id} has no {kind} {wanted}")
        raise _missing(event_id)

    async def stats(self, account: Id, request: StatsRequest) -> StatsResult:
        """Count events. Raises BAD_BODY naming the path; TOO_MANY when there are over stats.MAX_ROWS groups."""
        what = stats.counting(request)
        rows = await self._store.count(account, what, stats.MAX_ROWS + 1)
        if len(rows) > stats.MAX_ROWS:
            raise MienError(Code.TOO_MANY, f"group_by: more than {stats.MAX_ROWS} groups; filter or group by less")
        return stats.result(what, rows)

    async def changes(self, after: int, limit: int, late: list[Gap]) -> GalleryPage:
        """Events with a face descriptor stored or deleted after a revision, of every account; at most MAX_CHANGES.

        Raises BAD_QUERY when ``limit`` is below 1.
        """
        if limit < 1:
            raise MienError(Code.BAD_QUERY, f"limit: {limit}; should be at least 1")
        return await self._store.changes(after, min(limit, MAX_CHANGES), late)


def _check_all(account: Id, events: list[Event]) -> None:
    for place, event in enumerate(events):
        check(account, event, f"events.{place}.")


def _first_of_each(events: Iterable[Event]) -> list[Event]:
    """The first event of each id."""
    found: dict[Id, Event] = {}
    for event in events:
        found.setdefault(event.event_id, event)
    return list(found.values())


def _order(where: EventFilter, page: EventPage) -> Order:
    if where.event_id__gte is not None or where.event_id__lt is not None:
        return "id"
    return "newest" if page.order == "desc" else "oldest"


def _missing(event_id: Id) -> MienError:
    return MienError(Code.EVENT_MISSING, f"event {event_id} was not found")
