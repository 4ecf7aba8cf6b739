"""The models of this process and the threads they run on."""

from __future__ import annotations

import asyncio
import io
import os
import time
from typing import Literal, NamedTuple

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

Vector = NDArray[np.float32]

_FORMATS = {"auto": "auto", "fp32": "float32", "bf16": "bfloat16"}


class _Models(NamedTuple):
    precision: Precision
    detector: FaceDetector
    landmarks: Landmarks5
    describer: FaceDescriber


class _Stages(NamedTuple):
    """What runs on the threads, once the models are loaded."""

    device: Literal["cpu", "cuda"]
    precision: Literal["fp32", "bf16"]
    describing: Batcher[Pixels, Vector]
    looking: Batcher[Job, Seen]


class Worker:
    """Finds and describes faces on compute threads, never on the event loop.

    ``settings.workers`` threads (0: one per core), each with one thread of torch: several small computations side by
    side are faster than one at a time on all cores, and OpenMP's threads would spin while they wait for each other.
    """

    def __init__(self, settings: SdkSettings) -> None:
        self._settings = settings
        self._pool = Pool(settings.workers or os.cpu_count() or 1, prepare=lambda: torch.set_num_threads(1))
        self._started: _Stages | None = None
        self.ready = False

    async def start(self) -> None:
        """Load the models and start the threads; :meth:`warm` may follow.

        Raises ENGINE_FAILED with the reason when a model file is missing or damaged, or the device is not there.
        """
        self._started = self._staged(await asyncio.to_thread(self._load))
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
        return self._stages.device

    @property
    def precision(self) -> Literal["fp32", "bf16"]:
        return self._stages.precision

    async def look(self, images: list[Image], params: SdkParams) -> list[Seen | MienError]:
        """What is in each picture, or why it failed, in order. See :meth:`Chain.run`.

        Raises OVERLOADED when too many pictures wait or one of these waited too long.
        """
        outcomes = await self._stages.looking.submit([Job(image, params) for image in images])
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not _of_one_picture(outcome):
                raise outcome
        return outcomes  # type: ignore[return-value]

    async def describe(self, chips: list[Pixels]) -> list[Vector]:
        """The descriptor (128,) of each chip, uint8 (150, 150, 3); chips of all callers go through together."""
        vectors = []
        for outcome in await self._stages.describing.submit(chips):
            if isinstance(outcome, BaseException):
                raise outcome
            vectors.append(outcome)
        return vectors

    @property
    def _stages(self) -> _Stages:
        if self._started is None:
            raise MienError(Code.OVERLOADED, "models are loading", retry_after_s=5)
        return self._started

    def _load(self) -> _Models:
        settings = self._settings
        try:
            precision = choose(settings.device, _FORMATS[settings.precision])  # type: ignore[arg-type]
            return _Models(precision, FaceDetector(precision), Landmarks5(), FaceDescriber(precision))
        except (ModelMissing, ModelCorrupt, FormatError, DeviceMissing) as fault:
            raise MienError(Code.ENGINE_FAILED, f"remote_sdk cannot start: {fault}") from fault

    def _staged(self, models: _Models) -> _Stages:
        def describe(chips: list[Pixels]) -> list[Vector | Exception]:
            return list(models.describer.describe(np.stack(chips)))

        settings, on_gpu = self._settings, models.precision.device.type == "cuda"
        search = Search(settings.detect_long_side, settings.detect_pyramid, settings.detect_threshold)
        limits = Limits(settings.max_image_bytes, settings.max_image_pixels)
        return _Stages(
            device="cuda" if on_gpu else "cpu",
            precision="bf16" if models.precision.dtype is torch.bfloat16 else "fp32",
            # Added to the pool first: descriptions finish pictures that were begun.
            describing=Batcher(
                self._pool,
                "describe",
                describe,
                _CUDA_CHIPS if on_gpu else _CPU_CHIPS,
            ),
            looking=Batcher(
                self._pool,
                "look",
                Chain(models.detector, models.landmarks, search, limits).run,
                _CUDA_PICTURES if on_gpu else _CPU_PICTURES,
                queue_limit=settings.queue_limit,
                queue_age_s=settings.queue_age_s,
            ),
        )


def _of_one_picture(outcome: BaseException) -> bool:
    return isinstance(outcome, MienError) and outcome.code is not Code.OVERLOADED


def _grey_jpeg() -> bytes:
    encoded = io.BytesIO()
    Pillow.new("RGB", (640, 480), "grey").save(encoded, "JPEG")
    return encoded.getvalue()
