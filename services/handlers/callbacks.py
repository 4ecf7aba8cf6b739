"""HTTP callbacks: tell a user's server of events. Delivered at least once; the event ids tell repeats apart."""

from __future__ import annotations

import base64
from typing import Any, Protocol

import orjson

from libs.common.bus.port import Message
from libs.common.errors import Code, MienError
from libs.common.wire.base import pack
from libs.common.wire.policies import Callback


class Poster(Protocol):
    """Whoever may call users' URLs (the guarded fetcher)."""

    async def post(self, url: str, body: bytes, headers: dict[str, str], timeout_s: float) -> int:
        """The HTTP status of the answer."""
        ...


class Callbacks:
    """Makes the callbacks that the bus brings; a failing one is tried again by the bus."""

    def __init__(self, poster: Poster) -> None:
        self._poster = poster

    async def __call__(self, message: Message) -> None:
        """Raises FETCH_FAILED when the receiver does not answer with a 2xx status."""
        callback = Callback.model_validate(message.body["callback"])
        assert callback.url is not None
        body = self._body(callback, {"events": message.body["events"]})
        headers = {
            **callback.params.headers,
            "Content-Type": callback.params.content_type,
            "Idempotency-Key": message.message_id,
            "Luna-Account-Id": message.account,
        }
        if sign := callback.authorization:
            pair = base64.b64encode(f"{sign.login}:{sign.password}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        status = await self._poster.post(callback.url, body, headers, callback.params.timeout)
        if not 200 <= status < 300:
            raise MienError(Code.FETCH_FAILED, f"the callback's receiver answered {status}")

    @staticmethod
    def _body(callback: Callback, content: dict[str, Any]) -> bytes:
        if callback.params.content_type == "application/msgpack":
            return pack(content)
        return orjson.dumps(content)
