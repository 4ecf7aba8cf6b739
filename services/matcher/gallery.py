"""What can be found, in memory: every descriptor of one origin, kept equal to the store it comes from."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from prometheus_client import Gauge

from libs.common.descriptors import vector, version_of
from libs.common.errors import MienError
from libs.common.ids import Id
from libs.common.wire.gallery import GalleryPage, GalleryRow, Gap
from services.matcher.engine import Hits, Matrix

T = TypeVar("T")

log = logging.getLogger("mien.matcher")
ROWS = Gauge("mien_matcher_rows", "Objects in memory", ["origin"])
REVISION = Gauge("mien_matcher_revision", "Revision the memory has reached", ["origin"])
LAG = Gauge("mien_matcher_lag_revisions", "How far behind the last catch-up found the memory", ["origin"])
CAUGHT_UP = Gauge(
    "mien_matcher_caught_up_timestamp_seconds", "When the memory last caught up, in Unix time", ["origin"]
)
PAGE = 2000


class Feed(Protocol):
    """A store's changes: ``Faces`` and ``Events`` of ``libs.common.ports`` have it."""

    async def changes(self, after: int, limit: int, late: list[Gap]) -> GalleryPage: ...


@dataclass(frozen=True)
class Query:
    """Descriptors of one version to search for: ``vectors`` is float32 (n, length).

    Each finds its ``limit`` nearest candidates no farther than ``max_distance`` (inclusive).
    """

    version: int
    vectors: np.ndarray
    limit: int
    max_distance: float = np.inf


@dataclass(frozen=True)
class Scope:
    """Which objects a search may touch: those of an account, or of one of its lists; ``only`` some ids of them."""

    account: Id
    list_id: Id | None = None
    only: Sequence[Id] | None = None


Shelf = tuple[Id, int, Id | None]
"""Account, descriptor version, list (None: all objects of the account)."""


class Gallery:
    """One origin (faces or events). Its matrices belong to the search thread and are touched nowhere else."""

    def __init__(self, origin: str, feed: Feed, thread: Executor) -> None:
        self.origin = origin
        self._feed = feed
        self._thread = thread
        self._shelves = _Shelves()
        self._revision = 0
        self._late: list[Gap] = []
        self.is_loaded = False
        """Whether everything there was has been in memory once."""
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None
        self._replays: set[asyncio.Task[None]] = set()

    async def search(self, scope: Scope, query: Query) -> list[Hits]:
        """Catch up, then search as :meth:`Matrix.search`."""
        await self.catch_up()
        return await self._run(self._shelves.search, scope, query)

    async def catch_up(self) -> None:
        """Returns when every change acknowledged before this call is in memory.

        Callers that arrive while a replay runs share the next one: the running one may have begun too early
        for them. Raises what the feed raises.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._replay_in_turn(), name=f"{self.origin}-catch-up")
            self._replays.add(self._next)
            self._next.add_done_callback(self._finished)
        await asyncio.shield(self._next)

    async def state(self) -> dict[str, int]:
        """Objects in memory, the revision reached, and how far the store is ahead of it (a page at most)."""
        page = await self._feed.changes(self._revision, PAGE, self._late)
        return {
            "rows": len(self._shelves),
            "revision": self._revision,
            "lag": max(0, page.revision - self._revision) if page.rows else 0,
        }

    async def close(self) -> None:
        """End the replays that still run."""
        for replay in self._replays:
            replay.cancel()
        await asyncio.gather(*self._replays, return_exceptions=True)

    async def _replay_in_turn(self) -> None:
        async with self._turn:
            self._next = None
            await self._replay()

    def _finished(self, replay: asyncio.Task[None]) -> None:
        """A failure reached everyone who waited; when nobody did, it is no news either."""
        self._replays.discard(replay)
        if not replay.cancelled():
            replay.exception()

    async def _replay(self) -> None:
        """Apply page after page. A store behind the memory was restored from a copy: then forget and reload."""
        more, began = True, self._revision
        while more:
            page = await self._feed.changes(self._revision, PAGE, self._late)
            if page.revision < self._revision:
                log.warning("%s went back to revision %d: loading everything again", self.origin, page.revision)
                self._shelves, self._revision, self._late = _Shelves(), 0, []
                continue
            await self._run(self._shelves.apply, page.rows)
            self._revision, self._late, more = page.revision, page.late, page.more
            REVISION.labels(self.origin).set(self._revision)
        self.is_loaded = True
        ROWS.labels(self.origin).set(len(self._shelves))
        LAG.labels(self.origin).set(max(0, self._revision - began))
        CAUGHT_UP.labels(self.origin).set_to_current_time()

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


class _Shelves:
    """The matrices of a gallery, and which of them hold each object."""

    def __init__(self) -> None:
        self._matrices: dict[Shelf, Matrix] = {}
        self._holders: dict[Id, tuple[Matrix, ...]] = {}

    def __len__(self) -> int:
        return len(self._holders)

    def search(self, scope: Scope, query: Query) -> list[Hits]:
        matrix = self._matrices.get((scope.account, query.version, scope.list_id))
        if matrix is None:
            return [([], np.empty(0))] * len(query.vectors)
        return matrix.search(query.vectors, query.limit, query.max_distance, scope.only)

    def apply(self, rows: Iterable[GalleryRow]) -> None:
        """Make the objects of a page what it says they are now."""
        latest = {row.object_id: row for row in rows}
        arriving: dict[Shelf, dict[Id, np.ndarray]] = defaultdict(dict)
        for object_id, row in latest.items():
            places = _places(row)
            self._hold(object_id, [self._matrix(shelf) for shelf in places])
            for shelf, descriptor in places.items():
                arriving[shelf][object_id] = descriptor
        for shelf, found in arriving.items():
            self._matrices[shelf].put(list(found), np.stack(list(found.values())))
        if not all(map(len, self._matrices.values())):
            self._matrices = {shelf: matrix for shelf, matrix in self._matrices.items() if len(matrix)}

    def _matrix(self, shelf: Shelf) -> Matrix:
        if shelf not in self._matrices:
            self._matrices[shelf] = Matrix(version_of(shelf[1]).length)
        return self._matrices[shelf]

    def _hold(self, object_id: Id, holders: list[Matrix]) -> None:
        """Remember which matrices an object is to be in, and take it out of those it is to leave."""
        for matrix in self._holders.pop(object_id, ()):
            if matrix not in holders:
                matrix.remove(object_id)
        if holders:
            self._holders[object_id] = tuple(holders)


def _places(row: GalleryRow) -> dict[Shelf, np.ndarray]:
    """Where an object belongs now, with the descriptor that goes there. A malformed one goes nowhere."""
    if row.deleted:
        return {}
    places: dict[Shelf, np.ndarray] = {}
    for version, raw in row.descriptors.items():
        try:
            descriptor = vector(version, raw)
        except MienError as wrong:
            log.warning("object %s is no candidate: %s", row.object_id, wrong)
            continue
        for list_id in (None, *row.lists):
            places[row.account_id, version, list_id] = descriptor
    return places
