from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from libs.client import MienClient
from libs.common.http.server import Servers
from tests.unit.client.echo import ACCOUNT, Echo


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    echo, servers, app = Echo(), Servers(), web.Application()
    app.router.add_route("*", "/{path:.*}", echo.serve)
    echo.url = f"http://127.0.0.1:{await servers.start(app, '127.0.0.1', 0)}"
    yield echo
    await servers.stop()


@pytest.fixture
async def client(echo: Echo) -> AsyncIterator[MienClient]:
    async with MienClient(echo.url, account=ACCOUNT) as client:
        yield client
