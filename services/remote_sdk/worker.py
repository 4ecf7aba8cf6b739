"""The models of this process and the threads they run on."""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow
from prometheus_client import Gauge

from libs.common.errors import Code, MienError
from libs.common.settings import SdkSettings
from libs.common.wire.sdk import Image, SdkParams
from services.remote_sdk.batcher import Batcher, Pool
from services.remote_sdk.catalogue import Catalogue
from services.remote_sdk.costs import cost_s
from services.remote_sdk.decoding.port import Decoder
from services.remote_sdk.engines.port import Where
from services.remote_sdk.estimators.port import Findings, Informed
from services.remote_sdk.gpu_faults import enduring
from services.remote_sdk.loading import Models, open_decoder, open_models, where
from services.remote_sdk.networks.chip import face_chips
from services.remote_sdk.networks.frames import on_device
from services.remote_sdk.networks.precision import on_gpu
from services.remote_sdk.stages.chain import WARP_SIZE, Chain, Face, Job, Seen, warp_view
from services.remote_sdk.stages.surroundings import Surroundings
from services.remote_sdk.stages.view import BodyView

T = TypeVar("T")

WARM_S = Gauge("mien_sdk_warm_seconds", "How long loading and warming the models took")
RUNS = Gauge(
    "mien_sdk_model", "1 for each model in use, and where it runs", ["model", "provider", "device", "precision"]
)

_CPU_PICTURES, _CUDA_PICTURES = 1, 8
"""Pictures a thread takes at once. On a core a second picture in the detector's net saves nothing and waits longer."""
_CPU_CROPS, _CUDA_CROPS = 32, 256
"""Where the speed per face stops growing (reference measurements of the descriptor network)."""

_GPU_THREADS = 4
"""Enough for the GPU to compute while others copy, decode and look at boxes; each has memory of its own there."""

_ENOUGH = 1600
"""Pixels of the longer side that every detector is content with by itself (dlib-mmod searches in so many)."""

Vector = NDArray[np.float32]


class Cropped(Protocol):
    """A face, a body or a thing on its way to the estimators."""

    @property
    def findings(self) -> Findings: ...
    @property
    def crops(self) -> Mapping[str, Any]: ...


class _Stages(NamedTuple):
    """What runs on the threads, once the models are loaded. Estimators and the describer go by their models' names.

    ``follows``: for each estimator those whose findings it needs; ``informing``: what hands them to it.
    """

    models: Models
    describing: Batcher[Any, Vector]
    estimating: Mapping[str, Batcher[Any, Findings]]
    looking: Batcher[Job, Seen]
    follows: Mapping[str, Sequence[str]]
    informing: Mapping[str, Callable[[Any, Findings], Any]]


class Worker:
    """Finds, estimates and describes faces on compute threads, never on the event loop.

    ``settings.workers`` threads (0: one per core, or a few for a GPU), each with one thread of torch: several small
    computations side by side are faster than one at a time on all cores, and OpenMP's threads would spin while they
    wait for each other.
    """

    def __init__(self, settings: SdkSettings, catalogue: Catalogue) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._threads = settings.workers or (_GPU_THREADS if on_gpu(settings.device) else os.cpu_count() or 1)
        self._pool = Pool(self._threads, prepare=self._prepare)
        self._started: _Stages | None = None
        self._decoder: Decoder | None = None
        self.ready = False

    async def start(self) -> None:
        """Load the models and start the threads; :meth:`warm` may follow.

        Raises ENGINE_FAILED with the reason when a model file is missing or damaged, or the device is not there.
        """
        models = await asyncio.to_thread(open_models, self._settings, self._catalogue, self._threads)
        self._decoder = await asyncio.to_thread(open_decoder, self._settings, models.precision.device, self._threads)
        self._started = self._staged(models, self._decoder)
        for name, at in models.where.items():
            RUNS.labels(name, at.provider, at.device, at.precision).set(1)
        self._pool.start()

    def _prepare(self) -> None:
        """In each compute thread, before its first batch.

        On a GPU each has a stream of its own, or one thread's copies would wait for another's networks. What a stage
        hands on is complete, because every stage ends with a copy to main memory.
        """
        torch.set_num_threads(1)
        if self._stages.models.precision.device.type == "cuda":
            torch.cuda.synchronize()  # the models were loaded in another stream
            torch.cuda.set_stream(torch.cuda.Stream())

    async def warm(self) -> None:
        """Run everything once: the first pass through a network allocates and chooses kernels.

        Raises what a network or the decoder raises.
        """
        started = time.perf_counter()
        [seen] = await self.look([Image(filename="warm", data=_grey_jpeg())], SdkParams(), ())
        if isinstance(seen, MienError):
            raise seen
        models = self._stages.models
        if models.precision.device.type == "cuda":
            await asyncio.to_thread(_align, models)
        name, describer = models.describer
        grey = warp_view(np.full((WARP_SIZE, WARP_SIZE, 3), 128, np.uint8))
        await _results(self._stages.describing, [describer.crop(grey)])
        for name, estimator in models.estimators.items():
            await _results(self._stages.estimating[name], [estimator.crop(grey)])
        thing = BodyView(grey.pixels, grey.box)
        for name, estimator in (*models.body_estimators.items(), *models.thing_estimators.values()):
            await _results(self._stages.estimating[name], [estimator.crop(thing)])
        WARM_S.set(time.perf_counter() - started)
        self.ready = True

    async def stop(self) -> None:
        self.ready = False
        await self._pool.stop()
        if self._decoder:
            await asyncio.to_thread(self._decoder.close)
            self._decoder = None

    @property
    def runs(self) -> Where:
        """Where torch runs the built-in networks. Raises OVERLOADED until they are loaded."""
        return where(self._stages.models.precision)

    def where(self, model: str) -> Where | None:
        """Where a model runs; None for one that is not in use."""
        return self._started.models.where.get(model) if self._started else None

    @property
    def descriptor_version(self) -> int:
        """The version of the descriptors that :meth:`describe` gives."""
        return self._stages.models.describer[1].version

    async def look(
        self, images: list[Image], params: SdkParams, models: Sequence[str], *, describe: bool = False
    ) -> list[Seen | MienError]:
        """What is in each picture, or why it failed, in order. See :meth:`Chain.run`.

        Its faces are cropped for :meth:`estimate` by the ``models`` among the estimators, and for :meth:`describe`.
        Raises OVERLOADED when too many pictures wait or one of these waited too long.
        """
        stages = self._stages
        wanted = (*(name for name in models if name in stages.estimating), *[stages.models.describer[0]] * describe)
        outcomes = await stages.looking.submit([Job(image, params, wanted) for image in images])
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not _of_one_picture(outcome):
                raise outcome
        return outcomes  # type: ignore[return-value]

    async def estimate(self, faces: Sequence[Cropped]) -> list[Findings]:
        """What was measured of each face, body or thing, and what the estimators it was cropped for find, in order.

        Every estimator sees the faces of all callers in batches of its own, and all of them run at once; but one that
        builds on what others find waits for those.
        """
        stages = self._stages
        findings = [dict(face.findings) for face in faces]

        async def run(name: str, batcher: Batcher[Any, Findings]) -> None:
            await asyncio.gather(*(running[need] for need in stages.follows.get(name, ()) if need in running))
            which = [number for number, face in enumerate(faces) if name in face.crops]
            informed = stages.informing.get(name, _uninformed)
            crops = [informed(faces[number].crops[name], findings[number]) for number in which]
            for number, found in zip(which, await _results(batcher, crops), strict=True):
                findings[number].update(found)

        used = {name for face in faces for name in face.crops}
        running = {
            name: asyncio.ensure_future(run(name, batcher))
            for name, batcher in stages.estimating.items()
            if name in used
        }
        await asyncio.gather(*running.values())
        return findings

    async def describe(self, faces: Sequence[Face]) -> list[Vector]:
        """The descriptor, float32 (length,), of each face that :meth:`look` cropped for it; those of all callers go
        through together."""
        name = self._stages.models.describer[0]
        return await _results(self._stages.describing, [face.crops[name] for face in faces])

    @property
    def _stages(self) -> _Stages:
        if self._started is None:
            raise MienError(Code.OVERLOADED, "models are loading", retry_after_s=5)
        return self._started

    def _staged(self, models: Models, decoder: Decoder) -> _Stages:
        settings, by_gpu = self._settings, models.precision.device.type == "cuda"
        most = _CUDA_CROPS if by_gpu else _CPU_CROPS
        everyone = (*models.estimators.items(), *models.body_estimators.items(), *models.thing_estimators.values())
        # Added to the pool last first: descriptions finish pictures that were begun.
        return _Stages(
            models=models,
            describing=Batcher(self._pool, "describe", enduring(models.describer[1].run), most),
            estimating={name: Batcher(self._pool, name, enduring(estimator.run), most) for name, estimator in everyone},
            looking=Batcher(
                self._pool,
                "look",
                enduring(_chain(models, decoder, max(_ENOUGH, settings.detect_long_side or 0)).run),
                _CUDA_PICTURES if by_gpu else _CPU_PICTURES,
                queue_limit=settings.queue_limit,
                queue_age_s=settings.queue_age_s,
                cost_s=lambda job: cost_s(job.image.data),
            ),
            follows={name: self._catalogue.needed_by(name) for name, each in everyone if isinstance(each, Informed)},
            informing={name: each.informed for name, each in everyone if isinstance(each, Informed)},
        )


def _align(models: Models) -> None:
    """As a face would be, which the grey picture has none of: its kernels are loaded when they are first used."""
    picture = on_device(np.zeros((480, 640, 3), np.uint8), models.precision.device)
    face_chips(picture, models.landmarks.locate([picture], [np.array([[200.0, 100, 400, 300]])]))


def _uninformed(crop: Any, _: Findings) -> Any:
    return crop


def _chain(models: Models, decoder: Decoder, reduce_to: int) -> Chain:
    name, describer = models.describer
    croppers: dict[str, Callable[..., Any]] = {each: one.crop for each, one in models.estimators.items()}
    body_croppers: dict[str, Callable[..., Any]] = {each: one.crop for each, one in models.body_estimators.items()}
    everyone = (*models.estimators.items(), *models.body_estimators.items())
    on_warps = {each for each, one in everyone if one.on_warps}
    things = {slot: (each, one.crop) for slot, (each, one) in models.thing_estimators.items()}
    return Chain(
        models.detector,
        models.landmarks,
        decoder,
        croppers=croppers | {name: describer.crop},
        for_warps=frozenset(on_warps | {name}),
        reduce_to=reduce_to,
        body_croppers=body_croppers,
        surroundings=Surroundings(models.detectors, things),
    )


async def _results(batcher: Batcher[Any, T], items: list[Any]) -> list[T]:
    """The outcomes of a batcher; the first failure among them is raised."""
    results = []
    for outcome in await batcher.submit(items):
        if isinstance(outcome, BaseException):
            raise outcome
        results.append(outcome)
    return results


def _of_one_picture(outcome: BaseException) -> bool:
    return isinstance(outcome, MienError) and outcome.code is not Code.OVERLOADED


def _grey_jpeg() -> bytes:
    encoded = io.BytesIO()
    Pillow.new("RGB", (640, 480), "grey").save(encoded, "JPEG")
    return encoded.getvalue()
