"""A matcher over real stores of faces and events, and vectors whose distances are known."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from libs.common import ports
from libs.common.descriptors import CURRENT_FACE, DLIB_RESNET
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


@asynccontextmanager
async def open_world(folder: Path, door: str) -> AsyncIterator[World]:
    """``door`` is how the matcher is called, and how it calls the stores: ``in process`` or over ``http``."""
    async with AsyncExitStack() as stack:
        faces = Faces(*await stack.enter_async_context(face_stores.sqlite(folder)))
        events = await stack.enter_async_context(event_stores.events_service(folder))
        servers, session = Servers(), await stack.enter_async_context(aiohttp.ClientSession())
        stack.push_async_callback(servers.stop)

        async def through(port: type[Any], service: Any) -> Any:
            if door == "in process":
                return service
            app = build_app(port.__name__.lower(), [("", expose(port, service))], _health)
            return remote(port, Peers([f"http://127.0.0.1:{await servers.start(app, '127.0.0.1', 0)}"]), session)

        async def matcher() -> ports.Matcher:
            stores = await through(ports.Faces, faces), await through(ports.Events, events)
            part: Part = await matcher_app.build(*stores)
            stack.push_async_callback(part.stop)
            await part.start()
            return await through(ports.Matcher, part.service)

        yield World(await matcher(), await matcher(), faces, events)


def vector(*components: float) -> bytes:
    """A raw descriptor: these components, then zeros."""
    values = np.zeros(128, dtype="<f4")
    values[: len(components)] = components
    return values.tobytes()


def face(raw: bytes | None = None, version: int = CURRENT_FACE, **fields: Any) -> FaceDraft:
    """A face with that descriptor, or without attributes."""
    drafts = [] if raw is None else [DescriptorDraft(descriptor=raw, version=version)]
    return FaceDraft(attribute=AttributeDraft(descriptors=drafts) if drafts else None, **fields)


def event(account: str, raw: bytes | None = None, **fields: Any) -> Event:
    """An event with that face descriptor, or without one."""
    descriptor = None if raw is None else Descriptor(version=CURRENT_FACE, data=raw)
    return event_stores.event(account, face_descriptor=descriptor, **fields)


def raw(descriptor: bytes, version: int = CURRENT_FACE, **fields: Any) -> dict[str, Any]:
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
