"""The routes of inference before workers elsewhere. Nothing here loads a model, nor the libraries that run one."""

from __future__ import annotations

from typing import Any

from libs.common import ports
from libs.common.http.fetch import Fetcher
from libs.common.http.inputs import Limits, Sources
from libs.common.part import Part
from services.remote_sdk.routes import LIMITS, SDK, SOURCES, routes


def build_door(sdk: ports.Sdk, images: ports.Images, fetcher: Fetcher, limits: Limits) -> Part:
    """Reads what callers send, as a worker would, and has ``sdk`` do the work. Not ready before a worker answers."""

    async def health() -> dict[str, Any]:
        return {"capabilities": await sdk.capabilities()}

    sources = Sources(fetch=fetcher.get, stored=images.get)
    return Part("remote_sdk", routes, SDK, sdk, context={SOURCES: sources, LIMITS: limits}, health=health)
