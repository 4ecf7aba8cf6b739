"""A port over HTTP: the same Protocol, made out of an address.

A port's methods take and return wire models, ids and plain data, so one adapter serves them all: the call
is ``POST /rpc/<Port>/<method>`` with its arguments as a msgpack array, the answer is msgpack, an error is the
contract's body and comes out as the same :class:`MienError`. The next transport (a bus) has the same shape.
"""

from __future__ import annotations

import inspect
import io
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast, get_type_hints

import aiohttp
import msgpack
from pydantic import TypeAdapter, ValidationError

from libs.common import tracing
from libs.common.errors import Code, MienError
from libs.common.http.peers import CONNECT_S, NOT_SENT, Peers, Silent
from libs.common.http.routes import MSGPACK, Call, Reply, Routes, outgoing_headers
from libs.common.wire.base import fault, pack

P = TypeVar("P")


class Method:
    """One method of a port and how its arguments and answer cross the wire."""

    def __init__(self, port: type[Any], name: str) -> None:
        function = getattr(port, name)
        hints = get_type_hints(function, include_extras=True)
        returned = hints.pop("return")
        names = [parameter for parameter in inspect.signature(function).parameters if parameter != "self"]
        self.name = f"{port.__name__}.{name}"
        self.path = f"/rpc/{port.__name__}/{name}"
        self._arguments: TypeAdapter[tuple[Any, ...]] = TypeAdapter(_tuple_of([hints[name] for name in names]))
        self._answer = TypeAdapter(returned)

    def pack_arguments(self, arguments: tuple[Any, ...]) -> bytes:
        return pack(list(self._arguments.dump_python(arguments)))

    def unpack_arguments(self, raw: bytes) -> tuple[Any, ...]:
        """Raises BAD_BODY."""
        try:
            return self._arguments.validate_python(tuple(msgpack.unpackb(raw, strict_map_key=False)))
        except (ValueError, ValidationError) as wrong:
            detail = fault(wrong, "rpc") if isinstance(wrong, ValidationError) else str(wrong)
            raise MienError(Code.BAD_BODY, detail) from None

    def pack_answer(self, answer: Any) -> bytes:
        return pack(self._answer.dump_python(answer))

    def unpack_answer(self, raw: bytes) -> Any:
        """Raises INTERNAL when the other side is of another release."""
        try:
            return self._answer.validate_python(msgpack.unpackb(raw, strict_map_key=False))
        except ValidationError as wrong:
            raise MienError(Code.INTERNAL, f"{self.name}: {fault(wrong, 'answer')}") from None


def _tuple_of(types: list[Any]) -> Any:
    return tuple.__class_getitem__(tuple(types)) if types else tuple[()]


def methods(port: type[Any]) -> dict[str, Method]:
    """The methods a port declares."""
    return {
        name: Method(port, name)
        for name, member in vars(port).items()
        if inspect.iscoroutinefunction(member) and not name.startswith("_")
    }


def expose(port: type[P], implementation: P) -> Routes:
    """Routes that serve ``implementation`` to other processes. For service ports only, never the gateway."""
    routes = Routes(f"{port.__name__.lower()}-rpc", "")
    for name, method in methods(port).items():
        routes.post(method.path, public=False, consumes=(MSGPACK,))(_served(method, getattr(implementation, name)))
    return routes


def _served(method: Method, run: Callable[..., Awaitable[Any]]) -> Callable[[Call], Awaitable[Reply]]:
    async def serve(call: Call) -> Reply:
        arguments = method.unpack_arguments(await call.request.read())
        return Reply(method.pack_answer(await run(*arguments)), content_type=MSGPACK)

    serve.__name__ = method.path.replace("/", "_").strip("_")
    return serve


def remote(port: type[P], peers: Peers, session: aiohttp.ClientSession, timeout_s: float = 60.0) -> P:
    """``port`` as served by ``peers``. A call that one of them did not live to answer, or is frozen amid,
    goes to the next: every method of a port may be called twice.

    Every method raises what the other side raised, REQUEST_TIMEOUT / CONNECTION when nobody answered, INTERNAL when
    the answer is not the port's.
    """
    caller = _Caller(peers, session, timeout_s)
    members = {name: _called(method, caller) for name, method in methods(port).items()}
    return cast("P", type(f"Remote{port.__name__}", (), members)())


def _called(method: Method, caller: _Caller) -> Callable[..., Any]:
    async def call(_self: Any, *arguments: Any) -> Any:
        return method.unpack_answer(await caller.call(method.path, method.pack_arguments(arguments)))

    return call


class _Caller:
    def __init__(self, peers: Peers, session: aiohttp.ClientSession, timeout_s: float) -> None:
        self._peers = peers
        self._session = session
        self._timeout_s = timeout_s

    async def call(self, path: str, body: bytes) -> bytes:
        """The answer of the first process that gives one."""
        with tracing.span(path, "client"):
            return await self._call(path, body)

    async def _call(self, path: str, body: bytes) -> bytes:
        failure: Exception | None = None
        addresses = self._peers.in_turn()
        for address in addresses:
            try:
                async with self._peers.watched(address, self._session, movable=address != addresses[-1]):
                    return await self._post(address + path, body)
            except Silent as silent:
                failure = silent
            except NOT_SENT as gone:
                self._peers.away(address)
                failure = gone
            except TimeoutError:
                self._peers.away(address)
                raise MienError(Code.REQUEST_TIMEOUT, f"{path} took over {self._timeout_s:g} s") from None
            except aiohttp.ClientError as gone:
                self._peers.away(address)
                failure = gone
        raise MienError(Code.CONNECTION, f"{path}: {type(failure).__name__}", status=503, retry_after_s=1) from None

    async def _post(self, url: str, body: bytes) -> bytes:
        headers = {"Content-Type": MSGPACK, **outgoing_headers()}
        timeout = aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=CONNECT_S)
        async with self._session.post(url, data=io.BytesIO(body), headers=headers, timeout=timeout) as answer:
            raw = await answer.read()
            if answer.status >= 400:
                wait = answer.headers.get("Retry-After", "")
                raise MienError.from_body(await answer.json(), answer.status, int(wait) if wait.isdecimal() else None)
            return raw
