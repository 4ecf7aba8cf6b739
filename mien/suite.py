"""The whole suite in one process.

Services call each other in process or, with ``MIEN_CALLS=http``, through their own ports over HTTP.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

from aiohttp import web
from filelock import FileLock, Timeout

from libs.common.errors import Code, MienError
from libs.common.http.server import Servers, build_app
from libs.common.part import Part
from libs.common.rpc import expose
from libs.common.settings import Settings
from mien.parts import SERVICES, Parts
from services.gateway import app as gateway
from services.gateway.upstream import inside, outside


class Suite:
    """Every service, built and served. ``addresses`` maps each service to its URL once started."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._servers = Servers()
        self._parts = Parts(settings)
        self._lock = FileLock(settings.storage.data_dir / "lock")
        self.addresses: dict[str, str] = {}

    async def start(self) -> None:
        """Build, serve, and begin to warm the models.

        Raises OSError when a port is taken, REQUEST_CONFLICT when another process works on the data folder,
        sqlite3.Error naming a database that cannot be opened.
        """
        self._take_folder()
        try:
            await self._parts.open()
            for service in SERVICES:
                await self._parts.build(service)
            await self._serve()
            await self._parts.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop answering, finish what was begun, close every store."""
        await self._parts.turn_away()
        await self._servers.stop()
        await self._parts.close()
        self._lock.release()

    def _take_folder(self) -> None:
        """Two processes on one folder would each deliver the other's messages."""
        folder = self._settings.storage.data_dir
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise MienError(Code.REQUEST_CONFLICT, f"another process works on {folder.resolve()}") from None

    async def _serve(self) -> None:
        settings, parts = self._settings, self._parts.built.values()
        for part in parts:
            tables = [(part.routes.prefix, part.routes)]
            if settings.calls == "http":
                tables += [("", expose(port, part.service)) for port in part.ports]
            app = build_app(f"mien-{part.name}", tables, part.health, max_body_bytes=settings.max_body_bytes)
            part.install(app)
            await self._listen(part.name, app)
        door = gateway.build({part.name: self._table(part) for part in parts}, self._health, settings.max_body_bytes)
        for part in parts:
            part.install(door)
        await self._listen("gateway", door)

    def _table(self, part: Part) -> Any:
        if self._settings.calls == "local":
            return inside(part.routes)
        return outside(part.routes, self._parts.peers(part.name), self._parts.session)

    async def _listen(self, service: str, app: web.Application) -> None:
        port = await self._servers.start(app, self._settings.host, self._settings.port_of(service))
        self.addresses[service] = f"http://{self._settings.host}:{port}"

    async def _health(self) -> dict[str, Any]:
        """Every service's health in one answer. Raises what the first one that is not ready raises."""
        details: dict[str, Any] = {}
        for part in self._parts.built.values():
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
