"""remote_sdk, wired."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from libs.common import ports
from libs.common.errors import Code, MienError
from libs.common.http.fetch import Fetcher
from libs.common.http.inputs import Limits, Sources
from libs.common.http.server import MAX_BODY_BYTES
from libs.common.part import Part
from libs.common.settings import SdkSettings
from services.remote_sdk.loading import catalogue_of
from services.remote_sdk.routes import LIMITS, SDK, SOURCES, routes
from services.remote_sdk.service import Sdk
from services.remote_sdk.worker import Worker

log = logging.getLogger("mien.sdk")


async def build(
    settings: SdkSettings, images: ports.Images, fetcher: Fetcher, *, max_body_bytes: int = MAX_BODY_BYTES
) -> Part:
    """Inference in this process. Raises ENGINE_FAILED when a manifest or a preference is wrong, and its start when
    models or the device are missing. It warms the models in the background; until they are warm the health check
    answers 503."""
    catalogue = catalogue_of(settings)
    if "models_dir" in settings.model_fields_set and not settings.models_dir.is_dir():
        log.warning("no optional models: there is no folder %s (MIEN_MODELS_DIR)", settings.models_dir)
    worker = Worker(settings, catalogue)
    sdk = Sdk(worker, catalogue, settings)
    life = _Life(worker, sdk)
    return Part(
        name="remote_sdk",
        routes=routes,
        key=SDK,
        service=sdk,
        ports=(ports.Sdk,),
        context={
            SOURCES: Sources(fetch=fetcher.get, stored=images.get),
            LIMITS: Limits(settings.max_images, settings.max_image_bytes, max_body_bytes),
        },
        start=life.start,
        give_up=worker.stop,
        stop=life.stop,
        health=life.health,
    )


class _Life:
    """The worker from its start to its stop."""

    def __init__(self, worker: Worker, sdk: Sdk) -> None:
        self._worker = worker
        self._sdk = sdk
        self._warming: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._worker.start()
        self._warming = asyncio.create_task(self._worker.warm())

    async def stop(self) -> None:
        await self._worker.stop()
        if self._warming:
            await asyncio.gather(self._warming, return_exceptions=True)

    async def health(self) -> dict[str, Any]:
        if self._warming and self._warming.done():
            self._warming.result()
        if not self._worker.ready:
            raise MienError(Code.OVERLOADED, "models are warming", status=503, retry_after_s=5)
        return {"capabilities": await self._sdk.capabilities()}
