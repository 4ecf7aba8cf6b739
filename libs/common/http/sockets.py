"""What every WebSocket that a server holds open has in common: how it is made, how it is fed, how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

HEARTBEAT_S = 30.0
"""A ping is sent this often, and must be answered within half of it."""
MAX_INCOMING_BYTES = 4096
"""Of a client's message: none is expected, so all are passed over."""
UNSENT_BYTES = 64 * 1024
"""Beside the frame under way, what one connection may hold in this process before its peer is waited for."""
FAREWELL_S = 3.0
"""How long a connection may take to close."""


@dataclass(frozen=True)
class Ending:
    """Why a server ends a connection. ``reason`` has at most 123 bytes, as RFC 6455 wants it."""

    code: int
    reason: str


LEAVING = Ending(WSCloseCode.GOING_AWAY, "this process is stopping; resume with the last cursor")
SLOW = Ending(WSCloseCode.POLICY_VIOLATION, "too slow: a frame was not taken in time; resume with the last cursor")


async def accept(request: web.Request) -> web.WebSocketResponse:
    """Upgrade."""
    socket = web.WebSocketResponse(
        heartbeat=HEARTBEAT_S,
        timeout=FAREWELL_S,
        compress=False,
        max_msg_size=MAX_INCOMING_BYTES,
        writer_limit=UNSENT_BYTES,
    )
    await socket.prepare(request)
    return socket


def is_upgrade(request: web.Request) -> bool:
    """Whether the caller wants a WebSocket, in the version there is."""
    return web.WebSocketResponse().can_prepare(request).ok


async def send(socket: web.WebSocketResponse, frame: bytes, slow_s: float) -> None:
    """One text frame. Raises TimeoutError when the peer does not make room in time, ConnectionError when it is gone."""
    async with asyncio.timeout(slow_s):
        await socket.send_frame(frame, WSMsgType.TEXT)


async def listen(socket: web.WebSocketResponse) -> None:
    """Answer pings, pass over everything else, until the peer leaves."""
    async for _ in socket:
        pass


async def close(request: web.Request, socket: web.WebSocketResponse, ending: Ending) -> None:
    """Say why, and see the connection closed, whether or not the peer is there to hear it."""
    # without drain: a peer that does not read would never let the buffer drain
    await socket.close(code=ending.code, message=ending.reason.encode(), drain=False)
    if socket.close_code == WSCloseCode.ABNORMAL_CLOSURE and request.transport is not None:
        request.transport.abort()


async def first_of(*works: Coroutine[Any, Any, Ending | None]) -> Ending | None:
    """What the first of them to end says; the others are broken off."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return ended.pop().result()
