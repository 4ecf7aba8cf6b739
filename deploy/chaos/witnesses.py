"""Who is told of events: a receiver of HTTP callbacks, and a WebSocket subscriber that resumes where it was."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from deploy.local.child import free_port

AGAIN_S = 0.5


class CallbackReceiver:
    """Counts how often it was told of each event. While ``failing`` it answers 503 and counts nothing."""

    def __init__(self) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/events"
        self.told: Counter[str] = Counter()
        self.failing = False
        app = web.Application()
        app.router.add_post("/events", self._receive)
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        if self.failing:
            return web.Response(status=503)
        self.told.update(event["event_id"] for event in body["events"])
        return web.Response()


class Subscriber:
    """Stays subscribed to the account's events through the gateway, and goes on after the last cursor it was given."""

    def __init__(self, gateway: str, account: str) -> None:
        self._url = f"{gateway.replace('http', 'ws', 1)}/6/ws"
        self._account = account
        self._cursor: str | None = None
        self._subscribed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.told: Counter[str] = Counter()
        self.connections = 0
        self.last_refusal = ""

    async def start(self, within_s: float = 30.0) -> None:
        """Raises TimeoutError when nobody takes the subscription."""
        self._task = asyncio.create_task(self._listen(), name="subscriber")
        try:
            await asyncio.wait_for(self._subscribed.wait(), within_s)
        except TimeoutError:
            raise TimeoutError(f"no subscription within {within_s:g} s: {self.last_refusal}") from None

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _listen(self) -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    await self._connection(session)
                except (aiohttp.ClientError, OSError, TimeoutError) as failure:
                    self.last_refusal = f"{type(failure).__name__}: {failure}"
                await asyncio.sleep(AGAIN_S)

    async def _connection(self, session: aiohttp.ClientSession) -> None:
        """One, from its beginning to its end."""
        where = {"positions": "1"} | ({"cursor": self._cursor} if self._cursor else {})
        headers = {"Luna-Account-Id": self._account}
        async with session.ws_connect(self._url, params=where, headers=headers, heartbeat=5, max_msg_size=0) as socket:
            self.connections += 1
            async for frame in socket:
                if frame.type is aiohttp.WSMsgType.TEXT:
                    self._hear(orjson.loads(frame.data))

    def _hear(self, frame: dict[str, Any]) -> None:
        """A frame without an event only says where we stand."""
        self._cursor = frame["cursor"]
        self._subscribed.set()
        if "event" in frame:
            self.told[frame["event"]["event_id"]] += 1
