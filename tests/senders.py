"""A sender with its bus and a gateway in front of it, all within the test's own process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import SecretStr

from libs.common.bus import local
from libs.common.bus.local import LocalBus
from libs.common.bus.port import Message
from libs.common.bus.topics import CALLBACKS, EVENTS_NOTIFY
from libs.common.http.fetch import Fetcher
from libs.common.http.peers import Peers
from libs.common.http.server import Servers, build_app
from libs.common.ids import Id, new_id
from libs.common.part import Part
from libs.common.settings import FetchSettings, SenderSettings, StorageSettings
from libs.common.storage.storage import Storage
from services.gateway import app as gateway
from services.gateway.upstream import inside, outside
from services.sender import app as sender


def told(event_id: Id | None = None, **fields: Any) -> dict[str, Any]:
    """An event in a message, nothing in it but what is given."""
    event_id = event_id or new_id()
    return {"event_id": event_id, "url": f"/2/events/{event_id}", "source": None, "tags": [], **fields}


def telling(account: Id, *events: dict[str, Any], message_id: str | None = None) -> Message:
    """The message by which an emission has the account's subscribers told."""
    body = {"handler_id": new_id(), "events": list(events)}
    return Message(EVENTS_NOTIFY, account, body, message_id=message_id or new_id())


def calling(account: Id, callback: dict[str, Any], *events: dict[str, Any], **more: Any) -> Message:
    """The message by which an emission has a callback made."""
    return Message(CALLBACKS, account, {"handler_id": new_id(), "callback": callback, "events": list(events), **more})


@dataclass(frozen=True)
class Sender:
    """``url`` is the service's own, ``inside`` of a gateway that runs it, ``outside`` of one that calls it."""

    part: Part
    bus: LocalBus
    storage: Storage
    url: str
    inside: str
    outside: str


@asynccontextmanager
async def running(
    folder: Path, settings: SenderSettings | None = None, redis_url: str | None = None, mongo_url: str | None = None
) -> AsyncIterator[Sender]:
    """Over Redis and MongoDB where they are given, else over files of ``folder``."""
    storage = Storage(
        StorageSettings(
            data_dir=folder,
            redis_url=SecretStr(redis_url) if redis_url else None,
            mongo_url=SecretStr(mongo_url) if mongo_url else None,
        )
    )
    fetcher = Fetcher(FetchSettings(allow_urls=True, allow_networks=["127.0.0.0/8"]))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(storage.close)
        stack.push_async_callback(fetcher.close)
        bus = LocalBus(await storage.sqlite("bus.db", local.SCHEMA))
        part = await sender.build(storage, bus, fetcher, settings or SenderSettings())
        session = await stack.enter_async_context(aiohttp.ClientSession())
        servers = Servers()
        stack.push_async_callback(part.stop)
        stack.push_async_callback(bus.stop)
        stack.push_async_callback(servers.stop)
        stack.push_async_callback(part.turn_away)
        app = build_app("sender", [(part.routes.prefix, part.routes)], part.health)
        part.install(app)
        own = f"http://127.0.0.1:{await servers.start(app, '127.0.0.1', 0)}"
        near = gateway.build({"sender": inside(part.routes)}, part.health, 1024)
        part.install(near)
        far = gateway.build({"sender": outside(part.routes, Peers([own]), session)}, part.health, 1024)
        ports = [await servers.start(door, "127.0.0.1", 0) for door in (near, far)]
        await bus.start()
        await part.start()
        yield Sender(part, bus, storage, own, *(f"http://127.0.0.1:{port}" for port in ports))
