"""A reverse proxy in front of S3 that loses what it is told to lose."""

from __future__ import annotations

import random
from collections.abc import Mapping

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from deploy.local.child import free_port

LENGTH = frozenset({"content-length"})
HOP_BY_HOP = LENGTH | {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "expect"}
"""What is between two neighbours only (RFC 9110, 7.6.1); the length is made anew."""
OWN = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""What aiohttp would add."""
MAX_BYTES = 64 * 1024 * 1024


class FaultyProxy:
    """Passes everything on to ``upstream``, signatures included, but for ``failing_share`` of the writes.

    Of those that fail, half never reach the store, and half are stored and their answer is lost.
    """

    def __init__(self, upstream: str, seed: int) -> None:
        self._upstream = upstream
        self._random = random.Random(seed)
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.failing_share = 0.0
        self.failed = 0
        app = web.Application(client_max_size=MAX_BYTES)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        self._runner = web.AppRunner(app, access_log=None)
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(auto_decompress=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def stop(self) -> None:
        await self._runner.cleanup()
        if self._session:
            await self._session.close()

    async def _pass_on(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.method in ("GET", "HEAD") or self._random.random() >= self.failing_share:
            return await self._ask(request, body)
        self.failed += 1
        if self._random.random() < 0.5:
            await self._ask(request, body)
        return web.Response(status=503, text="<Error><Code>ServiceUnavailable</Code></Error>")

    async def _ask(self, request: web.Request, body: bytes) -> web.Response:
        """The Host header goes along unchanged: it is part of what was signed."""
        assert self._session is not None
        url = URL(self._upstream + request.raw_path, encoded=True)
        headers = _kept(request.headers, HOP_BY_HOP)
        try:
            async with self._session.request(
                request.method, url, data=body or None, headers=headers, skip_auto_headers=OWN, allow_redirects=False
            ) as answer:
                content = await answer.read()
                if request.method == "HEAD":  # its length is that of what GET would answer
                    return web.Response(status=answer.status, headers=_kept(answer.headers, HOP_BY_HOP - LENGTH))
                return web.Response(status=answer.status, headers=_kept(answer.headers, HOP_BY_HOP), body=content)
        except (aiohttp.ClientError, OSError):
            return web.Response(status=502)


def _kept(headers: Mapping[str, str], without: frozenset[str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in without)
