"""A service that has been built: what the process that runs it needs to know of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from libs.common.http.routes import Routes
from libs.common.http.server import Health


async def _nothing() -> None:
    return None


async def _healthy() -> dict[str, Any]:
    return {}


@dataclass
class Part:
    """One service, ready to be served and called.

    ``service`` holds the use cases; ``routes`` find it under ``key`` in their application, and other services
    call it through ``ports`` (the Protocols of ``libs.common.ports`` it satisfies). ``start`` begins background
    work, ``stop`` ends it and closes the stores; ``turn_away``, called before the servers stop, ends what has no end
    of its own, which would hold them up; ``give_up``, called when the time to finish what was begun is over, answers
    what still waits. ``health`` raises MienError while the service is not ready, each of ``partly`` while a part of its
    work cannot be done. ``context`` holds what else the routes find in their application.
    """

    name: str
    routes: Routes
    key: web.AppKey[Any]
    service: Any
    ports: tuple[type[Any], ...] = ()
    context: dict[web.AppKey[Any], Any] = field(default_factory=dict)
    start: Callable[[], Awaitable[None]] = field(default=_nothing)
    turn_away: Callable[[], Awaitable[None]] = field(default=_nothing)
    give_up: Callable[[], Awaitable[None]] = field(default=_nothing)
    stop: Callable[[], Awaitable[None]] = field(default=_nothing)
    health: Health = field(default=_healthy)
    partly: dict[str, Health] = field(default_factory=dict)

    def install(self, app: web.Application) -> None:
        """Put what the routes look up into the application that serves them."""
        app[self.key] = self.service
        for key, value in self.context.items():
            app[key] = value
