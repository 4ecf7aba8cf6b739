"""HTTP of handlers: parse, call, answer. Sections 8, 11 and 12.1 of the wire contract."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from aiohttp import web

from libs.common import clock
from libs.common.errors import Code, MienError
from libs.common.http.inputs import CONSUMES, Limits, Sources, read_inputs
from libs.common.http.routes import Call, Reply, Routes, parse_json
from libs.common.ids import Id
from libs.common.wire.base import Flag, Page, Wire
from libs.common.wire.handlers import Emission, EmitQuery, Handler, HandlerDraft, HandlerFilter
from libs.common.wire.policies import Policies
from services.handlers.emission import Picture
from services.handlers.raw import RawEvent
from services.handlers.records import event_url
from services.handlers.requirements import MASK
from services.handlers.service import Handlers, Request

PREFIX = "/1"
HANDLERS = web.AppKey("handlers", Handlers)
SOURCES = web.AppKey("handlers.sources", Sources)
LIMITS = web.AppKey("handlers.limits", Limits)

routes = Routes("handlers", PREFIX)


class HandlerCreated(Wire):
    handler_id: Id
    url: str


class HandlerList(Wire):
    handlers: list[Handler]


class HandlerCount(Wire):
    handlers_count: int


class HandlerReplaced(Wire):
    handler_id: Id
    url: str
    version: int


class HandlerQuery(HandlerFilter, Page):
    """Filter and paging of a listing."""


class Validation(Wire):
    policies: Policies


class RawQuery(Wire):
    wait_saving: Flag = 1


class RawCreated(Wire):
    event_id: Id
    url: str


@routes.post("/handlers", status=201, answer=HandlerCreated)
async def create_handler(call: Call, body: HandlerDraft) -> Reply:
    """Store a handler. Faults are answered with the path of the policy that has them."""
    handler = await call.service(HANDLERS).create(call.account, body)
    url = _url(handler.handler_id)
    return Reply(HandlerCreated(handler_id=handler.handler_id, url=url), headers={"Location": url})


@routes.post("/handlers/validator")
async def validate_policies(call: Call, body: Validation) -> Validation:
    """Check policies without storing them; they come back with every default."""
    return Validation(policies=_mask(await call.service(HANDLERS).validate(call.account, body.policies)))


@routes.get("/handlers")
async def find_handlers(call: Call, query: HandlerQuery) -> HandlerList:
    """Handlers of the account, newest first."""
    found = await call.service(HANDLERS).find(call.account, _filter(query), query)
    return HandlerList(handlers=[_masked(handler) for handler in found])


@routes.get("/handlers/count")
async def count_handlers(call: Call, query: HandlerFilter) -> HandlerCount:
    """How many handlers pass the filter."""
    return HandlerCount(handlers_count=await call.service(HANDLERS).count(call.account, query))


@routes.get("/handlers/{handler_id}")
async def get_handler(call: Call) -> Handler:
    """One handler, its policies with every default written out."""
    return _masked(await call.service(HANDLERS).get(call.account, call.path("handler_id")))


@routes.head("/handlers/{handler_id}")
async def check_handler(call: Call) -> Reply:
    """Whether there is such a handler."""
    await call.service(HANDLERS).get(call.account, call.path("handler_id"))
    return Reply()


@routes.put("/handlers/{handler_id}")
async def replace_handler(call: Call, body: HandlerDraft) -> HandlerReplaced:
    """Replace a handler as a whole."""
    handler_id = call.path("handler_id")
    version = await call.service(HANDLERS).replace(call.account, handler_id, body)
    return HandlerReplaced(handler_id=handler_id, url=_url(handler_id), version=version)


@routes.delete("/handlers/{handler_id}", status=204)
async def delete_handler(call: Call) -> None:
    """Delete a handler; its events stay."""
    await call.service(HANDLERS).delete(call.account, call.path("handler_id"))


@routes.post("/handlers/{handler_id}/events", status=201, consumes=CONSUMES)
async def emit_events(call: Call, query: EmitQuery) -> Emission:
    """Turn pictures into events under the handler's policies.

    Send one picture as the body, several as multipart, or JSON with urls, samples, image_ids or images.
    """
    account = call.account
    app = call.request.app
    inputs = await read_inputs(call, app[SOURCES], app[LIMITS])
    request = Request(
        pictures=[Picture(**vars(one)) for one in inputs.images],
        query=query,
        policies=_part(inputs.parts, "policies", Policies),
        meta=_part(inputs.parts, "meta", dict[str, Any]),
        event_time=_time(call, "Luna-Event-Time"),
        event_end_time=_time(call, "Luna-Event-End-Time"),
    )
    return await call.service(HANDLERS).emit(account, call.path("handler_id"), request)


@routes.post("/handlers/{handler_id}/events/raw", status=201)
async def save_raw_event(call: Call, query: RawQuery, body: RawEvent) -> RawCreated:
    """Store an event made elsewhere."""
    event = await call.service(HANDLERS).save_raw(
        call.account, call.chosen_id("handler_id"), body, wait=bool(query.wait_saving)
    )
    return RawCreated(event_id=event.event_id, url=event_url(event.event_id))


def _url(handler_id: Id) -> str:
    return f"{PREFIX}/handlers/{handler_id}"


def _filter(query: HandlerQuery) -> HandlerFilter:
    return HandlerFilter(description=query.description, handler_type=query.handler_type)


def _part(parts: dict[str, bytes], name: str, model: Any) -> Any:
    raw = parts.get(name)
    return None if raw is None else parse_json(raw, model, name)


def _time(call: Call, header: str) -> datetime | None:
    text = call.request.headers.get(header)
    if text is None:
        return None
    try:
        return clock.parse(text)
    except ValueError as wrong:
        raise MienError(Code.BAD_HEADER, f"{header}: {wrong}") from None


def _masked(handler: Handler) -> Handler:
    if handler.policies:
        _mask(handler.policies)
    return handler


def _mask(policies: Policies) -> Policies:
    """Passwords and secrets of callbacks are never shown again."""
    for callback in policies.storage_policy.callbacks:
        if callback.authorization:
            callback.authorization.password = MASK
        if callback.secret:
            callback.secret = MASK
    return policies
