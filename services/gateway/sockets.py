"""WebSockets of a service in another process, carried between it and the gateway's callers."""

from __future__ import annotations

from asyncio import Event
from collections.abc import Awaitable, Callable, Mapping

import aiohttp
from aiohttp import WSCloseCode, WSMsgType, web
from yarl import URL

from libs.common.http.peers import CONNECT_S
from libs.common.http.routes import WORDS
from libs.common.http.sockets import HEARTBEAT_S, LEAVING, SLOW, Ending, accept, close, first_of, listen, send

SLOW_S = 10.0
"""How long a caller may not take a frame. The service waits for the gateway, not for the caller behind it."""
UPGRADE_S = 30.0
"""In which the service must have taken a socket, or refused it."""
GONE = Ending(WSCloseCode.SERVICE_RESTART, "the process behind the gateway went away; resume with the last cursor")


class Carrier:
    """The carried sockets of one gateway. They have connections of their own: each takes one for hours."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._leaving = Event()

    def install(self, app: web.Application) -> None:
        app[CARRIER] = self
        app.on_shutdown.append(self._turn_away)
        app.on_cleanup.append(self._close)

    async def carry(
        self, request: web.Request, target: URL, headers: Mapping[str, str], silence: Callable[[], Awaitable[None]]
    ) -> web.WebSocketResponse:
        """Carry frames until one side ends, or ``silence`` of the service does. Raises aiohttp.ClientError when the
        service does not take it."""
        if self._session is None:
            upgrade = aiohttp.ClientTimeout(total=UPGRADE_S, sock_connect=CONNECT_S)
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=upgrade)
        # the heartbeat: a machine that is gone says nothing, and subscribers of its only process would wait for ever
        async with self._session.ws_connect(
            target, params=request.query, headers=headers, compress=0, max_msg_size=0, heartbeat=HEARTBEAT_S
        ) as service:
            socket = await accept(request)
            ending = await first_of(
                self._bring(service, socket, request), listen(socket), self._stay(), _gone_after(silence)
            )
            if ending is not None:
                await close(request, socket, ending)
            return socket

    async def _bring(
        self, service: aiohttp.ClientWebSocketResponse, socket: web.WebSocketResponse, request: web.Request
    ) -> Ending | None:
        """Frames of the service in the gateway's words, until it ends: then how it did. None: the caller is gone."""
        words = request.app[WORDS]
        try:
            while (message := await service.receive()).type is WSMsgType.TEXT:
                await send(socket, words(message.data.encode()), SLOW_S)
        except TimeoutError:
            return SLOW
        except ConnectionError:
            return None
        return Ending(message.data, message.extra or "") if message.type is WSMsgType.CLOSE else GONE

    async def _stay(self) -> Ending:
        await self._leaving.wait()
        return LEAVING

    async def _turn_away(self, _: web.Application) -> None:
        self._leaving.set()

    async def _close(self, _: web.Application) -> None:
        if self._session is not None:
            await self._session.close()


async def _gone_after(silence: Callable[[], Awaitable[None]]) -> Ending:
    await silence()
    return GONE


CARRIER = web.AppKey("carrier", Carrier)
