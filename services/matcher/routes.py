"""HTTP of the matcher: parse, call, answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from libs.common.http.routes import Call, Routes
from libs.common.wire.matcher import MatchRequest, RawMatchRequest, ReferenceMatches

if TYPE_CHECKING:  # the gateway shows these routes, and need not load what searches
    from services.matcher.service import Matcher

routes = Routes("matcher", "/1")
MATCHER: web.AppKey[Matcher] = web.AppKey("matcher")


@routes.post("/matcher/faces", answer=list[ReferenceMatches])
async def match_faces(call: Call, body: MatchRequest) -> list[ReferenceMatches]:
    """Match references with candidates by face descriptor."""
    return await call.service(MATCHER).match_faces(call.account, body)


@routes.post("/matcher/bodies", answer=list[ReferenceMatches])
async def match_bodies(call: Call, body: MatchRequest) -> list[ReferenceMatches]:
    """Match references with candidate events by body descriptor."""
    return await call.service(MATCHER).match_bodies(call.account, body)


@routes.post("/matcher/raw", answer=list[ReferenceMatches])
async def match_raw(call: Call, body: RawMatchRequest) -> list[ReferenceMatches]:
    """Match given descriptors with given descriptors. Touches nothing stored, so no account is needed."""
    return await call.service(MATCHER).match_raw(body)
