"""Being told of events as they happen: a WebSocket that is opened again, from where it was, whenever it breaks."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import aiohttp
import orjson
from pydantic import BaseModel, TypeAdapter

from libs.client.calls import Calls
from libs.client.errors import MienApiError, MienUnreachable
from libs.common.clock import Time
from libs.common.ids import Id
from libs.common.wire.handlers import EmittedEvent

PASSING = (429, 500, 502, 503, 504)
"""Refusals that may be over soon: no room, or a process that is being replaced."""
SILENCE_S = 75.0
"""A connection that brings not even a ping for so long is taken for broken; the platform pings every 30 seconds."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0


class Notice(BaseModel):
    """One event, told. Subscribing again with its ``cursor`` begins with what followed it."""

    cursor: str
    event_type: str
    handler_id: Id | None
    account_id: Id
    event_create_time: Time | None
    event_end_time: Time | None
    event: EmittedEvent


_NOTICE = TypeAdapter(Notice)


async def notices(
    calls: Calls, where: Mapping[str, Any], cursor: str | None, patience_s: float
) -> AsyncGenerator[Notice, None]:
    """See :meth:`libs.client.client.MienClient.subscribe`."""
    line = _Line(calls, where, cursor)
    await line.open()
    try:
        while True:
            async for frame in line.frames():
                if "event_type" in frame:
                    yield _notice(frame)
            if not calls.is_open:
                return
            await _reopen(line, patience_s)
    finally:
        await line.close()


class _Line:
    """One connection at a time, and the cursor up to which it told."""

    def __init__(self, calls: Calls, where: Mapping[str, Any], cursor: str | None) -> None:
        self._calls = calls
        self._where = where
        self._cursor = cursor
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def open(self) -> None:
        """Raises MienApiError, MienUnreachable."""
        await self.close()
        query = {**self._where, "cursor": self._cursor, "positions": True}
        self._socket = await self._calls.socket("/ws", query)

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()
            self._socket = None

    async def frames(self) -> AsyncIterator[dict[str, Any]]:
        """Until the connection ends, however it does."""
        assert self._socket is not None
        while (message := await _received(self._socket)) is not None:
            frame = orjson.loads(message)
            self._cursor = frame["cursor"]
            yield frame


async def _received(socket: aiohttp.ClientWebSocketResponse) -> str | None:
    try:
        message = await socket.receive(timeout=SILENCE_S)
    except (TimeoutError, aiohttp.ClientError, OSError):
        return None
    return message.data if message.type is aiohttp.WSMsgType.TEXT else None


async def _reopen(line: _Line, patience_s: float) -> None:
    """Try again and again for ``patience_s``. Raises as the last try, at once when it was refused for good."""
    deadline, wait_s = time.monotonic() + patience_s, FIRST_WAIT_S
    while True:
        await asyncio.sleep(random.uniform(wait_s / 2, wait_s))  # noqa: S311
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        try:
            return await line.open()
        except MienUnreachable:
            if time.monotonic() > deadline:
                raise
        except MienApiError as refusal:
            if refusal.status not in PASSING or time.monotonic() > deadline:
                raise


def _notice(frame: dict[str, Any]) -> Notice:
    """A frame of either form: the event under ``event``, or its fields beside the others."""
    if not isinstance(frame.get("event"), dict):
        frame = {**frame, "event": frame}
    return _NOTICE.validate_python(frame, extra="ignore")
