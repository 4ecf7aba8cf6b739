"""The HTTP edge every service shares: request ids, the error body, limits, service-level resources."""

from __future__ import annotations

import asyncio
import errno
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest

from libs.common import observability, tracing
from libs.common.errors import Code, MienError
from libs.common.http.openapi import add_docs
from libs.common.http.routes import ACCOUNT_HEADER, JSON, REQUEST_ID_HEADER, Routes, encode, utf8
from libs.common.ids import REQUEST_ID, new_request_id, parse_id
from libs.common.readiness import Readiness

MAX_BODY_BYTES = 128 * 1024 * 1024
MAX_LINE_BYTES = 64 * 1024
"""Of a request's first line: room for a thousand ids in a query."""
LARGEST_AT_ONCE = 4
"""Bodies of the largest size that an application holds at one moment, or as many bytes in smaller ones."""
UNSAID = 1 / 8
"""What a body that does not say its length is taken for, in parts of the largest."""
BODY_S = 120.0
"""In which a request's body must have come."""
IDLE_S = 75.0
"""How long a connection may be silent, or take for the head of its first request."""
SHUTDOWN_S = 4.0
"""When a server stops, what is not a request that has come whole gets this long: bodies on their way, WebSockets."""
UNTRACED = {"/livez", "/readyz", "/metrics"}
VERSION = {"Version": {"api": 6, "major": 0, "minor": 1, "patch": 0}}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Health = Callable[[], Awaitable[dict[str, Any]]]

log = logging.getLogger("mien.http")
REQUESTS = Counter("mien_http_requests_total", "Requests answered", ["service", "method", "route", "status"])
SECONDS = Histogram("mien_http_request_seconds", "Time to answer", ["service", "method", "route"])
SERVICE = web.AppKey("service", str)
READINESS = web.AppKey("readiness", Readiness)
"""Knows nothing that it needs until the process that serves the application says it."""


class Room:
    """The bytes of bodies an application may hold at one moment, for as long as it works on their requests."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0

    @contextmanager
    def held(self, size: int) -> Iterator[None]:
        """Raises OVERLOADED when there is no room for ``size`` more bytes beside what is held."""
        if self._held and self._held + size > self._limit:
            detail = f"{self._held} bytes of other requests are being worked on and {size} came; {self._limit} may be"
            raise MienError(Code.OVERLOADED, detail, retry_after_s=1)
        self._held += size
        try:
            yield
        finally:
            self._held -= size


ROOM = web.AppKey("room", Room)


class Accepted:
    """Requests that have come whole and are not answered yet."""

    def __init__(self) -> None:
        self._requests: set[int] = set()  # they cannot be hashed themselves
        self._ended = asyncio.Event()

    @contextmanager
    def counted(self, request: web.Request) -> Iterator[None]:
        """From when its body is there to the end of the block. A WebSocket is not counted: it has no end of its own."""

        def arrived() -> None:
            if is_open and "Upgrade" not in request.headers:
                self._requests.add(id(request))

        is_open = True
        request.content.on_eof(arrived)
        try:
            yield
        finally:
            is_open = False
            self._requests.discard(id(request))
            self._ended.set()

    async def all_answered(self, within_s: float) -> None:
        """Returns when there is none, or after ``within_s``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._requests:
                    self._ended.clear()
                    await self._ended.wait()


ACCEPTED = web.AppKey("accepted", Accepted)

_STATUS_CODES = {
    404: Code.ROUTE_MISSING,
    405: Code.METHOD_NOT_ALLOWED,
    413: Code.BODY_TOO_LARGE,
    415: Code.UNSUPPORTED_MEDIA,
}


def build_app(
    title: str,
    tables: Iterable[tuple[str, Routes]],
    health: Health,
    version: dict[str, Any] | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> web.Application:
    """An application with ``tables`` of routes under their prefixes and the service-level resources.

    ``health`` answers what ``/healthcheck`` adds to its body, or raises MienError when not ready.
    """
    app = web.Application(client_max_size=max_body_bytes, middlewares=[_identify, _explain, _bound])
    app[SERVICE] = title
    app[READINESS] = Readiness()
    app[ROOM] = Room(LARGEST_AT_ONCE * max_body_bytes)
    app[ACCEPTED] = Accepted()
    documented = []
    for prefix, routes in tables:
        for route in routes:
            app.router.add_route(route.method, prefix + route.path, route.__call__)
            documented.append((prefix, routes.service, route))
    prefixes = {"", *(prefix for prefix, _ in tables)}
    for prefix in sorted(prefixes):
        app.router.add_get(f"{prefix}/version", _constant(version or VERSION))
        app.router.add_get(f"{prefix}/healthcheck", _healthcheck(health))
        app.router.add_get(f"{prefix}/metrics", _metrics)
    app.router.add_get("/livez", _constant({"alive": True}))
    app.router.add_get("/readyz", _readyz)
    add_docs(app, title, documented, sorted(prefixes))
    return app


def show_config(app: web.Application, prefix: str, settings: dict[str, Any]) -> None:
    """Answer ``/config`` with ``settings``, secrets hidden. Not for the gateway, which does not know its callers."""
    for path in ("/config", f"{prefix}/config"):
        app.router.add_get(path, _constant(settings))


@web.middleware
async def _identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every request an id, echo it, log and count the answer."""
    started = time.perf_counter()
    given = request.headers.get(REQUEST_ID_HEADER)
    valid = given is None or REQUEST_ID.match(given)
    request_id = given if given and valid else new_request_id()
    with observability.request(request_id, _account(request)), _traced(request, request_id):
        if valid:
            response = await handler(request)
        else:
            response = _error(MienError(Code.BAD_HEADER, f"{REQUEST_ID_HEADER}: not <10 digits>,<uuid4>"))
        _record(request, response, time.perf_counter() - started)
    if not response.prepared:
        response.headers[REQUEST_ID_HEADER] = request_id
    return response


def _account(request: web.Request) -> str | None:
    """Whose request it is, for the log; a header that makes no sense is the route's to refuse."""
    try:
        return parse_id(request.headers[ACCOUNT_HEADER])
    except (KeyError, ValueError):
        return None


def _traced(request: web.Request, request_id: str) -> AbstractContextManager[None]:
    """The span of a request, under its caller's. Probes are no news."""
    if request.path in UNTRACED:
        return nullcontext()
    name = f"{request.method} {_route(request)}"
    return tracing.span(
        name, "server", request.headers, **{"mien.service": request.app[SERVICE], "mien.request_id": request_id}
    )


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource else "-"


def _record(request: web.Request, response: web.StreamResponse, seconds: float) -> None:
    service, route = request.app[SERVICE], _route(request)
    REQUESTS.labels(service, request.method, route, response.status).inc()
    if not isinstance(response, web.WebSocketResponse):  # that one lasts as long as its subscriber likes
        SECONDS.labels(service, request.method, route).observe(seconds)
    if response.status >= 500:
        tracing.fail(str(response.status))
    level = logging.ERROR if response.status == 500 else logging.INFO
    log.log(level, "%s %s %s %d %.1fms", service, request.method, route, response.status, seconds * 1000)


@web.middleware
async def _explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure leaves as the contract's error body."""
    try:
        return await handler(request)
    except MienError as error:
        return _error(error)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        code = _STATUS_CODES.get(error.status, Code.BAD_BODY if error.status < 500 else Code.INTERNAL)
        response = _error(MienError(code, _http_detail(request, error), status=error.status))
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except web.RequestPayloadError as wrong:
        response = _error(MienError(Code.BAD_BODY, f"the body cannot be read: {_one_line(wrong)}"))
        response.force_close()  # nobody knows where the next request would begin
        return response
    except Exception as failure:
        return _error(_unexpected(request, failure))


def _unexpected(request: web.Request, failure: Exception) -> MienError:
    if isinstance(failure, ConnectionError) and request.transport is None:
        return MienError(Code.BAD_BODY, "the caller hung up before the end of the body")  # for the log and the count
    if _is_full(failure):
        log.error("no space left: %s %s: %s", request.method, request.path, failure)
        return MienError(Code.STORAGE_FULL, "nothing was stored; free some space and send it again")
    log.error("unexpected failure on %s %s", request.method, request.path, exc_info=failure)
    return MienError(Code.INTERNAL, "the failure was logged under this request id")


def _is_full(failure: Exception) -> bool:
    if isinstance(failure, sqlite3.Error):
        return getattr(failure, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return isinstance(failure, OSError) and failure.errno == errno.ENOSPC


def _http_detail(request: web.Request, error: web.HTTPException) -> str:
    if error.status == 413:
        return f"a request may have {request.app._client_max_size} bytes"
    return f"{request.method} {request.path}: {error.reason}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _error(error: MienError) -> web.Response:
    body, kind = encode(error.body() | {"detail": utf8(error.detail)}, JSON)
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else {}
    return web.Response(body=body, status=error.status, content_type=kind, headers=headers)


@web.middleware
async def _bound(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a body that says it is too large, or that there is no room for, before reading any of it."""
    limit, size = request.app._client_max_size, request.content_length
    if size is not None and size > limit:
        raise MienError(Code.BODY_TOO_LARGE, f"{size} bytes; a request may have {limit}")
    if size is None:
        size = int(limit * UNSAID) if request.can_read_body else 0
    with request.app[ROOM].held(size), request.app[ACCEPTED].counted(request):
        return await _while_body_comes(request, handler)


async def _while_body_comes(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give up a request whose body does not come; once it is here, the handler may take its time."""
    deadline = asyncio.timeout(BODY_S)

    def arrived() -> None:
        with suppress(RuntimeError):  # answered already, without reading to the end
            deadline.reschedule(None)

    try:
        async with deadline:
            request.content.on_eof(arrived)
            return await handler(request)
    except TimeoutError:
        if not deadline.expired():
            raise
        raise MienError(Code.BAD_BODY, f"the body did not come within {BODY_S:g} s", status=408) from None


def _constant(content: dict[str, Any]) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return _json(content)

    return answer


def _healthcheck(health: Health) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        started = time.perf_counter()
        details = await health()
        if request.query.get("include_luna_services") == "1":
            details = {"services": await request.app[READINESS].of_called(), **details}
        return _json({"execution_time": round(time.perf_counter() - started, 6), **details})

    return answer


async def _readyz(request: web.Request) -> web.Response:
    """Whether everything is there that the process needs; with ``own=1`` the services it calls are left out."""
    missing = await request.app[READINESS].missing(own=request.query.get("own") == "1")
    return _json({"ready": not missing, "missing": missing}, status=503 if missing else 200)


def _json(content: dict[str, Any], status: int = 200) -> web.Response:
    body, kind = encode(content, JSON)
    return web.Response(body=body, status=status, content_type=kind)


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


class _Protocol(web.RequestHandler):
    """One connection. What is no HTTP meets no middleware; aiohttp's refusal of it leaves in the contract's words."""

    __slots__ = ()

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """A body that cannot be read was answered before what is left of it is passed over; that is no failure."""
        if isinstance(kw.get("exc_info"), web.RequestPayloadError):
            self.log_debug("the rest of a body cannot be read")
        else:
            super().log_exception(*args, **kw)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        super().handle_error(request, status, exc, message)  # logs, and raises when an answer has begun
        if status == 400:
            reason = (message or "").partition("\n")[0].rstrip(": ")  # what follows quotes the request
            response = _error(MienError(Code.BAD_HEADER, f"the request is no HTTP: {utf8(reason)[:200]}"))
        else:
            response = _error(MienError(Code.INTERNAL, "the failure was logged", status=status))
        response.headers[REQUEST_ID_HEADER] = new_request_id()
        response.force_close()  # nobody knows where the next request would begin
        return response


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class _Runner(web.AppRunner):
    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(made.request_handler, request_factory=made.request_factory, **made._kwargs)


class Servers:
    """The listening applications of one process."""

    def __init__(self) -> None:
        self._runners: list[_Runner] = []

    async def start(self, app: web.Application, host: str, port: int) -> int:
        """Serve ``app``; port 0 takes a free one. Returns the port. Raises OSError when it is taken."""
        runner = _Runner(
            app,
            max_line_size=MAX_LINE_BYTES,
            keepalive_timeout=IDLE_S,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=SHUTDOWN_S,
        )
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, host, port)
        await site.start()
        return runner.addresses[0][1]

    async def stop(self, drain_s: float = 0.0) -> None:
        """Stop listening, let requests that have come finish, for ``drain_s`` in all, and close; what was served last,
        which calls the others, first."""
        end = time.monotonic() + drain_s
        for runner in reversed(self._runners):
            for site in runner.sites:
                await site.stop()
            if runner.server is not None:
                runner.server.pre_shutdown()  # idle connections bring nothing more
            if accepted := runner.app.get(ACCEPTED):
                await accepted.all_answered(max(0.0, end - time.monotonic()))
            await runner.cleanup()
        self._runners.clear()
