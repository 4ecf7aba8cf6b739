"""The face networks and whole photos on a GPU: ``python -m bench.inference [rounds] --device cuda``.

Rates beside the largest rate of matrix products measured in the same run, and the share of the time in which the GPU
computes or copies. Everything runs on the CPU, too, slowly: ``measure(rounds, device, sizes)`` is how it is tested.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from skimage.data import astronaut
from torch.profiler import ProfilerActivity, profile

from bench.whole_photo import at_once, one_face, photo
from libs.common.settings import SdkSettings
from services.remote_sdk.decoding.on_device import JpegsOnDevice, Uploading, check_device
from services.remote_sdk.decoding.port import Encoded, Inside
from services.remote_sdk.engines.port import EngineMissing
from services.remote_sdk.loading import catalogue_of
from services.remote_sdk.networks.chip import face_chips
from services.remote_sdk.networks.frames import on_device
from services.remote_sdk.networks.landmarks import Landmarks5
from services.remote_sdk.networks.mmod import FaceDetector
from services.remote_sdk.networks.precision import Precision, choose
from services.remote_sdk.networks.resnet import FaceDescriber
from services.remote_sdk.stages.decode import Limits
from services.remote_sdk.worker import Worker

Run = Callable[[], object]
_DESCRIPTOR_FLOP = 0.5417e9  # of one face: twice the multiplications of its convolutions
_WARM_S = 0.5
_PROFILED = 5
_LIMITS = Limits(32_000_000, 50_000_000)


@dataclass(frozen=True)
class Sizes:
    """``matrix``: rows of a square one; ``chips`` and ``frames`` computed at once; ``callers`` with photos at once."""

    matrix: int = 8192
    chips: int = 1024
    frames: int = 8
    callers: tuple[int, ...] = (1, 8, 32, 128)


def measure(rounds: int, device: Literal["cpu", "cuda"], sizes: Sizes = Sizes()) -> None:
    """Print the rates. Raises DeviceMissing when there is no such device."""
    precision = choose(device)
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    print(f"torch {torch.__version__}, {name}, {precision.dtype}, {rounds} rounds")
    for title, count, unit, run in _runs(precision, sizes):
        seconds = _seconds(run, rounds, precision.device)
        print(f"  {title:58} {count / seconds:12.4g} {unit}/s  busy {_busy(run, precision.device)}")
    print("  whole photos, one worker, by callers at once:")
    for jpegs in ("processes", "device"):
        print(f"    JPEGs decoded by: {jpegs}")
        with _refused():
            asyncio.run(_whole(SdkSettings(device=device, decode=jpegs), rounds, sizes.callers))


def _runs(precision: Precision, sizes: Sizes) -> Iterator[tuple[str, float, str, Run]]:
    """What is measured, how much of what one run does, and the run itself."""
    device = precision.device
    # Not ones: what changes no bits takes less power, and runs faster than anything that is computed.
    matrix = torch.rand(sizes.matrix, sizes.matrix, device=device).to(precision.dtype)
    yield "products of matrices (the ceiling)", 2 * sizes.matrix**3, "FLOP", lambda: matrix @ matrix
    describer, chips = FaceDescriber(precision), np.stack([_chip()] * sizes.chips)
    there = on_device(chips, device)
    yield "descriptors, chips on the device (bar: 50000)", sizes.chips, "face", lambda: describer.describe(there)
    yield "the same, as arithmetic", sizes.chips * _DESCRIPTOR_FLOP, "FLOP", lambda: describer.describe(there)
    yield "descriptors, chips in main memory", sizes.chips, "face", lambda: describer.describe(chips)
    jpegs = [Encoded(photo(), "image/jpeg")] * sizes.frames
    by_processor = Inside(_LIMITS)
    frames = [by_processor.decode(*jpegs[0]).pixels] * sizes.frames
    detector, uploaded = FaceDetector(precision), [on_device(frame, device) for frame in frames]
    yield "1080p frames, on the device (bar: 300)", sizes.frames, "frame", lambda: detector.detect(uploaded)
    yield "1080p frames, in main memory", sizes.frames, "frame", lambda: detector.detect(frames)
    uploading = Uploading(by_processor, device)
    yield "1080p JPEGs, decoded by one core and uploaded", sizes.frames, "photo", lambda: uploading.decode_all(jpegs)
    with _refused():
        check_device(device)
        decoding = JpegsOnDevice(uploading, _LIMITS, device)
        yield "1080p JPEGs, decoded by the device", sizes.frames, "photo", lambda: decoding.decode_all(jpegs)


async def _whole(settings: SdkSettings, rounds: int, callers: tuple[int, ...]) -> None:
    worker, data = Worker(settings, catalogue_of(settings)), photo()
    try:
        await worker.start()
        await worker.warm()
        for count in callers:
            await at_once(lambda: one_face(worker, data), count, 4 * count)  # each thread prepares for what it meets
            print(f"      {count:3}: {await at_once(lambda: one_face(worker, data), count, 4 * max(rounds, count))}")
    finally:
        await worker.stop()


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """What cannot be run here says so, and the rest goes on."""
    try:
        yield
    except Exception as reason:  # an engine's or a service's refusal
        if not isinstance(reason, EngineMissing) and "cannot start" not in str(reason):
            raise
        print(f"      not run: {reason}")


def _seconds(run: Run, rounds: int, device: torch.device) -> float:
    """Median, once a GPU has raised its clock; the device has finished when the clock is read."""

    def once() -> float:
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    ready = time.perf_counter() + (_WARM_S if device.type == "cuda" else 0)
    once()
    while time.perf_counter() < ready:
        once()
    return statistics.median(once() for _ in range(rounds))


def _busy(run: Run, device: torch.device) -> str:
    """The share of the time of some runs in which the GPU computes or copies. All of it is in one stream."""
    if device.type != "cuda":
        return "-"
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        started = time.perf_counter()
        for _ in range(_PROFILED):
            run()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - started
    return f"{sum(each.self_device_time_total for each in seen.key_averages()) / 1e6 / seconds:.0%}"


def _chip() -> np.ndarray:
    picture: np.ndarray = astronaut()
    return face_chips(picture, Landmarks5().locate([picture], [np.array([[168.0, 69, 263, 164]])]))[0]
