"""How each service is built, and what stands behind every port: the only place that knows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp

from libs.common import ports
from libs.common.bus.local import SCHEMA as BUS_SCHEMA
from libs.common.bus.local import LocalBus
from libs.common.bus.port import Bus
from libs.common.http.fetch import Fetcher
from libs.common.http.inputs import Limits
from libs.common.http.peers import Peers
from libs.common.part import Part
from libs.common.rpc import remote
from libs.common.settings import Settings
from libs.common.storage.storage import Storage
from services.events import app as events
from services.faces import app as faces
from services.handlers import app as handlers
from services.handlers.ports import Services
from services.image_store import app as image_store
from services.matcher import app as matcher
from services.remote_sdk import app as remote_sdk

P = TypeVar("P")

OWNERS: dict[type[Any], str] = {
    ports.Images: "image_store",
    ports.Faces: "faces",
    ports.Events: "events",
    ports.Sdk: "remote_sdk",
    ports.Matcher: "matcher",
}
"""The service behind each port."""


class Parts:
    """Builds services one after the other; each calls those that were built before it here in process (unless
    ``MIEN_CALLS=http``), and every other one where the settings say that it listens."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._storage = Storage(settings.storage)
        self._session: aiohttp.ClientSession | None = None
        self._fetcher: Fetcher | None = None
        self._bus: Bus | None = None
        self.built: dict[str, Part] = {}

    async def open(self) -> None:
        """Raises MienError BAD_URL, sqlite3.Error naming a database that cannot be opened."""
        self._session = aiohttp.ClientSession()
        self._fetcher = Fetcher(self._settings.fetch)
        self._bus = LocalBus(await self._storage.sqlite("bus.db", BUS_SCHEMA))

    async def build(self, service: str) -> Part:
        part = self.built[service] = await _BUILDERS[service](self)
        return part

    async def start(self) -> None:
        """Begin to deliver messages, and every part's work."""
        await self.bus.start()
        for part in self.built.values():
            await part.start()

    async def turn_away(self) -> None:
        """Refuse what only waits: called before the servers stop."""
        for part in self.built.values():
            await part.turn_away()

    async def close(self) -> None:
        """Finish what was begun; close every store and connection."""
        if self._bus:
            await self._bus.stop()
        for part in reversed(self.built.values()):
            await part.stop()
        self.built.clear()
        await self._storage.close()
        if self._fetcher:
            await self._fetcher.close()
        if self._session:
            await self._session.close()

    @property
    def bus(self) -> Bus:
        assert self._bus is not None
        return self._bus

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session is not None
        return self._session

    @property
    def _fetch(self) -> Fetcher:
        assert self._fetcher is not None
        return self._fetcher

    def peers(self, service: str) -> Peers:
        return Peers(self._settings.urls_of(service))

    def _port(self, port: type[P]) -> P:
        """The service behind ``port``: here, or where it listens."""
        owner = OWNERS[port]
        if owner in self.built and self._settings.calls == "local":
            return self.built[owner].service
        return remote(port, self.peers(owner), self.session)

    async def _image_store(self) -> Part:
        return await image_store.build(self._storage)

    async def _faces(self) -> Part:
        return await faces.build(self._storage)

    async def _events(self) -> Part:
        return await events.build(self._storage, self.bus)

    async def _remote_sdk(self) -> Part:
        settings = self._settings
        return await remote_sdk.build(
            settings.sdk, self._port(ports.Images), self._fetch, max_body_bytes=settings.max_body_bytes
        )

    async def _matcher(self) -> Part:
        return await matcher.build(self._port(ports.Faces), self._port(ports.Events))

    async def _handlers(self) -> Part:
        settings = self._settings
        services = Services(
            sdk=self._port(ports.Sdk),
            faces=self._port(ports.Faces),
            events=self._port(ports.Events),
            images=self._port(ports.Images),
            matcher=self._port(ports.Matcher),
            bus=self.bus,
        )
        limits = Limits(
            images=settings.sdk.max_images,
            image_bytes=settings.sdk.max_image_bytes,
            total_bytes=settings.max_body_bytes,
        )
        return await handlers.build(
            self._storage, services, self._fetch, limits=limits, callbacks_allowed=settings.fetch.allow_urls
        )


_BUILDERS: dict[str, Callable[[Parts], Awaitable[Part]]] = {
    "image_store": Parts._image_store,
    "faces": Parts._faces,
    "events": Parts._events,
    "remote_sdk": Parts._remote_sdk,
    "matcher": Parts._matcher,
    "handlers": Parts._handlers,
}
SERVICES = tuple(_BUILDERS)
"""Every service behind the gateway, in an order in which each one comes after those it calls."""
