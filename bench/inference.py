"""Our face networks beside dlib's own, on one thread: ``python -m bench.inference [rounds] [--device cuda]``.

On the CPU the whole path of a photo follows (``bench/whole_photo.py``) where ``MIEN_MODELS_DIR`` has its models. On a
GPU ``bench/on_gpu.py`` is all of it.

Every round runs all contenders of a comparison one after the other, so that whatever else the machine does hits them
alike. Printed are median, fastest and slowest round, and how many times faster than the first line the median is.
"""

# pyright: reportAttributeAccessIssue=false
# dlib brings no types.

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch loads

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import dlib
import numpy as np
import torch
from PIL import Image
from skimage.data import astronaut

from bench import on_gpu, whole_photo
from libs.common.settings import SdkSettings
from services.remote_sdk.models.library import Library, builtin
from services.remote_sdk.networks.chip import face_chips
from services.remote_sdk.networks.landmarks import Landmarks5
from services.remote_sdk.networks.mmod import FaceDetector
from services.remote_sdk.networks.precision import DeviceMissing, choose
from services.remote_sdk.networks.resnet import FaceDescriber

Run = Callable[[], object]
SLOW_ROUNDS = 3  # of what takes dlib 20 s


@dataclass(frozen=True)
class Comparison:
    title: str
    faces: int  # per run: 0 prints milliseconds, else faces per second
    runs: dict[str, Run]
    rounds: int


def main(rounds: int, device: str) -> None:
    if device == "cuda":
        try:
            on_gpu.measure(rounds, "cuda")
        except DeviceMissing as missing:
            raise SystemExit(f"--device cuda: {missing}") from missing
        return
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, dlib {dlib.__version__}, {choose('cpu')}, 1 thread, {rounds} rounds")
    _print_peaks(rounds)
    for comparison in (*_descriptors(rounds), *_detections(rounds), *_points_and_chips(rounds)):
        _print(comparison)
    if Library(SdkSettings().models_dir).model("yunet").installed:
        asyncio.run(whole_photo.main(rounds))
    else:
        print("\nwhole photo: not run, yunet is not installed (MIEN_MODELS_DIR)")


def _descriptors(rounds: int) -> list[Comparison]:
    chip = _face_chip()
    theirs = dlib.face_recognition_model_v1(str(builtin("dlib-resnet").path))
    chosen, exact, short = (FaceDescriber(choose("cpu", dtype)) for dtype in ("auto", "float32", "bfloat16"))
    return [
        Comparison(
            f"descriptor, batch {count}",
            count,
            {
                "dlib-bin": lambda count=count: theirs.compute_face_descriptor([chip] * count),
                "ours, default": lambda count=count: chosen.describe(np.stack([chip] * count)),
                "ours, fp32": lambda count=count: exact.describe(np.stack([chip] * count)),
                "ours, bf16": lambda count=count: short.describe(np.stack([chip] * count)),
            },
            rounds,
        )
        for count in (1, 32)
    ]


def _detections(rounds: int) -> list[Comparison]:
    theirs = dlib.cnn_face_detection_model_v1(str(builtin("dlib-mmod").path))
    chosen, exact, short = (FaceDetector(choose("cpu", dtype)) for dtype in ("auto", "float32", "bfloat16"))
    comparisons = []
    for width, height in ((640, 480), (1920, 1080)):
        image = np.asarray(Image.fromarray(astronaut()).resize((width, height)))
        runs: dict[str, Run] = {
            "dlib-bin": lambda image=image: theirs(image, 0),
            "ours, same canvas, default": lambda image=image: chosen.detect([image], None, 5 / 6),
            "ours, same canvas, fp32": lambda image=image: exact.detect([image], None, 5 / 6),
            "ours, same canvas, bf16": lambda image=image: short.detect([image], None, 5 / 6),
            "ours, default setting (1600 px, 2/3)": lambda image=image: chosen.detect([image]),
        }
        comparisons.append(Comparison(f"detection, {width}x{height}", 0, runs, min(rounds, SLOW_ROUNDS)))
    return comparisons


def _points_and_chips(rounds: int) -> list[Comparison]:
    image, box = astronaut(), np.array([[168.0, 69, 263, 164]])
    theirs, ours = dlib.shape_predictor(str(builtin("dlib-sp5").path)), Landmarks5()
    points = ours.locate([image], [box])
    face = theirs(image, dlib.rectangle(168, 69, 263, 164))
    return [
        Comparison(
            "landmarks, 1 face",
            0,
            {
                "dlib-bin": lambda: theirs(image, dlib.rectangle(168, 69, 263, 164)),
                "ours": lambda: ours.locate([image], [box]),
            },
            rounds,
        ),
        Comparison(
            "chip",
            0,
            {
                "dlib-bin": lambda: dlib.get_face_chip(image, face, 150, 0.25),
                "ours": lambda: face_chips(image, points),
            },
            rounds,
        ),
    ]


def _face_chip() -> np.ndarray:
    photo: np.ndarray = astronaut()
    return face_chips(photo, Landmarks5().locate([photo], [np.array([[168.0, 69, 263, 164]])]))[0]


def _print_peaks(rounds: int) -> None:
    """What the core can do at most: a matrix product that fits the cache."""
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.ones(512, 512, dtype=dtype)
        best = min(_seconds(lambda matrix=matrix: matrix @ matrix) for _ in range(4 * rounds))
        print(f"  peak of this core, {dtype}: {2 * 512**3 / best / 1e9:.0f} GFLOP/s")


def _print(comparison: Comparison) -> None:
    for run in comparison.runs.values():
        run()  # the first one compiles kernels and fetches memory
    seconds: dict[str, list[float]] = {name: [] for name in comparison.runs}
    for _ in range(comparison.rounds):
        for name, run in comparison.runs.items():
            seconds[name].append(_seconds(run))
    first = statistics.median(next(iter(seconds.values())))
    print(f"\n{comparison.title}, {'faces/s' if comparison.faces else 'ms'}: median (slowest to fastest), ratio")
    for name, taken in seconds.items():
        middle, *ends = (_figure(comparison, value) for value in (statistics.median(taken), max(taken), min(taken)))
        print(f"  {name:38} {middle:>9} ({ends[0]} to {ends[1]})  x{first / statistics.median(taken):.1f}")


def _figure(comparison: Comparison, seconds: float) -> str:
    return f"{comparison.faces / seconds:.1f}" if comparison.faces else f"{1000 * seconds:.1f}"


def _seconds(run: Run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("rounds", type=int, nargs="?", default=7)
    arguments.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    main(**vars(arguments.parse_args()))
