"""What runs on a GPU: tensors on the CPU stand in for those on a GPU, and tensors of CUDA that have no data."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from torch._subclasses.fake_tensor import FakeTensorMode

from bench import on_gpu
from libs.common.errors import Code, MienError
from libs.common.settings import SdkSettings
from libs.common.wire.sdk import Image, SdkParams
from services.remote_sdk.decoding.on_device import JpegsOnDevice, OnDevice, Uploading
from services.remote_sdk.decoding.port import Encoded, Inside
from services.remote_sdk.engines.net import load
from services.remote_sdk.engines.onnx_engine import OnnxRuntime
from services.remote_sdk.engines.port import EngineMissing
from services.remote_sdk.estimators.descriptor import DlibDescriptor
from services.remote_sdk.gpu_faults import enduring
from services.remote_sdk.loading import catalogue_of
from services.remote_sdk.models.library import builtin
from services.remote_sdk.networks import mmod, suppression
from services.remote_sdk.networks.chip import face_chips, template
from services.remote_sdk.networks.convolution import folded
from services.remote_sdk.networks.dlib_format import Convolution, read_network
from services.remote_sdk.networks.frames import Frame, resized, resized_by_cuda
from services.remote_sdk.networks.landmarks_on_device import Landmarks5OnDevice
from services.remote_sdk.networks.mmod import FaceDetector
from services.remote_sdk.networks.precision import Precision, choose
from services.remote_sdk.networks.pyramid import layout
from services.remote_sdk.networks.resnet import FaceDescriber
from services.remote_sdk.stages.chain import Chain, Face, Job, Seen
from services.remote_sdk.stages.decode import AS_SHOWN, Limits, Wish, plain_jpeg
from services.remote_sdk.worker import Worker
from tests.photos import SHARED, astronaut_jpeg
from tests.unit.remote_sdk.looking import chain
from tests.unit.remote_sdk.models import library

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LIMITS = Limits(20_000_000, 20_000_000)
PARAMS = SdkParams(estimate_portrait=1, estimate_face_warp=1)


@cache
def chain_on_device() -> Chain:
    """As :func:`tests.unit.remote_sdk.looking.chain`, over tensors."""
    return replace(chain(), decoder=Uploading(Inside(LIMITS), CPU), landmarks=Landmarks5OnDevice(CPU))


def looked(by: Chain, data: bytes) -> Seen:
    [seen] = by.run([Job(Image(filename="photo", data=data), PARAMS, ("chip",))])
    assert isinstance(seen, Seen)
    return seen


def photos() -> list[bytes]:
    shared = [SHARED / "compreface/008_B.jpg", SHARED / "dlib_faces/2008_001009.jpg"]
    return [astronaut_jpeg(), *(path.read_bytes() for path in shared if path.is_file())]


def test_a_picture_on_the_device_shows_the_faces_that_it_shows_in_main_memory() -> None:
    describe = FaceDescriber(choose("cpu", "float32")).describe
    for data in photos():
        here, there = looked(chain(), data).faces, looked(chain_on_device(), data).faces
        assert [face.rect for face in here] == [face.rect for face in there]
        assert len(here) > 0
        for one, other in zip(here, there, strict=True):
            assert_same_face(one, other)
            chips = [one.crops["chip"], other.crops["chip"]]
            assert isinstance(chips[1], torch.Tensor)
            first, second = describe(chips[0][None])[0], describe(chips[1][None])[0]
            assert np.linalg.norm(first - second) < 0.06


def assert_same_face(one: Face, other: Face) -> None:
    assert one.score == pytest.approx(other.score, abs=1e-4)
    assert one.landmarks is not None
    assert np.abs(one.landmarks - other.landmarks).max() < 1
    assert one.fitness == pytest.approx(other.fitness, abs=0.02)
    assert (one.warp is None) == (other.warp is None)


def test_chips_of_pictures_on_the_device_and_of_warps_are_described_together() -> None:
    describer = DlibDescriptor(1001, FaceDescriber(choose("cpu", "float32")))
    [here], [there] = (looked(each, astronaut_jpeg()).faces for each in (chain(), chain_on_device()))
    one, other, again = describer.run([here.crops["chip"], there.crops["chip"], here.crops["chip"]])
    assert np.allclose(one, again)
    assert np.linalg.norm(one - other) < 0.06


@pytest.mark.parametrize("count", [1, 70])
def test_chips_are_the_same_on_a_device(count: int) -> None:
    picture = np.asarray(Pillow.open(io.BytesIO(astronaut_jpeg())).convert("RGB"))
    picture = np.concatenate([picture, picture[:, ::-1]], axis=1)  # 512 x 1024
    random = np.random.default_rng(5)
    # Of 20 to 900 pixels, turned, some of them half outside.
    turns = 10 ** random.uniform(1.3, 2.95, count) / 150 * np.exp(1j * random.uniform(-3, 3, count))
    places = random.uniform(0, 1024, count) + 1j * random.uniform(0, 512, count)
    points = places[:, None] + turns[:, None] * (template() @ [1, 1j] - 75 - 75j)
    landmarks = np.stack([points.real, points.imag], axis=-1)
    here, there = face_chips(picture, landmarks), face_chips(torch.from_numpy(picture.copy()), landmarks)
    assert isinstance(there, torch.Tensor)
    apart = np.abs(here.astype(int) - there.numpy())
    assert here.any(axis=(1, 2, 3)).mean() > 0.9
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.01
    assert face_chips(torch.from_numpy(picture.copy()), landmarks[:0]).shape == (0, 150, 150, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (9, 9)])
def test_a_picture_too_small_for_a_chip_gives_the_same_on_a_device(size: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 200, np.uint8)
    landmarks = np.stack([template() * 0.05, template() * 4])
    there = face_chips(torch.from_numpy(picture), landmarks)
    assert isinstance(there, torch.Tensor)
    assert np.abs(there.numpy().astype(int) - face_chips(picture, landmarks)).max() <= 1


@pytest.mark.parametrize("target", [(300, 400), (20, 80), (7, 2), (50, 3200), (600, 800)])
def test_pictures_are_resized_in_steps_that_cuda_can_take(
    target: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = torch.from_numpy(np.random.default_rng(6).integers(0, 256, (2, 3, 300, 6500), np.uint8))
    expected = resized(pixels, *target)
    seen: list[float] = []
    interpolate = torch.nn.functional.interpolate

    def watched(picture: torch.Tensor, size: list[int], **options: object) -> torch.Tensor:
        seen.extend(side / wanted for side, wanted in zip(picture.shape[2:], size, strict=True))
        return interpolate(picture, size, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.nn.functional, "interpolate", watched)
    found = resized_by_cuda(pixels, *target)
    assert max(seen) <= 32
    assert found.dtype == torch.uint8
    # In two steps every pixel counts, too, but those in the middle of one's share a little less.
    assert (found.int() - expected.int()).abs().max() <= (1 if max(6500 / target[1], 300 / target[0]) <= 32 else 3)


def test_channels_that_are_always_zero_change_no_score() -> None:
    layers = folded(read_network(builtin("dlib-mmod").read()).layers)
    convolutions = [layer for layer in layers if isinstance(layer, Convolution)]
    exact, canvas = choose("cpu", "float32"), torch.rand(1, 3, 120, 170) * 255 - 120
    wide = mmod._in_eights(convolutions)
    assert [layer.weight.shape[0] for layer in wide] == [16, 32, 32, 48, 48, 48, 1]
    with torch.inference_mode():
        scores, again = (mmod._build(each, exact)(canvas) for each in (convolutions, wide))
    assert torch.allclose(scores, again, atol=1e-5)


def test_a_batch_that_the_gpu_has_no_memory_for_goes_through_in_halves() -> None:
    batches: list[list[int]] = []

    def run(items: list[int]) -> list[int]:
        batches.append(items)
        if len(items) > 2 or 5 in items:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [item * item for item in items]

    *found, last = enduring(run)([1, 2, 3, 4, 5])
    assert found == [1, 4, 9, 16]
    assert isinstance(last, MienError)
    assert last.code is Code.OVERLOADED
    assert batches == [[1, 2, 3, 4, 5], [1, 2], [3, 4, 5], [3], [4, 5], [4], [5]]
    with pytest.raises(RuntimeError, match="illegal"):
        enduring(lambda items: (_ for _ in ()).throw(RuntimeError("illegal memory access")))([1, 2])


def test_a_process_whose_gpu_failed_ends_as_if_it_were_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(items: list[int]) -> list[int]:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nand more")

    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda process, told: sent.append((process, told)))
    with pytest.raises(MienError) as failed:
        enduring(run)([1, 2])
    assert failed.value.code is Code.ENGINE_FAILED
    assert sent == [(os.getpid(), signal.SIGTERM)]


def test_a_gpu_without_bf16_computes_in_fp32_that_is_not_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    for native, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, native=native: native)
        assert choose("auto") == Precision(CUDA, dtype)
        assert not torch.backends.cudnn.allow_tf32


# JPEGs that the device decodes


def jpeg(orientation: int = 1, mode: str = "RGB") -> bytes:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    encoded = io.BytesIO()
    Pillow.open(io.BytesIO(astronaut_jpeg())).resize((203, 100)).convert(mode).save(encoded, "JPEG", exif=exif)
    return encoded.getvalue()


def png() -> bytes:
    encoded = io.BytesIO()
    Pillow.new("RGB", (20, 10), "red").save(encoded, "PNG")
    return encoded.getvalue()


@pytest.fixture
def by_device() -> JpegsOnDevice:
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, OSError, RuntimeError) as reason:  # its library needs torch's default build
        pytest.skip(f"TorchCodec, which decodes on the device (mien[gpu]), cannot be loaded: {reason}")
    return JpegsOnDevice(Uploading(Inside(LIMITS), CPU), LIMITS, CPU)


@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_is_turned_on_the_device_as_it_is_in_main_memory(
    by_device: JpegsOnDevice, orientation: int, upright: bool
) -> None:
    data, wish = jpeg(orientation), Wish(upright=upright, with_exif=True)
    found, expected = by_device.decode(data, "image/jpeg", wish), Inside(LIMITS).decode(data, "image/jpeg", wish)
    assert found.frame.is_contiguous()  # type: ignore[union-attr]
    assert np.array_equal(found.pixels, expected.pixels)
    assert found.exif == expected.exif


def test_pictures_of_one_call_keep_their_order_and_their_own_errors(by_device: JpegsOnDevice) -> None:
    small = Limits(20_000_000, 10_000)
    by_device._limits, by_device._others = small, Uploading(Inside(small), CPU)
    asked = [jpeg(mode="L"), png(), b"no picture", jpeg(), jpeg(mode="CMYK"), jpeg()[:-2000], jpeg(6)]
    expected = Inside(small).decode_all([Encoded(data, None) for data in asked])
    found = by_device.decode_all([Encoded(data, None) for data in asked])
    for one, other in zip(found, expected, strict=True):
        if isinstance(other, MienError):
            assert isinstance(one, MienError)
            assert (one.code, one.detail) == (other.code, other.detail)
        else:
            assert isinstance(one, OnDevice)
            assert np.array_equal(one.pixels, other.pixels)


def test_a_jpeg_that_the_device_refuses_does_not_cost_those_beside_it(by_device: JpegsOnDevice) -> None:
    table = jpeg().index(b"\xff\xc4") + 5
    lost = jpeg()[:table] + b"\xff" * 16 + jpeg()[table + 16 :]
    first, broken, last = by_device.decode_all([Encoded(data, None) for data in (jpeg(), lost, jpeg(3))])
    assert isinstance(broken, MienError)
    assert broken.code is Code.BROKEN_IMAGE
    for found, data in ((first, jpeg()), (last, jpeg(3))):
        assert not isinstance(found, MienError)
        assert np.array_equal(found.pixels, Inside(LIMITS).decode(data, None).pixels)


def test_what_a_device_might_take_for_something_else_is_not_given_to_it() -> None:
    encoded = io.BytesIO()
    Pillow.open(io.BytesIO(astronaut_jpeg())).save(encoded, "JPEG", keep_rgb=True)
    for data in (encoded.getvalue(), jpeg(mode="CMYK"), png(), jpeg()[:-200]):
        assert plain_jpeg(data, None, LIMITS, AS_SHOWN) is None
    assert plain_jpeg(jpeg(), None, LIMITS, AS_SHOWN) is not None


# What is asked for and not there


async def test_a_device_that_is_to_decode_and_is_not_there_is_a_refusal_to_start() -> None:
    settings = SdkSettings(decode="device", device="cpu", workers=1)
    worker = Worker(settings, catalogue_of(settings))
    with pytest.raises(MienError, match=r"cannot start: the device is to decode JPEGs .* on the CPU"):
        await worker.start()
    await worker.stop()


def test_an_onnx_runtime_that_cannot_use_its_cuda_is_no_silent_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: asked)
    engine = OnnxRuntime(cuda=True)
    assert engine.where.device == "cuda"
    monkeypatch.undo()
    engine._providers = ["CPUExecutionProvider"]  # what is left of them where CUDA's libraries cannot be loaded
    with pytest.raises(EngineMissing, match="cannot use it here"):
        load(library().model("yunet"), [engine])


# Doubles


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=200), st.integers(1, 40))
def test_of_boxes_that_overlap_those_are_kept_that_greedy_suppression_keeps(
    spans: list[tuple[int, int]], block: int
) -> None:
    boxes = torch.tensor(spans, dtype=torch.float64).reshape(-1, 2)

    def same(some: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        return (some[:, None, 0] - others[None, :, 0]).abs() < torch.minimum(some[:, None, 1], others[None, :, 1])

    kept: list[int] = []
    for number in range(len(boxes)):
        if not kept or not same(boxes[number : number + 1], boxes[kept]).any():
            kept.append(number)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(suppression, "_BLOCK", block)
        assert suppression.strongest(boxes, same).tolist() == kept


# CUDA without a GPU: operations on tensors of two devices, or on a device that has none of them, are refused


@pytest.fixture
def fake_cuda() -> Iterator[None]:
    if torch.version.cuda is None:
        pytest.skip("torch's CPU build has no CUDA tensors, not even without data")
    with FakeTensorMode(allow_non_fake_inputs=True), torch.backends.cudnn.flags(enabled=False):
        yield


def frame(height: int = 480, width: int = 640) -> Frame:
    return torch.empty(height, width, 3, dtype=torch.uint8, device=CUDA)


@pytest.mark.usefixtures("fake_cuda")
def test_descriptors_are_computed_where_the_chips_are() -> None:
    network = FaceDescriber(Precision(CUDA, torch.bfloat16)).network
    described = network(torch.empty(4, 150, 150, 3, dtype=torch.uint8, device=CUDA))
    assert (described.device.type, tuple(described.shape)) == ("cuda", (4, 128))


@pytest.mark.usefixtures("fake_cuda")
def test_pyramid_network_and_boxes_of_the_detector_stay_on_the_device() -> None:
    detector, canvas = FaceDetector(Precision(CUDA, torch.bfloat16)), layout(320, 427, 2 / 3)
    scores = detector.scores([frame(), frame()], canvas)
    assert (scores.device.type, scores.dtype, len(scores)) == ("cuda", torch.float32, 2)
    boxes = canvas.in_image(torch.empty(5, 2, dtype=torch.int64, device=CUDA), 80, 80)
    assert (boxes.device.type, boxes.dtype) == ("cuda", torch.float64)


@pytest.mark.usefixtures("fake_cuda")
def test_points_and_chips_are_computed_where_the_picture_is() -> None:
    landmarks = Landmarks5OnDevice(CUDA)
    boxes = torch.empty(2, 4, dtype=torch.float64, device=CUDA)
    assert landmarks.points([frame(), frame(300, 200)], [1, 1], boxes).device.type == "cuda"
    points = np.array([[300, 200], [280, 200], [220, 200], [240, 200], [260, 260]])
    chips = face_chips(frame(), np.stack([points, points * 0.2]))
    assert isinstance(chips, torch.Tensor)
    assert (chips.device.type, chips.dtype, tuple(chips.shape)) == ("cuda", torch.uint8, (2, 150, 150, 3))
    assert resized(frame().permute(2, 0, 1)[None], 240, 320).dtype == torch.uint8  # type: ignore[union-attr]


def test_what_is_measured_on_a_gpu_can_be_run(capsys: pytest.CaptureFixture[str]) -> None:
    on_gpu.measure(1, "cpu", on_gpu.Sizes(matrix=64, chips=2, frames=1, callers=(2,)))
    printed = capsys.readouterr().out
    assert printed.count("face/s") == 2
    assert printed.count("frame/s") == 2
    assert "JPEGs decoded by: processes" in printed
    assert printed.count("p99") == 1
    assert printed.count("not run: ") == 2  # the CPU as a device decodes nothing
