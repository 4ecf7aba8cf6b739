"""The models of this process and the threads they run on."""

from __future__ import annotations

import asyncio
import io
import os
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow
from prometheus_client import Gauge

from libs.common.errors import Code, MienError
from libs.common.settings import SdkSettings
from libs.common.wire.sdk import Image, SdkParams
from services.remote_sdk.batcher import Batcher, Pool
from services.remote_sdk.networks.dlib_format import FormatError
from services.remote_sdk.networks.files import ModelCorrupt, ModelMissing
from services.remote_sdk.networks.landmarks import Landmarks5
from services.remote_sdk.networks.mmod import FaceDetector
from services.remote_sdk.networks.precision import DeviceMissing, Precision, choose
from services.remote_sdk.networks.resnet import FaceDescriber
from services.remote_sdk.stages.chain import Chain, Job, Search, Seen
from services.remote_sdk.stages.decode import Limits, Pixels
from services.remote_sdk.stages.quality import CHIP_SIZE

WARM_S = Gauge("mien_sdk_warm_seconds", "How long loading and warming the models took")

_CPU_PICTURES, _CUDA_PICTURES = 1, 8
"""Pictures a thread takes at once. On a core a second picture in the detector's net saves nothing and waits longer."""
_CPU_CHIPS, _CUDA_CHIPS = 32, 256
"""Where the speed per face stops growing (reference measurements of the descriptor network)."""

_FORMATS = {"auto": "auto", "fp32": "float32", "bf16": "bfloat16"}


@dataclass(frozen=True)
class _Models:
    precision: Precision
    detector: FaceDetector
    landmarks: Landmarks5
    describer: FaceDescriber


class Worker:
    """Finds and describes faces on compute threads, never on the event loop.

    ``settings.workers`` threads (0: one per core), each with one thread of torch: several small computations side by
    side are faster than one at a time on all cores, and OpenMP's threads would spin while they wait for each other.
    """

    def __init__(self, settings: SdkSettings) -> None:
        self._settings = settings
        self._pool = Pool(settings.workers or os.cpu_count() or 1, prepare=lambda: torch.set_num_threads(1))
        self._models: _Models | None = None
        self.ready = False

    async def start(self) -> None:
        """Load the models and start the threads; :meth:`warm` may follow.

        Raises ENGINE_FAILED with the reason when a model file is missing or damaged, or the device is not there.
        """
        self._models = await asyncio.to_thread(self._load)
        on_gpu = self.device == "cuda"
        # Descriptions first: they finish pictures that were begun.
        self._describing: Batcher[Pixels, NDArray[np.float32]] = Batcher(
            self._pool, "describe", self._describe, _CUDA_CHIPS if on_gpu else _CPU_CHIPS
        )
        self._looking: Batcher[Job, Seen] = Batcher(
            self._pool,
            "look",
            self._chain().run,
            _CUDA_PICTURES if on_gpu else _CPU_PICTURES,
            queue_limit=self._settings.queue_limit,
            queue_age_s=self._settings.queue_age_s,
        )
        self._pool.start()

    async def warm(self) -> None:
        """Run everything once: the first pass through a network allocates and chooses kernels."""
        started = time.perf_counter()
        await self.look([Image(filename="warm", data=_grey_jpeg())], SdkParams())
        await self.describe([np.zeros((CHIP_SIZE, CHIP_SIZE, 3), np.uint8)])
        WARM_S.set(time.perf_counter() - started)
        self.ready = True

    async def stop(self) -> None:
        self.ready = False
        await self._pool.stop()

    @property
    def device(self) -> Literal["cpu", "cuda"]:
        return "cuda" if self._loaded.precision.device.type == "cuda" else "cpu"

    @property
    def precision(self) -> Literal["fp32", "bf16"]:
        return "bf16" if self._loaded.precision.dtype is torch.bfloat16 else "fp32"

    async def look(self, images: list[Image], params: SdkParams) -> list[Seen | MienError]:
        """What is in each picture, or why it failed, in order. See :meth:`Chain.run`.

        Raises OVERLOADED when too many pictures wait or one of these waited too long.
        """
        outcomes = await self._looking.submit([Job(image, params) for image in images])
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not _of_one_picture(outcome):
                raise outcome
        return outcomes  # type: ignore[return-value]

    async def describe(self, chips: list[Pixels]) -> list[NDArray[np.float32]]:
        """The descriptor (128,) of each chip, uint8 (150, 150, 3); chips of all callers go through together."""
        vectors = []
        for outcome in await self._describing.submit(chips):
            if isinstance(outcome, BaseException):
                raise outcome
            vectors.append(outcome)
        return vectors

    def _describe(self, chips: list[Pixels]) -> list[NDArray[np.float32] | Exception]:
        return list(self._loaded.describer.describe(np.stack(chips)))

    @property
    def _loaded(self) -> _Models:
        if self._models is None:
            raise MienError(Code.OVERLOADED, "models are loading", retry_after_s=5)
        return self._models

    def _load(self) -> _Models:
        settings = self._settings
        try:
            precision = choose(settings.device, _FORMATS[settings.precision])  # type: ignore[arg-type]
            return _Models(precision, FaceDetector(precision), Landmarks5(), FaceDescriber(precision))
        except (ModelMissing, ModelCorrupt, FormatError, DeviceMissing) as fault:
            raise MienError(Code.ENGINE_FAILED, f"remote_sdk cannot start: {fault}") from fault

    def _chain(self) -> Chain:
        settings = self._settings
        return Chain(
            self._loaded.detector,
            self._loaded.landmarks,
            Search(settings.detect_long_side, settings.detect_pyramid, settings.detect_threshold),
            Limits(settings.max_image_bytes, settings.max_image_pixels),
        )


def _of_one_picture(outcome: BaseException) -> bool:
    return isinstance(outcome, MienError) and outcome.code is not Code.OVERLOADED


def _grey_jpeg() -> bytes:
    encoded = io.BytesIO()
    Pillow.new("RGB", (640, 480), "grey").save(encoded, "JPEG")
    return encoded.getvalue()
