"""One subscriber's WebSocket, from its upgrade to its close."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from aiohttp import WSCloseCode, web
from prometheus_client import Counter

from libs.common.errors import Code, MienError
from libs.common.http.sockets import LEAVING, SLOW, Ending, accept, close, first_of, listen, send
from services.sender.notices import Frame, frame_of, position_frame
from services.sender.subscriptions import Subscription

log = logging.getLogger("mien.sender")
FRAMES = Counter("mien_sender_frames_total", "Events told to WebSocket subscribers")
DROPPED = Counter("mien_sender_dropped_total", "Subscribers that were dropped", ["reason"])

POSITION_S = 5.0
"""Least time between two frames that only say where the subscriber stands."""
BEHIND = Ending(
    WSCloseCode.POLICY_VIOLATION,
    "what you have not been told is no longer kept: you were too slow, or the log of notices was lost",
)
FAILED = Ending(WSCloseCode.INTERNAL_ERROR, "an unexpected failure was logged; resume with the last cursor")


@dataclass(frozen=True)
class Manner:
    """How frames look, in whose words, and how long one may take; ``positions``: also where a subscriber stands."""

    form: Frame
    slow_s: float
    positions: bool = False
    words: Callable[[bytes], bytes] = bytes


async def serve(request: web.Request, subscription: Subscription, manner: Manner) -> web.WebSocketResponse:
    """Upgrade, tell until somebody leaves, and close."""
    socket = await accept(request)
    ending = await first_of(_tell(socket, subscription, manner), listen(socket), _stay(subscription))
    if ending is not None:
        await close(request, socket, ending)
    return socket


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
        DROPPED.labels("failure").inc()
        log.exception("a subscriber was dropped")
        return FAILED


async def _send_all(socket: web.WebSocketResponse, subscription: Subscription, manner: Manner) -> None:
    """Raises TimeoutError when a frame is not taken in time, ConnectionError, CURSOR_GONE."""
    said, due = None, 0.0
    async for page in subscription.pages():
        for entry in page:
            await send(socket, manner.words(frame_of(entry, manner.form)), manner.slow_s)
            said = entry.cursor
            FRAMES.inc()
        if manner.positions and subscription.cursor != said and monotonic() >= due:
            await send(socket, position_frame(subscription.cursor), manner.slow_s)
            said, due = subscription.cursor, monotonic() + POSITION_S


async def _stay(subscription: Subscription) -> Ending:
    await subscription.leaving.wait()
    return LEAVING
