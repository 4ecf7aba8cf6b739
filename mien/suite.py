"""The whole suite in one process: the only place that knows how all services hang together.

Services call each other in process or, with ``MIEN_CALLS=http``, through their own ports over HTTP.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any, TypeVar

import aiohttp
from aiohttp import web
from filelock import FileLock, Timeout

from libs.common import ports
from libs.common.bus.local import SCHEMA as BUS_SCHEMA
from libs.common.bus.local import LocalBus
from libs.common.errors import Code, MienError
from libs.common.http.fetch import Fetcher
from libs.common.http.inputs import Limits
from libs.common.http.server import Servers, build_app
from libs.common.part import Part
from libs.common.rpc import expose, remote
from libs.common.settings import Settings
from libs.common.storage.sqlite import Database
from services.events import app as events
from services.faces import app as faces
from services.gateway import app as gateway
from services.gateway.upstream import inside, outside
from services.handlers import app as handlers
from services.handlers.ports import Services
from services.image_store import app as image_store
from services.matcher import app as matcher
from services.remote_sdk import app as remote_sdk

P = TypeVar("P")


class Suite:
    """Every service, built and served. ``addresses`` maps each service to its URL once started."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._servers = Servers()
        self._parts: list[Part] = []
        self._lock = FileLock(settings.data_dir / "lock")
        self._session: aiohttp.ClientSession | None = None
        self._fetcher: Fetcher | None = None
        self._bus_database: Database | None = None
        self._bus: LocalBus | None = None
        self.addresses: dict[str, str] = {}

    async def start(self) -> None:
        """Build, serve, and begin to warm the models.

        Raises OSError when a port is taken, REQUEST_CONFLICT when another process works on the data folder,
        sqlite3.Error naming a database that cannot be opened.
        """
        self._take_folder()
        try:
            await self._build()
            await self._serve()
            assert self._bus is not None
            await self._bus.start()
            for part in self._parts:
                await part.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop answering, finish what was begun, close every store."""
        for part in self._parts:
            await part.turn_away()
        await self._servers.stop()
        if self._bus:
            await self._bus.stop()
        for part in reversed(self._parts):
            await part.stop()
        self._parts.clear()
        if self._bus_database:
            await self._bus_database.close()
        if self._fetcher:
            await self._fetcher.close()
        if self._session:
            await self._session.close()
        self._lock.release()

    def _take_folder(self) -> None:
        """Two processes on one folder would each deliver the other's messages."""
        folder = self._settings.data_dir
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise MienError(Code.REQUEST_CONFLICT, f"another process works on {folder.resolve()}") from None

    async def _build(self) -> None:
        settings, data = self._settings, self._settings.data_dir
        self._session = aiohttp.ClientSession()
        self._fetcher = fetcher = Fetcher(settings.fetch)
        self._bus_database = await Database(data / "bus.db", BUS_SCHEMA, durable=settings.durable).open()
        self._bus = bus = LocalBus(self._bus_database)
        images = self._add(await image_store.build(data / "images", settings.durable), ports.Images)
        known = self._add(await faces.build(data / "faces.db", settings.durable), ports.Faces)
        stored = self._add(await events.build(data / "events.db", settings.durable, bus), ports.Events)
        inference = await remote_sdk.build(settings.sdk, images, fetcher, max_body_bytes=settings.max_body_bytes)
        sdk = self._add(inference, ports.Sdk)
        search = self._add(await matcher.build(known, stored), ports.Matcher)
        self._parts.append(
            await handlers.build(
                data / "handlers.db",
                settings.durable,
                Services(sdk=sdk, faces=known, events=stored, images=images, matcher=search, bus=bus),
                fetcher,
                limits=Limits(
                    images=settings.sdk.max_images,
                    image_bytes=settings.sdk.max_image_bytes,
                    total_bytes=settings.max_body_bytes,
                ),
                callbacks_allowed=settings.fetch.allow_urls,
            )
        )

    def _add(self, part: Part, port: type[P]) -> P:
        """Keep a part; how the other services are to call it."""
        self._parts.append(part)
        if self._settings.calls == "local":
            return part.service
        assert self._session is not None
        return remote(port, self._address(part.name), self._session)

    def _address(self, service: str) -> str:
        return f"http://{self._settings.host}:{self._settings.port_of(service)}"

    async def _serve(self) -> None:
        settings = self._settings
        for part in self._parts:
            tables = [(part.routes.prefix, part.routes)]
            if settings.calls == "http":
                tables += [("", expose(port, part.service)) for port in part.ports]
            app = build_app(f"mien-{part.name}", tables, part.health, max_body_bytes=settings.max_body_bytes)
            part.install(app)
            await self._listen(part.name, app)
        tables = {part.name: self._table(part) for part in self._parts}
        door = gateway.build(tables, self._health, settings.max_body_bytes)
        for part in self._parts:
            part.install(door)
        await self._listen("gateway", door)

    def _table(self, part: Part) -> Any:
        if self._settings.calls == "local":
            return inside(part.routes)
        assert self._session is not None
        return outside(part.routes, self._address(part.name), self._session)

    async def _listen(self, service: str, app: web.Application) -> None:
        port = await self._servers.start(app, self._settings.host, self._settings.port_of(service))
        self.addresses[service] = f"http://{self._settings.host}:{port}"

    async def _health(self) -> dict[str, Any]:
        """Every service's health in one answer. Raises what the first one that is not ready raises."""
        details: dict[str, Any] = {}
        for part in self._parts:
            details[part.name] = await part.health()
        return {**details.pop("remote_sdk", {}), "services": details}


async def run(settings: Settings, announce: Callable[[dict[str, str]], None]) -> None:
    """Serve until SIGTERM or SIGINT, then stop cleanly. ``announce`` is told the addresses once they listen."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopped.set)
    suite = Suite(settings)
    await suite.start()
    try:
        announce(suite.addresses)
        await stopped.wait()
    finally:
        await suite.stop()
