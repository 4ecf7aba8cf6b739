"""The routes of inference before workers elsewhere. Nothing here loads a model, nor the libraries that run one."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from libs.common import ports
from libs.common.errors import Code, MienError
from libs.common.http.fetch import Fetcher
from libs.common.http.inputs import Limits, Sources
from libs.common.part import Part
from services.remote_sdk.routes import LIMITS, SDK, SOURCES, routes

ANSWER_S = 2.0
"""In which a worker that is not busy beyond measure says what it can do."""


def build_door(sdk: ports.Sdk, images: ports.Images, fetcher: Fetcher, limits: Limits) -> Part:
    """Reads what callers send, as a worker would, and has ``sdk`` do the work. Not ready before a worker answers."""
    sources = Sources(fetch=fetcher.get, stored=images.get)
    context = {SOURCES: sources, LIMITS: limits}
    return Part("remote_sdk", routes, SDK, sdk, context=context, health=partial(health_of_workers, sdk))


async def health_of_workers(sdk: ports.Sdk) -> dict[str, Any]:
    """As a worker that is warm answers. Raises OVERLOADED when none does."""
    try:
        async with asyncio.timeout(ANSWER_S):
            return {"capabilities": await sdk.capabilities()}
    except TimeoutError:
        raise MienError(Code.OVERLOADED, f"no worker answered within {ANSWER_S:g} s", retry_after_s=1) from None
