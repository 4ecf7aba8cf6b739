"""How each service is built, and what stands behind every port: the only place that knows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar, cast

import aiohttp

from libs.common import ports
from libs.common.bus.local import SCHEMA as BUS_SCHEMA
from libs.common.bus.local import LocalBus
from libs.common.bus.port import Bus
from libs.common.bus.rabbit import RabbitBus
from libs.common.http.fetch import Fetcher
from libs.common.http.inputs import Limits
from libs.common.http.peers import Peers, health_of
from libs.common.http.routes import Routes
from libs.common.part import Part
from libs.common.readiness import Check
from libs.common.rpc import remote
from libs.common.settings import Settings
from libs.common.storage.storage import Storage
from mien.pool import Pool
from services.events.routes import routes as events_routes
from services.faces.routes import routes as faces_routes
from services.gateway.limits import Buckets, MemoryBuckets, Rate
from services.handlers.ports import Services
from services.handlers.routes import routes as handlers_routes
from services.image_store.routes import routes as image_store_routes
from services.matcher.routes import routes as matcher_routes
from services.remote_sdk.door import build_door, health_of_workers
from services.remote_sdk.models import versions
from services.remote_sdk.routes import routes as remote_sdk_routes
from services.sender.routes import routes as sender_routes

P = TypeVar("P")

CONNECTIONS = 1000
"""To other services at one moment. Each process bounds the bytes it works on, so this is only against a mistake."""

OWNERS: dict[type[Any], str] = {
    ports.Images: "image_store",
    ports.Faces: "faces",
    ports.Events: "events",
    ports.Sdk: "remote_sdk",
    ports.Matcher: "matcher",
}
"""The service behind each port."""

ROUTES: dict[str, Routes] = {
    "image_store": image_store_routes,
    "faces": faces_routes,
    "events": events_routes,
    "remote_sdk": remote_sdk_routes,
    "matcher": matcher_routes,
    "handlers": handlers_routes,
    "sender": sender_routes,
}
"""What each service serves; the gateway shows it all, wherever it runs."""


class Parts:
    """Builds services one after the other; each calls those that were built before it here in process (unless
    ``MIEN_CALLS=http``), and every other one where the settings say that it listens.

    ``elsewhere`` tells of each service that is called in other processes whether one of them is well. ``pool`` is
    this process's end of inference by other processes, where there is a broker to share.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._storage = Storage(settings.storage)
        self._session: aiohttp.ClientSession | None = None
        self._fetcher: Fetcher | None = None
        self._bus: Bus | None = None
        self.pool: Pool | None = None
        self.built: dict[str, Part] = {}
        self.elsewhere: dict[str, Check] = {}

    async def open(self) -> None:
        """Raises MienError BAD_URL, what descriptor versions lack, sqlite3.Error naming a database that cannot be
        opened."""
        versions.use(self._settings.sdk)
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS))
        self._fetcher = Fetcher(self._settings.fetch)
        url = self._settings.storage.bus_url
        if url is None:
            self._bus = LocalBus(await self._storage.sqlite("bus.db", BUS_SCHEMA))
        else:
            self._bus = RabbitBus(url.get_secret_value())
            self.pool = Pool(url.get_secret_value(), self._settings.sdk, self._storage.objects, self._settings.drain_s)

    async def build(self, service: str) -> Part:
        part = self.built[service] = await _BUILDERS[service](self)
        return part

    def inside_gateway(self, service: str) -> Part | None:
        """What the gateway runs of a service in its own process; None when all its calls go elsewhere."""
        if service in self.built:
            return self.built[service] if self._settings.calls == "local" else None
        if service == "remote_sdk" and self.pool:
            return build_door(self._port(ports.Sdk), self._port(ports.Images), self._fetch, self._limits)
        return None

    async def start(self) -> None:
        """Begin to deliver messages, and every part's work."""
        await self.bus.start()
        for part in self.built.values():
            await part.start()
        if self.pool:
            await self.pool.start()
            if "remote_sdk" in self.built:
                self.pool.serve(self.built["remote_sdk"])

    async def drain(self) -> None:
        """Take no more work of others, and finish what was taken."""
        if self.pool:
            await self.pool.drain()

    async def turn_away(self) -> None:
        """End what has no end of its own: called before the servers stop."""
        for part in self.built.values():
            await part.turn_away()

    async def give_up(self) -> None:
        """Answer what still waits: called when the time to finish it is over."""
        for part in self.built.values():
            await part.give_up()

    async def close(self) -> None:
        """Finish what was begun; close every store and connection."""
        if self._bus:
            await self._bus.stop()
        for part in reversed(self.built.values()):
            await part.stop()
        self.built.clear()
        if self.pool:
            await self.pool.stop()
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
        """Where the processes of a service listen; asking makes it one of those that are ``elsewhere``."""
        peers = Peers(self._settings.urls_of(service))
        if service not in self.built:
            self.elsewhere[service] = partial(health_of, peers, self.session)
        return peers

    def _port(self, port: type[P]) -> P:
        """The service behind ``port``: here, or where it listens."""
        owner = OWNERS[port]
        if owner in self.built and self._settings.calls == "local":
            return self.built[owner].service
        if port is ports.Sdk and self.pool:
            self.elsewhere[owner] = partial(health_of_workers, self.pool.sdk)
            return cast("P", self.pool.sdk)
        return remote(port, self.peers(owner), self.session)

    @property
    def buckets(self) -> Buckets | None:
        """What limits the accounts at the gateway; None when the settings do not."""
        settings = self._settings
        if not settings.rate_per_s:
            return None
        rate = Rate(settings.rate_per_s, settings.rate_burst)
        if self._storage.redis is None:
            return MemoryBuckets(rate)
        from services.gateway.limits_redis import RedisBuckets

        return RedisBuckets(self._storage.redis, rate)

    @property
    def _limits(self) -> Limits:
        settings = self._settings
        return Limits(
            images=settings.sdk.max_images,
            image_bytes=settings.sdk.max_image_bytes,
            total_bytes=settings.max_body_bytes,
        )

    # Each service is imported by those who build it: the others can spare torch and the stores' drivers, which cost
    # seconds of start-up and 200 MB.

    async def _image_store(self) -> Part:
        from services.image_store import app as image_store

        return await image_store.build(self._storage)

    async def _faces(self) -> Part:
        from services.faces import app as faces

        return await faces.build(self._storage)

    async def _events(self) -> Part:
        from services.events import app as events

        return await events.build(self._storage, self.bus)

    async def _remote_sdk(self) -> Part:
        from services.remote_sdk import app as remote_sdk

        settings = self._settings
        return await remote_sdk.build(
            settings.sdk, self._port(ports.Images), self._fetch, max_body_bytes=settings.max_body_bytes
        )

    async def _matcher(self) -> Part:
        from services.matcher import app as matcher

        return await matcher.build(self._port(ports.Faces), self._port(ports.Events))

    async def _handlers(self) -> Part:
        from services.handlers import app as handlers

        services = Services(
            sdk=self._port(ports.Sdk),
            faces=self._port(ports.Faces),
            events=self._port(ports.Events),
            images=self._port(ports.Images),
            matcher=self._port(ports.Matcher),
            bus=self.bus,
        )
        return await handlers.build(
            self._storage,
            services,
            self._fetch,
            limits=self._limits,
            callbacks_allowed=self._settings.fetch.allow_urls,
        )

    async def _sender(self) -> Part:
        from services.sender import app as sender

        return await sender.build(self._storage, self.bus, self._fetch, self._settings.sender)


_BUILDERS: dict[str, Callable[[Parts], Awaitable[Part]]] = {
    "image_store": Parts._image_store,
    "faces": Parts._faces,
    "events": Parts._events,
    "remote_sdk": Parts._remote_sdk,
    "matcher": Parts._matcher,
    "handlers": Parts._handlers,
    "sender": Parts._sender,
}
SERVICES = tuple(_BUILDERS)
"""Every service behind the gateway, in an order in which each one comes after those it calls."""
