"""One 1080p JPEG with one face, from bytes to descriptor: our worker beside bare engines and other people's Python.

``python -m bench.inference`` runs it after the networks. By itself, with ``MIEN_MODELS_DIR`` naming a folder with
YuNet's and MobileFaceNet's weights: ``python -m bench.whole_photo [rounds]``; ``python -m bench.whole_photo memory
[photos]`` prints the memory of service and decoder while it goes through so many photos.
"""

# pyright: reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# dlib brings no types, OpenCV some that are narrower than its code.

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch loads

import asyncio
import io
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import dlib
import numpy as np
import openvino
import simplejpeg
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image as Pillow
from skimage.data import astronaut

from libs.common.settings import SdkSettings
from libs.common.wire.sdk import Image, SdkParams
from services.remote_sdk.decoding.children import Children
from services.remote_sdk.loading import catalogue_of
from services.remote_sdk.models.library import builtin
from services.remote_sdk.networks.chip import face_chips
from services.remote_sdk.networks.landmarks import Landmarks5
from services.remote_sdk.networks.precision import choose
from services.remote_sdk.networks.resnet import FaceDescriber
from services.remote_sdk.stages.decode import Limits
from services.remote_sdk.worker import Worker

Run = Callable[[], object]
CALLERS = (1, 8, 32)
_FACES = 512  # described in a round: callers who come first are described alone, once
_ONE_THREAD = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1}
_FACE = (728.0, 215, 914, 400)  # of the photo, as dlib's detector would box it


class Taken(NamedTuple):
    """``rate``: photos or faces a second; ``p50_ms``, ``p99_ms``: of one."""

    rate: float
    p50_ms: float
    p99_ms: float

    def __str__(self) -> str:
        return f"{self.rate:7.1f}/s   p50 {self.p50_ms:7.1f} ms   p99 {self.p99_ms:7.1f} ms"


def photo() -> bytes:
    """1920 x 1080, quality 85: Eileen Collins over a background of her own, her face some 200 pixels wide."""
    canvas = Pillow.fromarray(astronaut()).resize((1920, 1080)).rotate(180)
    canvas.paste(Pillow.fromarray(astronaut()).resize((1000, 1000)), (400, 80))
    encoded = io.BytesIO()
    canvas.save(encoded, "JPEG", quality=85)
    return encoded.getvalue()


async def main(rounds: int) -> None:
    worker = await _started()
    data = photo()
    print(f"\nwhole photo: {len(data) // 1000} kB, 1920 x 1080, one face; one compute thread; {rounds} rounds")
    for name, run in ((name, worker.where(name)) for name in ("yunet", "dlib-mmod", "dlib-resnet")):
        if run:
            print(f"  {name}: {run.provider}, {run.device}, {run.precision}")
    await _stages(worker, data, rounds)
    await _callers(worker, data, rounds)
    await _descriptors(worker, rounds)
    await worker.stop()
    _processes()


async def _stages(worker: Worker, data: bytes, rounds: int) -> None:
    """Bare stages, the sum of them, and whole paths: ours and other people's, all in turn.

    Beside the time that passed stands the processor's, of which others on the machine take none.
    """
    taken: dict[str, list[tuple[float, float]]] = {}
    runs = {name: _in_thread(run) for name, run in _bare(data).items()}
    for _ in range(rounds):
        for name, run in {**runs, "ours, whole": lambda: one_face(worker, data)}.items():
            taken.setdefault(name, []).append(await _timed(run))
    middle = {name: np.median(seconds, axis=0) for name, seconds in taken.items()}
    for name, (wall, processor) in middle.items():
        print(f"  {name:58} {1000 * wall:8.1f} ms, {1000 * processor:8.1f} ms of the processor")
    whole, decode = middle["ours, whole"], middle["bare decode"]
    bare = np.sum([seconds for name, seconds in middle.items() if name.startswith("bare ")], axis=0)
    print(f"  sum of the bare stages / ours: {_both(bare / whole)} (bar: 0.85)")
    print(f"  ours: {1 / whole[0]:.1f} photos/s, {1 / whole[1]:.1f} in a second of the processor (bar: 30 a core)")
    print(f"  of the decode-only rate, {1 / decode[0]:.0f}/s and {1 / decode[1]:.0f}: {_both(decode / whole)}")
    print(f"  decoding in a process of its own / bare: {_both(middle['decode in its process'] / decode)}")


def _both(ratios: Any) -> str:
    return f"{ratios[0]:.2f} (by the processor {ratios[1]:.2f})"


def _in_thread(run: Run) -> Callable[[], Any]:
    return lambda: asyncio.to_thread(_seconds, run)


def _processor_s() -> float:
    """Seconds that this process and its children have computed."""
    ran = [Path(f"/proc/{process}/schedstat") for process in _children()]
    return time.process_time() + sum(int(each.read_text().split()[0]) for each in ran if each.exists()) / 1e9


@cache
def _children() -> list[str]:
    found = subprocess.run(["pgrep", "-P", str(os.getpid())], capture_output=True, text=True, check=False)
    return found.stdout.split()


def _bare(data: bytes) -> dict[str, Run]:
    """What each stage costs without any of our code around it, on results of the stage before."""
    buffer = np.empty(1920 * 1080 * 3, np.uint8)
    pixels = simplejpeg.decode_jpeg(data, buffer=buffer)
    children = Children(Limits(32_000_000, 50_000_000), 1)
    detector = _bare_openvino("yunet")
    small = _shrunk(pixels)
    landmarks, face = Landmarks5(), np.array([_FACE])
    chip = face_chips(pixels, landmarks.locate([pixels], [face]))
    describe = _resnet_in_openvino()
    runs: dict[str, Run] = {
        "bare decode": lambda: simplejpeg.decode_jpeg(data, buffer=buffer),
        "bare resize": lambda: _shrunk(pixels),
        "bare YuNet": lambda: detector(small),
        "bare landmarks and chip": lambda: face_chips(pixels, landmarks.locate([pixels], [face])),
        "bare descriptor": lambda: describe(chip),
        "decode in its process": lambda: children.decode(data, "image/jpeg"),
        "dlib-bin: PIL, HOG, landmarks, chip, descriptor": _dlib(data),
    }
    return runs | _opencv(data)


def _shrunk(pixels: np.ndarray) -> np.ndarray:
    planes = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
    small = F.interpolate(planes, (448, 796), mode="bilinear", antialias=True)
    padded = np.zeros((1, 3, 448, 800), np.float32)
    padded[..., :796] = small.numpy()[:, ::-1]
    return padded


def _bare_openvino(name: str, size: tuple[int, ...] = (1, 3, 448, 800)) -> Callable[[np.ndarray], object]:
    core = openvino.Core()
    graph = core.read_model(_weights(name))
    graph.reshape({graph.inputs[0]: list(size)})
    request = core.compile_model(graph, "CPU", _ONE_THREAD).create_infer_request()
    return lambda array: request.infer([array], share_inputs=True)


def _weights(name: str) -> Path:
    folder = SdkSettings().models_dir
    return folder / {"yunet": "yunet/yunet_n_dynamic.onnx", "mobilefacenet": "mobilefacenet/MobileFaceNet.onnx"}[name]


def _dlib(data: bytes) -> Run:
    """As dlib's examples and face_recognition do it, with HOG: its other detector takes twenty seconds."""
    detector, points = dlib.get_frontal_face_detector(), dlib.shape_predictor(str(builtin("dlib-sp5").path))
    network = dlib.face_recognition_model_v1(str(builtin("dlib-resnet").path))

    def run() -> object:
        image = np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB"))
        boxes = detector(image, 0)
        return [network.compute_face_descriptor(image, points(image, box)) for box in boxes]

    return run


def _opencv(data: bytes) -> dict[str, Run]:
    """OpenCV's own Python classes on the same YuNet file, MobileFaceNet in ONNX Runtime on one thread."""
    try:
        import cv2
        import onnxruntime
    except ImportError as missing:
        print(f"  opencv is not compared: {missing}")
        return {}
    cv2.setNumThreads(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    network = onnxruntime.InferenceSession(str(_weights("mobilefacenet")), options, ["CPUExecutionProvider"])
    detector = cv2.FaceDetectorYN.create(str(_weights("yunet")), "", (800, 450), 0.8)
    template = np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]], np.float32)

    def run() -> object:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        small = cv2.resize(image, (800, 450), interpolation=cv2.INTER_AREA)
        face = detector.detect(small)[1][0]
        turn, _ = cv2.estimateAffinePartial2D(face[4:14].reshape(5, 2) * 2.4, template)
        chip = cv2.warpAffine(image, turn, (112, 112))[..., ::-1].astype(np.float32)
        chip = (chip - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
        blob = chip.transpose(2, 0, 1)[None].astype(np.float32)
        return network.run(None, {network.get_inputs()[0].name: blob})

    return {"OpenCV: imdecode, FaceDetectorYN, warp; ORT MobileFaceNet": run}


async def one_face(worker: Worker, data: bytes) -> None:
    """One photo through the worker, from bytes to descriptor."""
    [seen] = await worker.look([Image(filename="photo", data=data)], SdkParams(), (), describe=True)
    if isinstance(seen, Exception) or len(seen.faces) != 1:
        raise SystemExit(f"one face is in the photo, not {seen}")
    await worker.describe(seen.faces)


async def _callers(worker: Worker, data: bytes, rounds: int) -> None:
    print("  whole photos by callers at once:")
    for count in CALLERS:
        print(f"    {count:3}: {await at_once(lambda: one_face(worker, data), count, 4 * max(rounds, count))}")


async def at_once(once: Callable[[], Any], callers: int, total: int) -> Taken:
    """How many callers at once fare who together do something so many times."""
    times: list[float] = []

    async def caller() -> None:
        for _ in range(total // callers):
            started = time.perf_counter()
            await once()
            times.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    p50, p99 = np.percentile(times, [50, 99]) * 1000
    return Taken(len(times) / (time.perf_counter() - started), float(p50), float(p99))


async def _descriptors(worker: Worker, rounds: int) -> None:
    """The stage with 32 callers of one face each, beside the bare networks on batches of 32."""
    [seen] = await worker.look([Image(filename="photo", data=photo())], SdkParams(), (), describe=True)
    if isinstance(seen, Exception):
        raise seen
    chips = np.stack([next(iter(seen.faces[0].crops.values()))] * 32)
    runs: dict[str, Callable[[], Any]] = {
        "ours, 32 callers": lambda: at_once(lambda: worker.describe(seen.faces), 32, _FACES),
        "torch, batches of 32": _batches(FaceDescriber(choose("cpu")).describe, chips),
        "OpenVINO, batches of 32": _batches(_resnet_in_openvino(), chips),
    }
    for count in range(1, 33):  # OpenVINO prepares itself for every number of faces that it meets, in 20 ms
        await worker.describe(seen.faces * count)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            taken[name].append(await _timed(run))
    ours = np.array(taken["ours, 32 callers"])
    print("  descriptor stage, faces/s, and ours beside it (bar: 0.95):")
    for name, seconds in taken.items():
        rate = _FACES / np.median(seconds, axis=0)[0]
        print(f"    {name:24} {rate:8.1f}   {_both(np.median(np.array(seconds) / ours, axis=0))}")


def _batches(run: Callable[[np.ndarray], object], chips: np.ndarray) -> Callable[[], Any]:
    """As many faces as the callers describe, on a thread as ours are."""
    return _in_thread(lambda: [run(chips) for _ in range(_FACES // len(chips))])


async def _timed(run: Callable[[], Any]) -> tuple[float, float]:
    """Seconds that passed, and seconds of the processor."""
    started = time.perf_counter(), _processor_s()
    await run()
    return time.perf_counter() - started[0], _processor_s() - started[1]


def _resnet_in_openvino() -> Callable[[np.ndarray], object]:
    """The same weights, traced from torch."""
    network = FaceDescriber(choose("cpu", "float32")).network
    example = torch.zeros(2, 150, 150, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit._trace.TracerWarning)  # sizes of maps are the same for every batch
        graph = openvino.convert_model(network, example_input=example, input=[openvino.PartialShape([-1, 150, 150, 3])])
    request = openvino.Core().compile_model(graph, "CPU", _ONE_THREAD).create_infer_request()
    return lambda chips: request.infer([chips], share_inputs=True)


def _processes() -> None:
    """How two processes, each with one compute thread, do beside one."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(3):
        for count in rates:
            command = [sys.executable, "-m", "bench.whole_photo", "alone"]
            running = [subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE) for _ in range(count)]
            for each in running:
                each.stdout.readline()  # type: ignore[union-attr]
            for each in running:
                each.stdin.write(b"\n")  # type: ignore[union-attr]
                each.stdin.flush()  # type: ignore[union-attr]
            rates[count].append(sum(float(each.communicate()[0]) for each in running))
    one, two = statistics.median(rates[1]), statistics.median(rates[2])
    print(f"  one process {one:.1f} photos/s, two {two:.1f}: x{two / one:.2f} (bar: 1.8)")


async def alone() -> None:
    """Ready once the first line is printed; begins when one is read; prints photos a second over ten seconds."""
    worker = await _started()
    data = photo()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < 10:
        await asyncio.gather(*(one_face(worker, data) for _ in range(8)))
        count += 8
    print(count / (time.perf_counter() - started))
    await worker.stop()


async def memory(photos: int) -> None:
    """Resident memory of this process and its decoders while photos go through."""
    worker = await _started()
    data = photo()
    for number in range(0, photos, 8):
        await asyncio.gather(*(one_face(worker, data) for _ in range(8)))
        if number % (photos // 10) < 8:
            print(f"{number + 8:7} photos: {_resident_mb():.0f} MB")
    await worker.stop()


async def _started() -> Worker:
    torch.set_num_threads(1)
    settings = SdkSettings(workers=1)
    worker = Worker(settings, catalogue_of(settings))
    await worker.start()
    await worker.warm()
    return worker


def _resident_mb() -> float:
    statuses = [Path(f"/proc/{process}/status") for process in ("self", *_children())]
    lines = [line for status in statuses if status.exists() for line in status.read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def _seconds(run: Run) -> float:
    torch.set_num_threads(1)
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["alone"]:
            asyncio.run(alone())
        case ["memory", *photos]:
            asyncio.run(memory(int(photos[0]) if photos else 10_000))
        case rounds:
            asyncio.run(main(int(rounds[0]) if rounds else 15))
