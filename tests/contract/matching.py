"""A matcher over real stores of faces and events, and vectors whose distances are known."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import numpy as np

from libs.common import ports
from libs.common.descriptors import DEFAULT_FACE, DLIB_RESNET
from libs.common.http.peers import Peers
from libs.common.http.server import Servers, build_app
from libs.common.part import Part
from libs.common.rpc import expose, remote
from libs.common.wire.estimations import Descriptor
from libs.common.wire.events import Event
from libs.common.wire.faces import AttributeDraft, DescriptorDraft, FaceDraft
from libs.common.wire.matcher import MatchRequest, ReferenceMatches
from services.events.service import Events
from services.faces.service import Faces
from services.matcher import app as matcher_app
from tests.contract import event_stores, face_stores
from tests.contract.face_stores import Place

OTHER_FACE = replace(DLIB_RESNET, number=1999)
"""A second face version; tests register it where they need one."""


async def _health() -> dict[str, object]:
    return {}


@dataclass
class World:
    """``matcher`` is under test, ``replica`` is another one over the same stores: ``faces`` and ``events``."""

    matcher: ports.Matcher
    replica: ports.Matcher
    faces: Faces
    events: Events

    async def match(self, account: str, references: list[Any], *candidates: Any) -> list[ReferenceMatches]:
        return await self.matcher.match_faces(account, request(references, *candidates))


def request(references: list[Any], *candidates: Any) -> MatchRequest:
    return MatchRequest.model_validate({"references": references, "candidates": candidates})


Process = tuple[Faces, Events]
"""Services that share nothing but their stores with those of another process."""


@asynccontextmanager
async def embedded(place: Place) -> AsyncIterator[list[Process]]:
    async with face_stores.sqlite(place.folder) as stores, event_stores.events_service(place.folder) as events:
        yield [(stores.faces(), events)] * 2


@asynccontextmanager
async def scaled(place: Place) -> AsyncIterator[list[Process]]:
    """Stores over the wire; the second process has connections of its own."""
    async with AsyncExitStack() as stack:
        processes: list[Process] = []
        for _ in range(2):
            stores = await stack.enter_async_context(face_stores.mongo_and_redis(place))
            events = await stack.enter_async_context(event_stores.mongo_store(place.mongo_url))
            processes.append((stores.faces(), event_stores.service_over(events)))
        yield processes


KINDS = {"embedded": embedded, "scaled": scaled}


@asynccontextmanager
async def open_world(place: Place, kind: str, door: str) -> AsyncIterator[World]:
    """``door`` is how the matcher is called, and how it calls the stores: ``in process`` or over ``http``.

    The replica calls the second process, the other matcher and the test the first.
    """
    async with AsyncExitStack() as stack:
        processes = await stack.enter_async_context(KINDS[kind](place))
        servers, session = Servers(), await stack.enter_async_context(aiohttp.ClientSession())
        stack.push_async_callback(servers.stop)

        async def through(port: type[Any], service: Any) -> Any:
            if door == "in process":
                return service
            app = build_app(port.__name__.lower(), [("", expose(port, service))], _health)
            return remote(port, Peers([f"http://127.0.0.1:{await servers.start(app, '127.0.0.1', 0)}"]), session)

        async def matcher(faces: Faces, events: Events) -> ports.Matcher:
            part: Part = await matcher_app.build(await through(ports.Faces, faces), await through(ports.Events, events))
            stack.push_async_callback(part.stop)
            await part.start()
            return await through(ports.Matcher, part.service)

        first, second = processes
        yield World(await matcher(*first), await matcher(*second), *first)


def vector(*components: float) -> bytes:
    """A raw descriptor: these components, then zeros."""
    values = np.zeros(128, dtype="<f4")
    values[: len(components)] = components
    return values.tobytes()


def face(raw: bytes | None = None, version: int = DEFAULT_FACE, **fields: Any) -> FaceDraft:
    """A face with that descriptor, or without attributes."""
    drafts = [] if raw is None else [DescriptorDraft(descriptor=raw, version=version)]
    return FaceDraft(attribute=AttributeDraft(descriptors=drafts) if drafts else None, **fields)


def event(account: str, raw: bytes | None = None, **fields: Any) -> Event:
    """An event with that face descriptor, or without one."""
    descriptor = None if raw is None else Descriptor(version=DEFAULT_FACE, data=raw)
    return event_stores.event(account, face_descriptor=descriptor, **fields)


def raw(descriptor: bytes, version: int = DEFAULT_FACE, **fields: Any) -> dict[str, Any]:
    """A reference that carries its descriptor."""
    return {"type": "raw_descriptor", "data": {"descriptor": descriptor, "version": version}, **fields}


def similarity(distance: float) -> float:
    return float(DLIB_RESNET.similarity(np.array(distance)))


def found(answer: list[ReferenceMatches]) -> list[list[list[str]]]:
    """Ids by reference and block."""
    return [
        [[next(iter(_candidate(match).values())) for match in block.result] for block in reference.matches]
        for reference in answer
    ]


def _candidate(match: Any) -> dict[str, Any]:
    return match.face or match.event or match.attribute
