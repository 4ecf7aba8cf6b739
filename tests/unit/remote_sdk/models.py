"""The optional models of the shared set, and tiny models of the tests' own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.remote_sdk.engines.net import Loaded, load
from services.remote_sdk.engines.openvino_engine import OpenVino
from services.remote_sdk.models.library import Library
from tests.photos import SHARED

FOLDER = SHARED.parent / "models"


def library() -> Library:
    """Every model of the project, those in the shared folder installed. Skips the test when there is no such folder."""
    if not FOLDER.is_dir():
        pytest.skip(f"no models in {FOLDER}: set MIEN_SHARED to the images beside the shared models")
    return Library(FOLDER)


@cache
def opened(name: str) -> Loaded:
    """A model of the shared folder in fp32 on one thread. Skips the test when it is not there."""
    model = library().model(name)
    if not model.installed:
        pytest.skip(f"model {name} is not in {FOLDER}")
    return load(model, [OpenVino(bf16=False, threads=1)])


def describe(folder: Path, name: str, kind: str, slot: str, weights: bytes, **parts: str) -> Path:
    """A folder with weights and the manifest of a model of an operator's own; ``parts`` are tables of TOML."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "own.onnx").write_bytes(weights)
    head = {"name": name, "title": name, "version": "1", "kind": kind, "licence": "MIT"}
    head |= {"upstream": "https://example.org", "training_data": "none"}
    lines = [*(f'{key} = "{value}"' for key, value in head.items()), f'slots = ["{slot}"]', "preference = 50"]
    lines += ["[[files]]", 'path = "own.onnx"', f'sha256 = "{hashlib.sha256(weights).hexdigest()}"']
    lines += [f"size_bytes = {len(weights)}", *(f"[{table}]\n{text}" for table, text in parts.items())]
    (folder / "manifest.toml").write_text("\n".join(lines))
    return folder


def network(build: Callable[[Any], list[Any]], inputs: dict[str, list[Any]], outputs: dict[str, list[Any]]) -> bytes:
    """A tiny ONNX file: ``build`` gets onnx.helper and gives the nodes; shapes may hold names for free sizes."""
    onnx = pytest.importorskip("onnx", reason="onnx writes the tests' tiny networks")
    values = [
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in each.items()]
        for each in (inputs, outputs)
    ]
    graph = onnx.helper.make_graph(build(onnx.helper), "tiny", *values)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def constant(helper: Any, name: str, array: Any) -> Any:
    """A node that gives always the same array."""
    onnx = pytest.importorskip("onnx")
    return helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(array, name))


def always(outputs: dict[str, np.ndarray], side: int) -> bytes:
    """A network of pictures, (1, 3, side, side), as "x", whose outputs do not depend on them."""

    def nodes(helper: Any) -> list[Any]:
        zero = [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0, 1, 2, 3], keepdims=0),
            constant(helper, "none", np.zeros((), np.float32)),
            helper.make_node("Mul", ["mean", "none"], ["zero"]),
        ]
        for name, array in outputs.items():
            zero += [constant(helper, f"{name}_", array), helper.make_node("Add", [f"{name}_", "zero"], [name])]
        return zero

    return network(nodes, {"x": [1, 3, side, side]}, {name: list(array.shape) for name, array in outputs.items()})
