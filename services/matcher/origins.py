"""Where candidates come from: faces, events, temporary attributes. Each knows how to search and how to show."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import Any, Protocol

import numpy as np

from libs.common.descriptors import vector, version_of
from libs.common.errors import Code, MienError
from libs.common.ids import Id
from libs.common.ports import Events, Faces
from libs.common.wire.base import Page, Wire, chunks
from libs.common.wire.events import EVENT_TARGETS, EventFilter, EventPage
from libs.common.wire.faces import FaceFilter
from libs.common.wire.matcher import (
    ATTRIBUTE_TARGETS,
    FACE_TARGETS,
    AttributeCandidates,
    EventCandidates,
    FaceCandidates,
)
from services.matcher.engine import Hits, Matrix
from services.matcher.gallery import Gallery, Query, Scope
from services.matcher.references import LOOKUP, by_version


class Origin(Protocol):
    """One kind of candidates. ``kind`` is the key of a candidate in the answer."""

    kind: str
    targets: tuple[str, ...]
    unknown_target: Code

    async def search(self, account: Id, where: Any, query: Query) -> list[Hits]:
        """The nearest candidates of each query, as :meth:`Matrix.search`."""
        ...

    async def records(self, account: Id, ids: list[Id], targets: set[str]) -> dict[Id, dict[str, Any]]:
        """The asked keys of those candidates that still exist, as plain data."""
        ...


class FaceOrigin:
    kind = "face"
    targets: tuple[str, ...] = FACE_TARGETS
    unknown_target = Code.FACE_TARGET_UNKNOWN

    def __init__(self, faces: Faces, gallery: Gallery) -> None:
        self._faces = faces
        self._gallery = gallery

    async def search(self, account: Id, where: FaceCandidates, query: Query) -> list[Hits]:
        """Raises LISTS_MISSING."""
        conditions = where.model_dump(exclude={"origin", "account_id"}, exclude_none=True)
        if where.list_id:
            await self._faces.require_lists(account, [where.list_id])
        if where.account_id not in (None, account):
            scope = Scope(account, only=[])
        elif conditions.keys() <= {"list_id"}:
            scope = Scope(account, where.list_id)
        else:
            scope = Scope(account, only=await self._faces.select_faces(account, FaceFilter(**conditions)))
        return await self._gallery.search(scope, query)

    async def records(self, account: Id, ids: list[Id], targets: set[str]) -> dict[Id, dict[str, Any]]:
        found: dict[Id, dict[str, Any]] = {}
        for some in chunks(ids, LOOKUP):
            for face in await self._faces.find_faces(account, FaceFilter(face_ids=some), Page(page_size=len(some))):
                found[face.face_id] = shown(face, targets)
        return found


class EventOrigin:
    kind = "event"
    targets: tuple[str, ...] = EVENT_TARGETS
    unknown_target = Code.BAD_BODY

    def __init__(self, events: Events, gallery: Gallery) -> None:
        self._events = events
        self._gallery = gallery

    async def search(self, account: Id, where: EventCandidates, query: Query) -> list[Hits]:
        conditions = where.model_dump(exclude={"origin"}, exclude_none=True)
        only = await self._events.select(account, EventFilter(**conditions)) if conditions else None
        return await self._gallery.search(Scope(account, only=only), query)

    async def records(self, account: Id, ids: list[Id], targets: set[str]) -> dict[Id, dict[str, Any]]:
        found: dict[Id, dict[str, Any]] = {}
        for some in chunks(ids, LOOKUP):
            for event in await self._events.find(account, EventFilter(event_ids=some), EventPage(page_size=len(some))):
                found[event.event_id] = shown(event, targets)
        return found


class AttributeOrigin:
    """Temporary attributes: few, short-lived, so no gallery keeps them."""

    kind = "attribute"
    targets: tuple[str, ...] = ATTRIBUTE_TARGETS
    unknown_target = Code.BAD_BODY

    def __init__(self, faces: Faces, thread: Executor) -> None:
        self._faces = faces
        self._thread = thread

    async def search(self, account: Id, where: AttributeCandidates, query: Query) -> list[Hits]:
        descriptors: dict[Id, np.ndarray] = {}
        for some in chunks(where.attribute_ids, LOOKUP):
            for attribute in await self._faces.attributes(account, some):
                raw = by_version(attribute).get(query.version)
                if raw is not None:
                    descriptors[attribute.attribute_id] = vector(query.version, raw)
        return await among(self._thread, descriptors, query)

    async def records(self, account: Id, ids: list[Id], targets: set[str]) -> dict[Id, dict[str, Any]]:
        found: dict[Id, dict[str, Any]] = {}
        for some in chunks(ids, LOOKUP):
            found |= {one.attribute_id: shown(one, targets) for one in await self._faces.attributes(account, some)}
        return found


async def among(thread: Executor, descriptors: dict[str, np.ndarray], query: Query) -> list[Hits]:
    """Search a handful of descriptors that no gallery holds."""
    return await asyncio.get_running_loop().run_in_executor(thread, _search, descriptors, query)


def _search(descriptors: dict[str, np.ndarray], query: Query) -> list[Hits]:
    matrix = Matrix(version_of(query.version).length)
    if descriptors:
        matrix.put(list(descriptors), np.stack(list(descriptors.values())))
    return matrix.search(query.vectors, query.limit, query.max_distance)


def shown(record: Wire, targets: set[str]) -> dict[str, Any]:
    """The asked keys of a record, as they cross the wire."""
    return record.model_dump(mode="json", include=targets)


def check_targets(origin: Origin, targets: list[str] | None, where: str) -> None:
    """Raises the origin's error for a key its candidates do not have."""
    unknown = sorted(set(targets or ()) - {*origin.targets, "similarity"})
    if unknown:
        raise MienError(
            origin.unknown_target, f"{where}: unknown {', '.join(unknown)}; known: {', '.join(origin.targets)}"
        )
