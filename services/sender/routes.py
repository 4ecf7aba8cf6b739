"""HTTP of the sender: subscribing."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web
from pydantic import Field

from libs.common.errors import Code, MienError
from libs.common.http.routes import ACCOUNT_HEADER, WORDS, Call, Routes
from libs.common.http.sockets import is_upgrade
from libs.common.wire.base import Flag
from libs.common.wire.events import NoticeFilter
from services.sender.sockets import Manner, serve
from services.sender.subscriptions import Subscriptions

PREFIX = "/1"

routes = Routes("sender", PREFIX)
SUBSCRIPTIONS = web.AppKey("subscriptions", Subscriptions)
MANNER = web.AppKey("manner", Manner)


class SubscribeQuery(NoticeFilter):
    """The filters of GET /events, by body and by place on the map, and where to begin."""

    cursor: str | None = Field(default=None, max_length=64, description="of the last frame; without it: from now on")
    positions: Flag = Field(default=0, description="1: also frames of a cursor only, the first one at once")


@routes.get("/ws", status=101, socket=True)
async def subscribe(call: Call, query: SubscribeQuery) -> web.StreamResponse:
    """Upgrade to a WebSocket that brings one JSON text frame for each event that passes the filters."""
    if call.account_header is None:
        raise MienError(Code.SUBSCRIBER_UNKNOWN, f"send the header {ACCOUNT_HEADER}: <uuid>")
    where = NoticeFilter.model_validate(query.model_dump(exclude={"cursor", "positions"}))
    async with call.service(SUBSCRIPTIONS).open(call.account, where, query.cursor) as subscription:
        if not is_upgrade(call.request):
            raise MienError(Code.BAD_HEADER, "Upgrade: this address speaks WebSocket (RFC 6455)")
        app = call.request.app
        manner = replace(app[MANNER], positions=bool(query.positions), words=app.get(WORDS, bytes))
        return await serve(call.request, subscription, manner)
