"""Engines: the same arrays from each, any batch size, honest names; pictures prepared as manifests say."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from torch import nn

from libs.common.settings import SdkSettings
from services.remote_sdk.engines import choose as chooser
from services.remote_sdk.engines.choose import engines
from services.remote_sdk.engines.net import load, prepared
from services.remote_sdk.engines.onnx_engine import OnnxRuntime
from services.remote_sdk.engines.openvino_engine import OpenVino
from services.remote_sdk.engines.port import Engine, EngineMissing
from services.remote_sdk.loading import catalogue_of, open_models
from services.remote_sdk.models.library import Library
from services.remote_sdk.models.manifest import BadManifest, Picture
from services.remote_sdk.networks.precision import choose
from services.remote_sdk.networks.resnet import Describing, FaceDescriber
from tests.unit.remote_sdk.models import constant, describe, library, network

EXACT = choose("cpu", "float32")
ENGINES: dict[str, Callable[[], Engine]] = {
    "openvino": lambda: OpenVino(bf16=False, threads=2),
    "onnxruntime": lambda: OnnxRuntime(cuda=False),
}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param]()


def mean_of_channels(helper):
    return [helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)]


def own(folder: Path, weights: bytes, files: str = '["own.onnx"]', outputs: str = 'y = "means"') -> Library:
    picture = f"files = {files}\ninputs.x = {{ width = 4, height = 2 }}"
    describe(
        folder / "own",
        "own",
        "emotions",
        "emotions",
        weights,
        **{"networks.main": picture, "networks.main.outputs": outputs},
    )
    return Library(folder)


@pytest.mark.parametrize("batch", ["n", 1])
def test_every_engine_gives_the_same_for_every_batch_size(tmp_path: Path, engine: Engine, batch: str | int) -> None:
    weights = network(mean_of_channels, {"x": [batch, 3, 2, 4]}, {"y": [batch, 3]})
    net = load(own(tmp_path, weights).model("own"), [engine]).net
    pictures = [np.full((2, 4, 3), (value, 2 * value, 255), np.uint8) for value in (1, 50, 100, 7)]
    for count in (1, 4, 2):
        found = net.see(pictures[:count])["y"]
        assert found.dtype == np.float32
        assert np.allclose(found, [[p[0, 0, 0], p[0, 0, 1], 255] for p in pictures[:count]], atol=1e-3)


def test_the_catalogues_networks_give_the_same_in_both_engines() -> None:
    rng = np.random.default_rng(1)
    for name in ("yunet", "face-api-age-gender", "minifasnet", "mobilefacenet"):
        model = library().model(name)
        for part, net in load(model, [ENGINES["openvino"]()]).nets.items():
            picture = net.described.picture[1]
            size = (picture.height or 64, picture.width or 96, 3)
            pictures = [rng.integers(0, 256, size, dtype=np.uint8) for _ in range(2)]
            other = load(model, [ENGINES["onnxruntime"]()]).nets[part].see(pictures)
            for output, values in net.see(pictures).items():
                assert np.abs(values - other[output]).max() < 1e-3 * max(1, np.abs(values).max()), (name, output)


def test_threads_share_a_network(tmp_path: Path, engine: Engine) -> None:
    weights = network(mean_of_channels, {"x": ["n", 3, 2, 4]}, {"y": ["n", 3]})
    net = load(own(tmp_path, weights).model("own"), [engine]).net

    def mean(value: int) -> float:
        return float(net.see([np.full((2, 4, 3), value, np.uint8)] * (1 + value % 3))["y"][-1, 0])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(mean, range(200))) == pytest.approx(list(range(200)))


def test_what_the_manifest_says_of_the_network_has_to_be_so(tmp_path: Path, engine: Engine) -> None:
    weights = network(mean_of_channels, {"x": ["n", 3, 2, 4]}, {"y": ["n", 3]})
    with pytest.raises(BadManifest, match="own: "):
        load(own(tmp_path / "a", weights, outputs='z = "nowhere"').model("own"), [engine])
    with pytest.raises(BadManifest, match="own: "):
        load(own(tmp_path / "b", b"no network at all").model("own"), [engine])


def test_a_format_that_nothing_reads_is_named() -> None:
    with pytest.raises(EngineMissing, match=r"nothing here runs .*\.xml"):
        load(library().model("head-pose-estimation-adas-0001"), [OnnxRuntime(cuda=False)])
    with pytest.raises(EngineMissing, match="nothing here runs"):
        load(library().model("yunet"), [])


def test_an_engine_is_chosen_at_start_and_says_where_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    [usual] = engines("auto", EXACT, 1)
    assert (usual.where.provider.split()[0], usual.where.device, usual.where.precision) == ("openvino", "cpu", "fp32")
    [short] = engines("openvino", choose("cpu", "bfloat16"), 1)
    assert short.where.precision == "bf16"
    [other] = engines("onnxruntime", choose("cpu", "bfloat16"), 1)
    assert (other.where.provider.split()[0], other.where.precision) == ("onnxruntime", "fp32")
    monkeypatch.setattr(chooser, "_has", lambda package: package == "onnxruntime")
    assert [each.where.provider.split()[0] for each in engines("auto", EXACT, 1)] == ["onnxruntime"]
    with pytest.raises(EngineMissing, match=r"pip install 'mien\[openvino\]'"):
        engines("openvino", EXACT, 1)
    monkeypatch.setattr(chooser, "_has", lambda package: False)
    assert engines("auto", EXACT, 1) == []


def test_openvino_runs_the_built_in_descriptor_as_torch_defines_it(monkeypatch: pytest.MonkeyPatch) -> None:
    openvino, torch_alone = OpenVino(bf16=False, threads=1), FaceDescriber(EXACT)
    adopted = FaceDescriber(EXACT, adopt=openvino.adopt)
    chips = np.random.default_rng(2).integers(0, 256, (19, 150, 150, 3), dtype=np.uint8)
    monkeypatch.setattr(adopted.network, "forward", None)  # torch has no part in it
    for count in (1, 19, 8, 0):
        found = adopted.describe(chips[:count])
        assert found.shape == (count, 128)
        assert np.abs(found - torch_alone.describe(chips[:count])).max(initial=0) < 1e-5


def test_an_engine_that_gives_something_else_than_torch_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    example = np.zeros((2, 150, 150, 3), np.uint8)
    network = FaceDescriber(EXACT).network
    assert OnnxRuntime(cuda=False).adopt(network, example) is None
    assert OpenVino(bf16=False, threads=1).adopt(nn.Identity(), example) is None
    monkeypatch.setattr(network, "forward", lambda chips: Describing.forward(network, chips) + 0.001)
    assert OpenVino(bf16=False, threads=1).adopt(network, example) is None


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_it_is_reported_where_the_built_in_descriptor_runs(
    tmp_path: Path, engine: Literal["openvino", "onnxruntime"]
) -> None:
    settings = SdkSettings(models_dir=tmp_path, engine=engine, device="cpu")
    models = open_models(settings, catalogue_of(settings), 1)
    expected = {"openvino": "openvino", "onnxruntime": "torch"}[engine]
    assert models.where["dlib-resnet"].provider.split()[0] == expected
    assert models.where["dlib-mmod"].provider.split()[0] == "torch"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Picture(width=2, height=1), [[[10, 10]], [[20, 20]], [[40, 40]]]),
        (Picture(width=2, height=1, colour="BGR", scale=(10.0,)), [[[4, 4]], [[2, 2]], [[1, 1]]]),
        (Picture(width=2, height=1, mean=(10.0, 0.0, 20.0), scale=(1.0, 2.0, 4.0)), [[[0, 0]], [[10, 10]], [[5, 5]]]),
        (Picture(width=2, height=1, layout="NHWC"), [[[10, 20, 40], [10, 20, 40]]]),
        (Picture(width=2, height=1, colour="grey"), [[[19.29, 19.29]]]),
    ],
)
def test_a_picture_is_prepared_as_the_manifest_says(wanted: Picture, expected: list) -> None:
    picture = np.full((3, 5, 3), (10, 20, 40), np.uint8)
    array = prepared([picture, picture], wanted)
    assert array.dtype == np.float32
    assert np.allclose(array, [expected, expected], atol=1e-3)


def test_a_network_that_mixes_a_batch_is_run_one_by_one(tmp_path: Path, engine: Engine) -> None:
    """MobileFaceNet has a reshaping to one row in its middle; so has this network."""

    def one_row(helper):
        return [constant(helper, "row", np.array([1, -1], np.int64)), helper.make_node("Reshape", ["x", "row"], ["y"])]

    weights = network(one_row, {"x": [1, 3, 2, 4]}, {"y": [1, 24]})
    net = load(own(tmp_path, weights).model("own"), [engine]).net
    found = net.see([np.full((2, 4, 3), value, np.uint8) for value in (3, 5)])["y"]
    assert found.tolist() == [[3.0] * 24, [5.0] * 24]
