"""The public door: every service's public routes under one prefix, their paths in the gateway's own words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgpack
from aiohttp import web

from libs.common.http.routes import JSON, MSGPACK, WORDS
from libs.common.http.server import VERSION, Health, build_app
from libs.common.wire.base import pack
from services.gateway.limits import Buckets, limited
from services.gateway.paths import PREFIX, is_content, public_content, public_json, public_path
from services.gateway.sockets import Carrier
from services.gateway.upstream import Table

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

VERSIONS = dict.fromkeys(
    (
        "LUNA PLATFORM",
        "luna-api",
        "luna-handlers",
        "luna-events",
        "luna-faces",
        "luna-python-matcher",
        "luna-remote-sdk",
        "luna-image-store-faces-samples",
        "luna-image-store-bodies-samples",
        "luna-image-store-images",
    ),
    VERSION["Version"],
)
"""The contract's keys, with our own version: a client looks for the names."""


def build(
    tables: Mapping[str, Table], health: Health, max_body_bytes: int, buckets: Buckets | None = None
) -> web.Application:
    """The gateway's application over the services' tables of routes. ``buckets`` limit what accounts may ask."""
    app = build_app(
        "Mien",
        [(PREFIX, table) for table in tables.values()],
        health,
        version={"Version": VERSION["Version"], **VERSIONS},
        max_body_bytes=max_body_bytes,
    )
    if buckets is not None:
        app.middlewares.append(limited(buckets))
    app.middlewares.append(_translate)
    app[WORDS] = public_json
    Carrier().install(app)
    return app


@web.middleware
async def _translate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Services answer with their own paths; callers of the gateway get the gateway's."""
    response = await handler(request)
    if request.method == "GET" and is_content(request.path):
        return response
    if "Location" in response.headers:
        response.headers["Location"] = public_path(response.headers["Location"])
    if isinstance(response, web.Response) and isinstance(response.body, bytes):
        response.body = _translated(response.body, response.content_type)
    return response


def _translated(body: bytes, content_type: str) -> Any:
    if content_type == JSON:
        return public_json(body)
    if content_type == MSGPACK:
        return pack(public_content(msgpack.unpackb(body, strict_map_key=False)))
    return body
