"""The revision log of a MongoDB collection: who changes an object takes a number first and writes it with the change.

Numbers are taken from a counter before the change is written, so 6 may be there while 5 is still on its way. A page
therefore names the numbers that it passed and that may still come, and a reader asks for them again
(docs/decisions/005). A document of the collection has ``_id``, ``revision`` and ``written_ms``, and its revision only
grows: who updates one asks for a lower revision in the condition, so that a message that comes late changes nothing.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pymongo import IndexModel, ReturnDocument, UpdateOne
from pymongo.asynchronous.database import AsyncDatabase

from libs.common import clock
from libs.common.storage.mongo import Collection, Document, reached
from libs.common.wire.gallery import GalleryPage, GalleryRow, Gap

SETTLED_MS = 60_000
"""A number that was taken so long ago is not waited for. What is left of it after WRITE_MS, and after the time that the
server may go on with a write which its client gave up, is how far the clocks of processes may be apart."""
WRITE_MS = 20_000
"""A write that took longer gets new numbers before it is acknowledged: readers may have ceased to wait for its own."""
NUMBERS = 5_000
"""Missing numbers that are asked for one by one; a gap of more is asked for as a range."""

COUNTERS = Collection("counters")
INDEX = IndexModel([("revision", 1)])
"""Every collection with a log declares it."""


@dataclass(frozen=True)
class Stamp:
    """What a change writes into its document: ``{"$set": {..., **stamp.fields}}``."""

    revision: int
    written_ms: int

    @property
    def fields(self) -> Document:
        return {"revision": self.revision, "written_ms": self.written_ms}


class Revisions:
    """The log of one collection. ``now_ms`` is the clock, milliseconds since 1970."""

    def __init__(
        self, database: AsyncDatabase[Document], collection: str, now_ms: Callable[[], int] = clock.now_ms
    ) -> None:
        self._log = collection
        self._counters = database[COUNTERS.name]
        self._documents = database[collection]
        self._now_ms = now_ms
        self._is_prepared = False

    @asynccontextmanager
    async def stamped(self, object_ids: Sequence[str]) -> AsyncIterator[dict[str, Stamp]]:
        """A new revision for each object, to be written in the block; the change may be acknowledged after it.

        Raises STORE_UNAVAILABLE.
        """
        began_ms = self._now_ms()
        last = await self._take(len(object_ids))
        taken_ms, first = self._now_ms(), last - len(object_ids) + 1
        yield {one: Stamp(revision, taken_ms) for revision, one in enumerate(object_ids, first)}
        if self._now_ms() - began_ms > WRITE_MS:
            await self._renew(object_ids)

    async def page(
        self,
        after: int,
        limit: int,
        late: Sequence[Gap],
        fields: Iterable[str],
        row: Callable[[Document], GalleryRow],
    ) -> GalleryPage:
        """Rows for what changed after a revision, and for numbers of ``late`` that have come; at most ``limit``.

        ``fields`` are what ``row`` reads of a document. ``late`` is that of the page before. The missing numbers are
        read before the new ones, so that an object that moves up meanwhile is met on its way. Raises STORE_UNAVAILABLE.
        """
        wanted = dict.fromkeys(("revision", "written_ms", *fields), 1)
        with reached():
            await self._prepare()
            newest = await self._newest()
            if newest < after:
                return GalleryPage(revision=newest, rows=[], more=False)
            arrived = await self._arrived(late, limit, wanted)
            waiting = _without(late, [document["revision"] for document in arrived])
            room = limit - len(arrived)
            if not room:
                return GalleryPage(revision=after, rows=[row(one) for one in arrived], more=True, late=waiting)
            found = await self._after(after, room + 1, wanted) if newest > after or late else []
        now_ms = self._now_ms()
        page = found[:room]
        return GalleryPage(
            revision=page[-1]["revision"] if page else after,
            rows=[row(one) for one in (*arrived, *page)],
            more=len(found) > room,
            late=[*(gap for gap in waiting if gap.until_ms > now_ms), *_gaps(after, page, now_ms)],
        )

    async def _prepare(self) -> None:
        """See to it, once in a process, that no number is given twice: a counter that was restored from an older copy
        than its documents is brought up to them."""
        if self._is_prepared:
            return
        newest = await self._documents.find_one({}, {"revision": 1}, sort=[("revision", -1)])
        number = (newest or {}).get("revision") or 0
        await self._counters.update_one({"_id": self._log}, {"$max": {"revision": number}}, upsert=True)
        self._is_prepared = True

    async def _take(self, count: int) -> int:
        """The last of ``count`` new numbers."""
        if not count:
            return 0
        with reached():
            await self._prepare()
            counter = await self._counters.find_one_and_update(
                {"_id": self._log},
                {"$inc": {"revision": count}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        assert counter is not None, "it is created where it is not"
        return counter["revision"]

    async def _newest(self) -> int:
        """The last number that was taken."""
        counter = await self._counters.find_one({"_id": self._log})
        return counter["revision"] if counter else 0

    async def _renew(self, object_ids: Sequence[str]) -> None:
        async with self.stamped(object_ids) as stamps:
            with reached():
                await self._documents.bulk_write(
                    [
                        UpdateOne({"_id": one, "revision": {"$lt": stamp.revision}}, {"$set": stamp.fields})
                        for one, stamp in stamps.items()
                    ],
                    ordered=False,
                )

    async def _arrived(self, late: Sequence[Gap], limit: int, fields: Document) -> list[Document]:
        """At most ``limit`` of those that have come, in order of revisions."""
        found: list[Document] = []
        for some in _questions(late):
            query = self._documents.find({"revision": some}, fields).sort("revision", 1)
            found += await query.limit(limit - len(found)).to_list()
            if len(found) == limit:
                break
        return found

    async def _after(self, after: int, limit: int, fields: Document) -> list[Document]:
        query = self._documents.find({"revision": {"$gt": after}}, fields).sort("revision", 1)
        return await query.limit(limit).to_list()


def _questions(late: Iterable[Gap]) -> Iterator[Document]:
    """Conditions for all numbers of the gaps, in their order: a wide gap alone, narrow ones together."""
    numbers: list[int] = []
    for gap in late:
        is_wide = gap.last - gap.first >= NUMBERS
        if numbers and (is_wide or len(numbers) >= NUMBERS):
            yield {"$in": numbers}
            numbers = []
        if is_wide:
            yield {"$gte": gap.first, "$lte": gap.last}
        else:
            numbers += range(gap.first, gap.last + 1)
    if numbers:
        yield {"$in": numbers}


def _gaps(after: int, page: Sequence[Document], now_ms: int) -> list[Gap]:
    """Numbers that ``page`` passed and that may still come.

    A number was taken before any higher one was written, so the oldest row above it says how long to wait at most.
    """
    gaps: list[Gap] = []
    until_ms = now_ms + SETTLED_MS
    revisions = [after, *(document["revision"] for document in page)]
    for document, below in zip(reversed(page), reversed(revisions[:-1]), strict=True):
        until_ms = min(until_ms, document["written_ms"] + SETTLED_MS)
        if until_ms <= now_ms:
            break
        if document["revision"] > below + 1:
            gaps.append(Gap(first=below + 1, last=document["revision"] - 1, until_ms=until_ms))
    return gaps[::-1]


def _without(gaps: Iterable[Gap], arrived: Sequence[int]) -> list[Gap]:
    """What is still missing. ``arrived`` is in order."""
    missing: list[Gap] = []
    for gap in gaps:
        first = gap.first
        inside = arrived[bisect_left(arrived, gap.first) : bisect_right(arrived, gap.last)]
        for number in (*inside, gap.last + 1):
            if first < number:
                missing.append(Gap(first=first, last=number - 1, until_ms=gap.until_ms))
            first = number + 1
    return missing
