"""A service's routes, declared once: they parse, call and answer, and they are the source of its OpenAPI page.

A handler names what it needs in its signature: ``query`` and ``body`` are validated into the annotated
models, everything else it asks of ``call``. It returns a model, plain data, or a :class:`Reply`::

    @routes.post("/faces", status=201)
    async def create_face(call: Call, body: FaceDraft) -> FaceCreated: ...
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_type_hints

import msgpack
import orjson
from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json

from libs.common import observability, tracing
from libs.common.errors import Code, MienError
from libs.common.ids import NIL, new_request_id, parse_id
from libs.common.wire.base import fault, pack

JSON, MSGPACK = "application/json", "application/msgpack"
LARGE_BYTES = 1024 * 1024
"""A larger body is parsed in a thread. The parsers are C and keep the interpreter while they run, so others get their
turns only between the steps: 60 MB of base64 hold them up for 0.15 s instead of 0.22 s."""
ACCOUNT_HEADER, REQUEST_ID_HEADER = "Luna-Account-Id", "Luna-Request-Id"

WORDS: web.AppKey[Callable[[bytes], bytes]] = web.AppKey("words")
"""How an application puts JSON that is not an answer, such as a WebSocket's, into its own words; as it is without."""

S = TypeVar("S")
M = TypeVar("M")


def outgoing_headers() -> dict[str, str]:
    """What a call to another service says of the request it is made for: its id, its account, its trace."""
    headers = {REQUEST_ID_HEADER: observability.REQUEST.get() or new_request_id(), **tracing.headers()}
    if account := observability.ACCOUNT.get():
        headers[ACCOUNT_HEADER] = account
    return headers


@dataclass
class Reply:
    """An answer that needs more than a model and the route's usual status."""

    content: Any = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str | None = None


class Call:
    """One request, as a route sees it."""

    def __init__(self, request: web.Request) -> None:
        self.request = request

    @property
    def account(self) -> str:
        """The account the call is made for. Raises ACCOUNT_MISSING, BAD_HEADER."""
        account = self.account_or_nil
        if account == NIL:
            raise MienError(Code.ACCOUNT_MISSING, f"send the header {ACCOUNT_HEADER}: <uuid>")
        return account

    @property
    def account_or_nil(self) -> str:
        """As :attr:`account`, but the nil UUID when the header is missing (only the image store allows that)."""
        text = self.request.headers.get(ACCOUNT_HEADER)
        if text is None:
            return NIL
        try:
            return parse_id(text)
        except ValueError as wrong:
            raise MienError(Code.BAD_HEADER, f"{ACCOUNT_HEADER}: {wrong}") from None

    @property
    def account_header(self) -> str | None:
        """The account header's text, unchecked."""
        return self.request.headers.get(ACCOUNT_HEADER)

    def service(self, key: web.AppKey[S]) -> S:
        return self.request.app[key]

    def path(self, name: str) -> str:
        """A part of the path. Ids are compared in lower case; one that is no UUID is simply not found."""
        return self.request.match_info[name].lower()

    def chosen_id(self, name: str) -> str:
        """An id in the path that the caller chose for something new. Raises BAD_QUERY when it is no UUID."""
        try:
            return parse_id(self.path(name))
        except ValueError as wrong:
            raise MienError(Code.BAD_QUERY, f"path.{name}: {wrong}") from None


@dataclass(frozen=True)
class Route:
    """One declared route; ``query``, ``body`` and ``answer`` are the models its documentation shows, and ``form`` that
    of the JSON among the types it ``consumes``.

    A ``socket`` is a WebSocket, and says itself that an account is missing.
    """

    method: str
    path: str
    run: Callable[..., Awaitable[Any]]
    status: int
    public: bool
    query: type[Any] | None
    body: Any | None
    answer: Any | None
    consumes: tuple[str, ...]
    socket: bool = False
    form: Any | None = None

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        given: dict[str, Any] = {}
        if self.query is not None:
            given["query"] = read_query(request, self.query)
        if self.body is not None:
            given["body"] = await read_body(request, self.body)
        return respond(request, await self.run(Call(request), **given), self.status)


class Routes:
    """The routes of one service, under its conventional prefix."""

    def __init__(self, service: str, prefix: str) -> None:
        self.service = service
        self.prefix = prefix
        self._routes: list[Route] = []

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def _add(self, method: str, path: str, **options: Any) -> Callable[[M], M]:
        def declare(run: M) -> M:
            self._routes.append(_route(method, path, run, **options))
            return run

        return declare

    def get(self, path: str, **options: Any) -> Callable[[M], M]:
        """Options of every verb: ``status`` (200), ``public`` (True: also on the gateway), ``answer`` (a model
        for the documentation when the annotation does not say it), ``consumes`` (content types of the body),
        ``form`` (the model of the JSON among them), ``socket`` (True: a WebSocket)."""
        return self._add("GET", path, **options)

    def post(self, path: str, **options: Any) -> Callable[[M], M]:
        return self._add("POST", path, **options)

    def put(self, path: str, **options: Any) -> Callable[[M], M]:
        return self._add("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> Callable[[M], M]:
        return self._add("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Callable[[M], M]:
        return self._add("DELETE", path, **options)

    def head(self, path: str, **options: Any) -> Callable[[M], M]:
        return self._add("HEAD", path, **options)


def _route(
    method: str,
    path: str,
    run: Any,
    status: int = 200,
    public: bool = True,
    answer: Any = None,
    consumes: tuple[str, ...] = (JSON,),
    socket: bool = False,
    form: Any = None,
) -> Route:
    hints = get_type_hints(run)
    returned = hints.get("return")
    documented = answer or (returned if inspect.isclass(returned) and issubclass(returned, BaseModel) else None)
    query, body = hints.get("query"), hints.get("body")
    return Route(method, path, run, status, public, query, body, documented, consumes, socket, form)


def read_query(request: web.Request, model: type[M]) -> M:
    """The query string as ``model``. Raises BAD_QUERY naming the parameter."""
    values: dict[str, str] = {}
    for name in request.query:
        if len(request.query.getall(name)) > 1:
            raise MienError(Code.BAD_QUERY, f"{name}: given more than once")
        values[name] = request.query[name]
    try:
        return TypeAdapter(model).validate_python(values)
    except ValidationError as wrong:
        raise MienError(Code.BAD_QUERY, fault(wrong, "query")) from None


async def read_body(request: web.Request, model: Any) -> Any:
    """The JSON or msgpack body as ``model``. Raises UNSUPPORTED_MEDIA, EMPTY_BODY, BAD_JSON, BAD_BODY."""
    raw = await request.read()
    if request.content_type == MSGPACK:
        return await parsed(parse_msgpack, raw, model)
    if request.content_type not in (JSON, "application/octet-stream"):
        raise MienError(Code.UNSUPPORTED_MEDIA, f"{request.content_type}: send {JSON} or {MSGPACK}")
    return await parsed(parse_json, raw, model)


async def parsed(parse: Callable[[bytes, Any], Any], raw: bytes, model: Any) -> Any:
    """``parse(raw, model)``, beside the event loop when the body is large. Raises what ``parse`` raises."""
    if len(raw) <= LARGE_BYTES:
        return parse(raw, model)
    return await asyncio.to_thread(parse, raw, model)


def parse_json(raw: bytes | str, model: Any, where: str = "") -> Any:
    """JSON text as ``model``, strictly: a number in quotes is not a number."""
    if not raw.strip():
        raise MienError(Code.EMPTY_BODY, "a JSON body is needed")
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError as wrong:
        raise MienError(Code.BAD_JSON, str(wrong)) from None
    try:
        return TypeAdapter(model).validate_json(raw, strict=True)
    except ValidationError as wrong:
        raise MienError(Code.BAD_BODY, fault(wrong, where)) from None


def parse_msgpack(raw: bytes, model: Any, where: str = "") -> Any:
    """A msgpack body as ``model``."""
    if not raw:
        raise MienError(Code.EMPTY_BODY, "a msgpack body is needed")
    try:
        plain = msgpack.unpackb(raw, strict_map_key=False)
    except (ValueError, msgpack.exceptions.UnpackException) as wrong:
        raise MienError(Code.BAD_JSON, f"not valid msgpack: {wrong}") from None
    try:
        return TypeAdapter(model).validate_python(plain)
    except ValidationError as wrong:
        raise MienError(Code.BAD_BODY, fault(wrong, where)) from None


def respond(request: web.Request, result: Any, status: int) -> web.StreamResponse:
    """The HTTP answer of what a route returned, in the form the caller accepts."""
    if isinstance(result, web.StreamResponse):
        return result
    reply = result if isinstance(result, Reply) else Reply(result)
    status = reply.status or status
    if reply.content is None:
        return web.Response(status=status, headers=reply.headers)
    if isinstance(reply.content, bytes):
        return web.Response(body=reply.content, status=status, headers=reply.headers, content_type=reply.content_type)
    body, kind = encode(reply.content, accepted(request))
    return web.Response(body=body, status=status, headers=reply.headers, content_type=kind)


def accepted(request: web.Request) -> str:
    """JSON or msgpack, whichever the caller accepts. Raises NOT_ACCEPTABLE."""
    header = request.headers.get("Accept", "*/*")
    kinds = [part.split(";")[0].strip() for part in header.split(",")]
    if MSGPACK in kinds:
        return MSGPACK
    if {"*/*", "application/*", JSON, ""} & set(kinds):
        return JSON
    raise MienError(Code.NOT_ACCEPTABLE, f"{header}: this route answers {JSON} or {MSGPACK}")


def encode(content: Any, kind: str) -> tuple[bytes, str]:
    """Models and plain data as JSON (bytes in base64) or msgpack (bytes as they are)."""
    if kind == MSGPACK:
        return pack(plain(content)), MSGPACK
    return to_json(content, inf_nan_mode="null"), JSON


def utf8(text: str) -> str:
    """``text`` of a header, with ``?`` for the bytes in it that were not UTF-8 and so could not be answered."""
    return text.encode("utf-8", "replace").decode()


def plain(content: Any) -> Any:
    """Models turned into dictionaries, bytes left alone."""
    return TypeAdapter(Any).dump_python(content)
