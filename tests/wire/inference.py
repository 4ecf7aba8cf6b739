"""remote_sdk on a real server, for the tests of its routes: what starts it, what is sent to it."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from PIL import Image as Pillow

from libs.common import ports
from libs.common.errors import Code, MienError
from libs.common.http.fetch import Fetcher
from libs.common.http.server import Servers, build_app
from libs.common.part import Part
from libs.common.rpc import expose
from libs.common.settings import FetchSettings, SdkSettings
from libs.common.wire.images import StoredImage
from services.remote_sdk import app as remote_sdk
from tests.photos import astronaut_jpeg, grace_hopper_jpeg

STORED_ID = "6f1dfc3a-6a3e-4b7e-9d55-0a7d4f1c2b3a"
ACCOUNT = {"Luna-Account-Id": "8c1f2a4e-58a5-4d52-b0e7-3e1f0a9b7c6d"}


class Stored:
    """The image store as far as pictures are read from it: one picture, in every bucket."""

    async def get(self, account: str, bucket: str, image_id: str) -> StoredImage:
        if image_id != STORED_ID:
            raise MienError(Code.IMAGE_MISSING, image_id)
        return StoredImage(data=astronaut_jpeg(), content_type="image/jpeg")


@dataclass
class Running:
    part: Part
    url: str
    session: aiohttp.ClientSession

    async def sdk(self, body: Any, kind: str | None = "image/jpeg", **query: Any) -> tuple[int, Any]:
        """Status and JSON body of ``POST /sdk``."""
        return await self.post("/sdk", body, kind, **query)

    async def post(self, path: str, body: Any, kind: str | None = "image/jpeg", **query: Any) -> tuple[int, Any]:
        """Status and JSON body of a POST."""
        headers = {**ACCOUNT, **({"Content-Type": kind} if kind else {})}
        async with self.session.post(f"{self.url}/1{path}", data=body, params=query, headers=headers) as answer:
            return answer.status, await answer.json()

    async def faces(self, body: Any, kind: str | None = "image/jpeg", **query: Any) -> list[dict[str, Any]]:
        """The faces of the only picture of a call that goes well."""
        status, answer = await self.sdk(body, kind, **query)
        [image] = answer["images_estimations"]
        assert (status, image["status"]) == (200, 1), answer
        return [person["face"] for person in image["estimations"]]

    async def image_error(self, body: Any, kind: str | None = "image/jpeg", **query: Any) -> int:
        """The error code of the only picture of a call that goes well without it."""
        status, answer = await self.sdk(body, kind, **query)
        [image] = answer["images_estimations"]
        assert (status, image["status"], image["estimations"]) == (200, 0, []), answer
        return image["error"]["error_code"]


async def _serve(settings: SdkSettings, servers: Servers, session: aiohttp.ClientSession, fetcher: Fetcher) -> Running:
    part = await remote_sdk.build(settings, Stored(), fetcher)  # type: ignore[arg-type]
    tables = [(part.routes.prefix, part.routes), ("", expose(ports.Sdk, part.service))]
    app = build_app("remote-sdk", tables, part.health)
    part.install(app)
    await part.start()
    return Running(part, f"http://127.0.0.1:{await servers.start(app, '127.0.0.1', 0)}", session)


Start = Callable[[SdkSettings], Awaitable[Running]]


@asynccontextmanager
async def starting() -> AsyncIterator[Start]:
    """Starts remote_sdk with given settings on a real server; stops everything in the end."""
    servers, parts = Servers(), list[Part]()
    fetcher = Fetcher(FetchSettings())
    async with aiohttp.ClientSession() as session:

        async def start(settings: SdkSettings) -> Running:
            running = await _serve(settings, servers, session, fetcher)
            parts.append(running.part)
            return running

        yield start
        await servers.stop()
        for part in parts:
            await part.stop()
    await fetcher.close()


def jpeg(picture: Pillow.Image, **options: Any) -> bytes:
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=95, **options)
    return encoded.getvalue()


def opened(data: bytes) -> Pillow.Image:
    return Pillow.open(io.BytesIO(data)).convert("RGB")


def couple() -> bytes:
    """Grace Hopper, larger, on the left and Eileen Collins on the right: 1112 x 600 pixels."""
    both = Pillow.new("RGB", (1112, 600))
    both.paste(opened(grace_hopper_jpeg()), (0, 0))
    both.paste(opened(astronaut_jpeg()), (600, 0))
    return jpeg(both)


def form(*pictures: tuple[str, bytes], **parts: Any) -> aiohttp.FormData:
    data = aiohttp.FormData(quote_fields=False)
    for filename, picture in pictures:
        data.add_field("image", picture, filename=filename, content_type="image/jpeg")
    for name, part in parts.items():
        data.add_field(name, json.dumps(part), content_type="application/json")
    return data
