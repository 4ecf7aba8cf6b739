"""The pictures of a request, in any of the contract's body forms. Sections 2.4, 7.3 and 11.2.

One raw picture, a multipart form, or JSON that names or holds pictures. A picture that cannot be had becomes
an :class:`Input` with an error and leaves the others alone; a request that is wrong as a whole fails.
"""

from __future__ import annotations

from aiohttp import web

from libs.common.errors import Code, MienError
from libs.common.http.form_inputs import read_form
from libs.common.http.json_inputs import read_json
from libs.common.http.pictures import CHUNK_BYTES, Budget, Input, Inputs, Limits, Sources, cap, collect, given_picture
from libs.common.http.routes import JSON, Call
from libs.common.media import BASE64_PICTURES, PICTURES, essence, well_formed

__all__ = ["CONSUMES", "Input", "Inputs", "Limits", "Sources", "read_inputs"]

MULTIPART = "multipart/form-data"
CONSUMES = (*PICTURES, *BASE64_PICTURES, MULTIPART, JSON)
"""What a route that reads pictures declares as its ``consumes``."""


async def read_inputs(call: Call, sources: Sources, limits: Limits | None = None) -> Inputs:
    """The pictures and JSON parts of a request.

    Raises EMPTY_BODY, BAD_CONTENT_TYPE, UNSUPPORTED_MEDIA, BAD_MULTIPART, BAD_JSON, BAD_BODY, TOO_MANY and
    BODY_TOO_LARGE; everything that concerns one picture only is that picture's ``error``.
    """
    limits = limits or Limits()
    request = call.request
    kind = _content_type(request)
    budget = Budget(limits.total_bytes)
    if kind == MULTIPART:
        return await read_form(request, limits, budget)
    body = request.content.iter_chunked(CHUNK_BYTES)
    if kind == JSON:
        return await read_json(call, await collect(body, budget, limits.total_bytes), sources, limits)
    data = await collect(body, budget, cap(kind, limits))
    if not data:
        raise MienError(Code.EMPTY_BODY, "a picture is needed")
    return Inputs([given_picture("raw_image", data, kind, limits)])


def _content_type(request: web.Request) -> str:
    header = request.headers.get("Content-Type")
    if not request.can_read_body:
        raise MienError(Code.EMPTY_BODY, "a picture, a multipart form or JSON is needed")
    if header is not None and not well_formed(header):
        raise MienError(Code.BAD_CONTENT_TYPE, f"Content-Type: {header[:100]}")
    kind = essence(header)
    if kind not in CONSUMES:
        raise MienError(Code.UNSUPPORTED_MEDIA, f"Content-Type: {kind or 'missing'}; send one of {', '.join(CONSUMES)}")
    return kind
