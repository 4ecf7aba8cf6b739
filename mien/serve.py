"""Some services in one process: built, served, and linked to what is elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from libs.common import observability
from libs.common.errors import Code, MienError
from libs.common.http.server import READINESS, Servers, build_app, show_config
from libs.common.part import Part
from libs.common.readiness import Check, Readiness, all_of, within
from libs.common.rpc import expose
from libs.common.settings import Settings, effective
from mien.parts import ROUTES, SERVICES, Parts
from services.gateway import app as gateway
from services.gateway.upstream import Table, inside, outside

GATEWAY = "gateway"
ALL = (*SERVICES, GATEWAY)

NEEDS: dict[str, tuple[str, ...]] = {
    "image_store": ("mongo_url", "s3_url"),
    "faces": ("mongo_url", "redis_url"),
    "events": ("mongo_url",),
    "handlers": ("mongo_url", "secret_key"),
    "sender": ("mongo_url", "redis_url", "secret_key"),
}
"""Beside the bus: what a service keeps things in, and seals them with, so that all its processes see the same."""


class Process:
    """``services`` (of :data:`ALL`), each on its own port. ``addresses`` maps each to its URL once started.

    It starts also while what it depends on is away: it lives, is not ready, and becomes so by itself.
    """

    def __init__(self, settings: Settings, services: Iterable[str]) -> None:
        self._settings = settings
        self._services = [service for service in ALL if service in set(services)]
        self._alone = GATEWAY not in self._services
        self._servers = Servers()
        self._parts = Parts(settings)
        self._readiness: list[Readiness] = []
        self._pulse: asyncio.Task[None] | None = None
        self.addresses: dict[str, str] = {}

    async def start(self) -> None:
        """Build, serve, and begin to work.

        Raises OSError when a port is taken, sqlite3.Error naming a database that cannot be opened, MienError
        ENGINE_FAILED when a model or the device is missing.
        """
        try:
            await self._parts.open()
            for service in self._services:
                if service != GATEWAY:
                    await self._parts.build(service)
            for part in self._parts.built.values():
                await self._serve(part)
            if GATEWAY in self._services:
                await self._serve_gateway()
            await self._parts.start()
            self._pulse = asyncio.create_task(observability.feel_pulse(), name="pulse")
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Say so, take nothing new, finish what was begun, close every store."""
        for readiness in self._readiness:
            readiness.drain()
        await self._parts.turn_away()
        drained = asyncio.create_task(self._parts.drain(), name="drain")
        giving_up = asyncio.create_task(self._give_up_after(drained), name="give-up")
        await asyncio.gather(drained, self._servers.stop(self._settings.drain_s))
        giving_up.cancel()
        await self._parts.close()
        if self._pulse:
            self._pulse.cancel()

    async def _give_up_after(self, drained: asyncio.Task[None]) -> None:
        """When the time is over: what was taken out of a queue is left to others first, what is not is refused."""
        await asyncio.sleep(self._settings.drain_s)
        await asyncio.wait([drained])
        await self._parts.give_up()

    async def _serve(self, part: Part) -> None:
        tables = [(part.routes.prefix, part.routes)]
        if self._alone or self._settings.calls == "http":
            tables += [("", expose(port, part.service)) for port in part.ports]
        health = within(part.health)
        app = build_app(f"mien-{part.name}", tables, health, max_body_bytes=self._settings.max_body_bytes)
        part.install(app)
        show_config(app, part.routes.prefix, effective(self._settings))
        own: dict[str, Check] = {part.name: health}
        if self._alone and self._parts.pool:
            own["pool"] = self._parts.pool.health
        await self._listen(part.name, app, own, {name: within(check) for name, check in part.partly.items()})

    async def _serve_gateway(self) -> None:
        inner = {service: self._parts.inside_gateway(service) for service in SERVICES}
        tables = {service: self._table(service, part) for service, part in inner.items()}
        own: dict[str, Check] = {part.name: within(part.health) for part in self._parts.built.values()}
        checks = self._parts.elsewhere | own

        async def health() -> dict[str, Any]:
            """Every service's health in one answer. Raises what one that is not ready raises."""
            details = await all_of(checks)
            return {**details.pop("remote_sdk", {}), "services": details}

        app = gateway.build(tables, health, self._settings.max_body_bytes, self._parts.buckets)
        for part in inner.values():
            if part is not None:
                part.install(app)
        await self._listen(GATEWAY, app, own, {})

    def _table(self, service: str, part: Part | None) -> Table:
        """A service as the gateway shows it."""
        if part is not None:
            return inside(part.routes)
        return outside(ROUTES[service], self._parts.peers(service), self._parts.session)

    async def _listen(
        self, service: str, app: web.Application, own: dict[str, Check], partly: dict[str, Check]
    ) -> None:
        readiness = app[READINESS]
        for name, check in {"bus": self._parts.bus.health, **own}.items():
            readiness.needs(name, check)
        for name, check in {**self._parts.elsewhere, **partly}.items():
            readiness.calls(name, check)
        self._readiness.append(readiness)
        port = await self._servers.start(app, self._settings.host, self._settings.port_of(service))
        self.addresses[service] = f"http://{self._settings.host}:{port}"


def alone(settings: Settings, service: str) -> Process:
    """One service, every other one in processes of its own.

    Raises MienError BAD_URL naming the settings without which it would keep things where no other process sees them.
    """
    missing = [name for name in ("bus_url", *NEEDS.get(service, ())) if getattr(settings.storage, name) is None]
    if missing:
        names = ", ".join(f"MIEN_{name.upper()}" for name in missing)
        raise MienError(Code.BAD_URL, f"{service} in a process of its own needs {names}; `mien up` needs nothing")
    return Process(settings, [service])
