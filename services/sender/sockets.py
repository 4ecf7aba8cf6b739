"""One subscriber's WebSocket, from its upgrade to its close."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from time import monotonic
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web
from prometheus_client import Counter

from libs.common.errors import Code, MienError
from services.sender.notices import Frame, frame_of, position_frame
from services.sender.subscriptions import Subscription

log = logging.getLogger("mien.sender")
FRAMES = Counter("mien_sender_frames_total", "Events told to WebSocket subscribers")
DROPPED = Counter("mien_sender_dropped_total", "Subscribers that were dropped", ["reason"])

HEARTBEAT_S = 30.0
"""A ping is sent this often, and must be answered within half of it."""
MAX_INCOMING_BYTES = 4096
"""Of a client's message: none is expected, so all are passed over."""
UNSENT_BYTES = 64 * 1024
"""Beside the frame under way, what one connection may hold in this process before its subscriber is waited for."""
POSITION_S = 5.0
"""Least time between two frames that only say where the subscriber stands."""
FAREWELL_S = 3.0
"""How long a connection may take to close."""


@dataclass(frozen=True)
class Manner:
    """How frames look and how long one may take. ``positions``: also tell where the subscriber stands."""

    form: Frame
    slow_s: float
    positions: bool
    said: Callable[[bytes], bytes]


@dataclass(frozen=True)
class Ending:
    """``reason`` has at most 123 bytes, as RFC 6455 wants it."""

    code: int
    reason: str


LEAVING = Ending(WSCloseCode.GOING_AWAY, "this process is stopping; resume with the last cursor")
SLOW = Ending(WSCloseCode.POLICY_VIOLATION, "too slow: a frame was not taken in time; resume with the last cursor")
BEHIND = Ending(WSCloseCode.POLICY_VIOLATION, "too slow: what you have not been told is no longer kept")
FAILED = Ending(WSCloseCode.INTERNAL_ERROR, "an unexpected failure was logged; resume with the last cursor")


async def serve(request: web.Request, subscription: Subscription, manner: Manner) -> web.WebSocketResponse:
    """Upgrade, tell until somebody leaves, and close."""
    socket = web.WebSocketResponse(
        heartbeat=HEARTBEAT_S,
        timeout=FAREWELL_S,
        compress=False,
        max_msg_size=MAX_INCOMING_BYTES,
        writer_limit=UNSENT_BYTES,
    )
    await socket.prepare(request)
    ending = await _first(_tell(socket, subscription, manner), _listen(socket), _stay(subscription))
    if ending is not None:
        # a peer that does not read would never let the buffer drain
        await socket.close(code=ending.code, message=ending.reason.encode(), drain=False)
        if socket.close_code == WSCloseCode.ABNORMAL_CLOSURE and request.transport is not None:
            request.transport.abort()
    return socket


async def _first(*works: Coroutine[Any, Any, Ending | None]) -> Ending | None:
    """What the first of them to end says; the others are broken off."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return ended.pop().result()


async def _tell(socket: web.WebSocketResponse, subscription: Subscription, manner: Manner) -> Ending | None:
    """Send frames for ever; None when the peer is gone."""
    try:
        await _send_all(socket, subscription, manner)
    except TimeoutError:
        DROPPED.labels("slow").inc()
        return SLOW
    except ConnectionError:
        return None
    except MienError as error:
        if error.code is Code.CURSOR_GONE:
            DROPPED.labels("behind").inc()
            return BEHIND
        log.exception("a subscriber was dropped")
        DROPPED.labels("failure").inc()
        return FAILED


async def _send_all(socket: web.WebSocketResponse, subscription: Subscription, manner: Manner) -> None:
    """Raises TimeoutError when a frame is not taken in time, ConnectionError, CURSOR_GONE."""
    said, due = None, 0.0
    async for page in subscription.pages():
        for entry in page:
            await _send(socket, manner, frame_of(entry, manner.form))
            said = entry.cursor
            FRAMES.inc()
        if manner.positions and subscription.cursor != said and monotonic() >= due:
            await _send(socket, manner, position_frame(subscription.cursor))
            said, due = subscription.cursor, monotonic() + POSITION_S


async def _send(socket: web.WebSocketResponse, manner: Manner, frame: bytes) -> None:
    async with asyncio.timeout(manner.slow_s):
        await socket.send_frame(manner.said(frame), WSMsgType.TEXT)


async def _listen(socket: web.WebSocketResponse) -> None:
    """Answer pings, pass over everything else, until the peer leaves."""
    async for _ in socket:
        pass


async def _stay(subscription: Subscription) -> Ending:
    await subscription.leaving.wait()
    return LEAVING
