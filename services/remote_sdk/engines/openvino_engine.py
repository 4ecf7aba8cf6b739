"""OpenVINO: the fastest engine on x86 CPUs, for ONNX, OpenVINO's own IR (.xml and .bin) and TFLite."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import openvino
import torch
from torch import nn

from services.remote_sdk.engines.openvino_resnet import graph_of
from services.remote_sdk.engines.port import Array, Network, OneByOne, Where, float32
from services.remote_sdk.models.library import Model
from services.remote_sdk.models.manifest import BadManifest
from services.remote_sdk.networks.resnet import Describing

log = logging.getLogger("mien.sdk")

_AWAY = {"fp32": 1e-4, "bf16": 0.05}
"""How far the values of an adopted network may lie from those of torch."""


class OpenVino:
    """On the CPU. ``threads`` callers run networks at once, each with one thread of its own."""

    def __init__(self, *, bf16: bool, threads: int) -> None:
        version = openvino.get_version().split("-")[0]
        self.where = Where(f"openvino {version}", "cpu", "bf16" if bf16 else "fp32")
        self._core = openvino.Core()
        self._options = {
            # Left to itself OpenVINO takes bf16 wherever the CPU has it, also where that is slower.
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
            "NUM_STREAMS": threads,
            "INFERENCE_NUM_THREADS": threads,
            # The machine is shared: threads nailed to a core wait for whoever else runs there.
            "ENABLE_CPU_PINNING": False,
        }

    def reads(self, file: str) -> bool:
        return PurePosixPath(file).suffix in (".onnx", ".xml", ".tflite")

    def load(self, model: Model, network: str) -> Network:
        described = model.manifest.networks[network]
        inputs, outputs = list(described.inputs), list(described.outputs)
        try:
            graph = self._read(model, described.files)
            if not _is_for_one(graph):
                return _Compiled(self._compiled(graph), inputs, outputs)
            one = _Compiled(self._compiled(graph), inputs, outputs)
            return self._for_many(graph.clone(), one, inputs, outputs) or OneByOne(one)
        except RuntimeError as wrong:
            reason = str(wrong).strip().splitlines()[-1]
            raise BadManifest(f"model {model.name}: OpenVINO cannot open {network}: {reason}") from wrong

    def adopt(self, network: nn.Module, example: Array) -> Callable[[Array], Array] | None:
        if not isinstance(network, Describing):
            return None
        compiled = _Compiled(self._compiled(graph_of(network)), ["chips"], ["descriptors"])

        def run(items: Array) -> Array:
            return compiled.run({"chips": items})["descriptors"]

        with torch.inference_mode():
            away = float(np.abs(run(example) - network(torch.from_numpy(example)).numpy()).max())
        if away <= _AWAY[self.where.precision]:
            return run
        log.warning("torch runs the built-in descriptor: %s is off by %.2g", self.where.provider, away)
        return None

    def _compiled(self, graph: openvino.Model) -> openvino.CompiledModel:
        return self._core.compile_model(graph, "CPU", self._options)

    def _for_many(
        self, graph: openvino.Model, one: _Compiled, inputs: list[str], outputs: list[str]
    ) -> _Compiled | None:
        """A network that was written for one picture, for any number; None where it mixes what it should keep apart.

        Some graphs have the batch of one written into a reshaping in their middle. Where that fixes the batch of an
        output the graph must not run, for it writes beyond its memory; where it does not, it is tried.
        """
        probe = {each.any_name: _noise(each) for each in graph.inputs}
        try:
            _free_batch(graph)
        except RuntimeError:
            return None
        if not all(each.partial_shape[0].is_dynamic for each in graph.outputs):
            return None
        singles = [one.run({name: array[at : at + 1] for name, array in probe.items()}) for at in range(2)]
        try:
            many = _Compiled(self._compiled(graph), inputs, outputs)
            together = many.run(probe)
        except RuntimeError:
            return None
        apart = {name: np.concatenate([single[name] for single in singles]) for name in outputs}
        same = all(
            apart[name].shape == together[name].shape and np.allclose(apart[name], together[name], rtol=0.05, atol=0.05)
            for name in outputs
        )
        return many if same else None

    def _read(self, model: Model, files: list[str]) -> openvino.Model:
        contents = [model.read(file) for file in files]
        if not files[0].endswith(".tflite"):
            return self._core.read_model(contents[0], contents[1] if len(contents) > 1 else b"")
        # TFLite is read from files only; the copy holds exactly the bytes that were checked.
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "model.tflite"
            copy.write_bytes(contents[0])
            return self._core.read_model(copy)


class _Compiled:
    def __init__(self, compiled: openvino.CompiledModel, inputs: list[str], outputs: list[str]) -> None:
        for name in inputs:
            compiled.input(name)  # raises RuntimeError for a name that is not there
        self._compiled = compiled
        self._outputs = {name: compiled.outputs.index(compiled.output(name)) for name in outputs}
        self._own = threading.local()

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        request = getattr(self._own, "request", None)
        if request is None:
            request = self._own.request = self._compiled.create_infer_request()
        # Not copied: this request is the caller's own, and it has ended when the arrays may go.
        request.infer(dict(inputs), share_inputs=True)
        # Copied: the request's own memory is written again by the next run.
        return {name: float32(request.get_output_tensor(index).data).copy() for name, index in self._outputs.items()}


def _is_for_one(graph: openvino.Model) -> bool:
    """Whether every size of every input is fixed, and the first is 1."""
    return all(each.partial_shape.is_static and each.shape[0] == 1 for each in graph.inputs)


def _free_batch(graph: openvino.Model) -> None:
    """Let the first dimension of every input be of any size. Raises RuntimeError where the graph is built for one."""
    shapes = {each: each.get_partial_shape() for each in graph.inputs}
    for shape in shapes.values():
        shape[0] = openvino.Dimension(-1)
    graph.reshape(shapes)


def _noise(described: openvino.Output) -> Array:
    """Two items for an input that takes one."""
    shape = [2, *map(int, list(described.shape)[1:])]
    return (np.random.default_rng(0).random(shape) * 255).astype(described.element_type.to_dtype())
