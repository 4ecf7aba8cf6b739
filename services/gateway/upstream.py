"""How the gateway reaches a service: in its own process, or over HTTP. Both are tables of routes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import partial
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from libs.common.errors import Code, MienError
from libs.common.http.peers import CONNECT_S, NOT_SENT, Peers, Silent
from libs.common.http.routes import REQUEST_ID_HEADER, Call, Route, Routes, outgoing_headers
from libs.common.http.sockets import is_upgrade
from services.gateway.paths import PREFIX, SHORTCUTS
from services.gateway.sockets import CARRIER

HOP_BY_HOP = {
    "connection",
    "content-encoding",
    "content-length",
    "host",
    "keep-alive",
    "server",
    "date",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    REQUEST_ID_HEADER.lower(),
    *(f"sec-websocket-{part}" for part in ("accept", "extensions", "key", "protocol", "version")),
}
READING = {"GET", "HEAD"}
"""Methods that change nothing: they may be asked of another process, whatever became of them."""
PATIENCE = aiohttp.ClientTimeout(total=300, sock_connect=CONNECT_S)
"""For one call, its body and its answer."""


class Table(Routes):
    """Routes that were declared elsewhere, to be served under the gateway's prefix."""

    def __init__(self, service: str, routes: Iterable[Route]) -> None:
        super().__init__(service, PREFIX)
        self._routes = list(routes)


@dataclass(frozen=True, kw_only=True)
class Inside(Route):
    """A service's route, run in this process. ``fixed`` are parts of its path that the public path leaves out.

    Callers of the gateway always name an account, also where the service behind it would take nobody's; a socket
    checks that itself.
    """

    inner: str
    fixed: dict[str, str]

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self._require_account(request)
        request.match_info.update(self.fixed)
        return await super().__call__(request)

    def _require_account(self, request: web.Request) -> None:
        """Raises ACCOUNT_MISSING, BAD_HEADER."""
        if not self.socket:
            _ = Call(request).account


@dataclass(frozen=True, kw_only=True)
class Outside(Inside):
    """A service's route, carried to one of its processes; reading and checking are left to it."""

    peers: Peers
    session: aiohttp.ClientSession

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self._require_account(request)
        failure: Exception | None = None
        addresses = self.peers.in_turn()
        for address in addresses:
            try:
                return await self._carried(
                    request, address, movable=request.method in READING and address != addresses[-1]
                )
            except Silent as silent:
                failure = silent
            except NOT_SENT as gone:
                self.peers.away(address)
                failure = gone
            except TimeoutError:
                self.peers.away(address)
                raise MienError(Code.REQUEST_TIMEOUT, f"{request.method} {request.path}") from None
            except aiohttp.ClientError as gone:
                if (broken := request.content.exception()) is not None:
                    raise broken from None  # what the caller sent, which is no fault of the process
                self.peers.away(address)
                failure = gone
                if request.method not in READING:
                    # its body has been read; and no time to come back, at which callers would have it done again
                    detail = f"{request.path}: {type(gone).__name__}; whether it was done is not known"
                    raise MienError(Code.CONNECTION, detail) from None
        detail = f"{request.path}: {type(failure).__name__}"
        raise MienError(Code.CONNECTION, detail, status=503, retry_after_s=1) from None

    async def _carried(self, request: web.Request, address: str, *, movable: bool) -> web.StreamResponse:
        target = URL(address + _filled(self.inner, {**request.match_info, **self.fixed}), encoded=True)
        headers = CIMultiDict(
            (name, value) for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP
        )
        headers.update(outgoing_headers())
        if self.socket and is_upgrade(request):
            with suppress(aiohttp.WSServerHandshakeError):
                silence = partial(self.peers.silence, address, self.session)
                return await request.app[CARRIER].carry(request, target, headers, silence)
            # refused: asked again without the upgrade, the service says why
        body = request.content if request.can_read_body else None
        if body is not None and request.content_length is not None and "Content-Encoding" not in request.headers:
            headers["Content-Length"] = str(request.content_length)  # a body that says nothing counts as a large one
        async with (
            self.peers.watched(address, self.session, movable=movable),
            self.session.request(
                request.method,
                target,
                params=request.query,
                headers=headers,
                data=body,
                allow_redirects=False,
                timeout=PATIENCE,
            ) as answer,
        ):
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
            return web.Response(body=await answer.read(), status=answer.status, headers=kept)


def _filled(path: str, parts: Mapping[str, str]) -> str:
    """``path`` with its parts; a ``/`` or ``?`` inside one stays part of it, or it could lead to another route."""
    return path.format(**{name: quote(part, safe="") for name, part in parts.items()})


def inside(routes: Routes) -> Table:
    """A service of this process, as the gateway shows it."""
    return Table(routes.service, (Inside(**opening) for opening in _openings(routes)))


def outside(routes: Routes, peers: Peers, session: aiohttp.ClientSession) -> Table:
    """The service that ``peers`` run, as the gateway shows it."""
    return Table(routes.service, (Outside(**opening, peers=peers, session=session) for opening in _openings(routes)))


def _openings(routes: Routes) -> Iterator[dict[str, Any]]:
    """The public routes of a service, and the shortcuts into its buckets if it has any."""
    for route in routes:
        same = {field.name: getattr(route, field.name) for field in fields(Route)}
        if route.public:
            yield {**same, "inner": routes.prefix + route.path, "fixed": {}}
        for path, bucket, kind in SHORTCUTS:
            inner = f"/buckets/{{bucket}}/{kind}"
            rest = route.path.removeprefix(inner)
            if route.path.startswith(inner) and (not rest or rest.startswith("/{")):
                yield {
                    **same,
                    "path": path + rest,
                    "inner": routes.prefix + route.path,
                    "fixed": {"bucket": bucket},
                }
