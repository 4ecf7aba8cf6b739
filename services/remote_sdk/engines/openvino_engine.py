"""OpenVINO: the fastest engine on x86 CPUs, for ONNX, OpenVINO's own IR (.xml and .bin) and TFLite."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import openvino

from services.remote_sdk.engines.port import Array, Where, float32
from services.remote_sdk.models.library import Model
from services.remote_sdk.models.manifest import BadManifest


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

    def load(self, model: Model, network: str) -> _Compiled:
        described = model.manifest.networks[network]
        try:
            graph = self._read(model, described.files)
            _free_batch(graph)
            compiled = self._core.compile_model(graph, "CPU", self._options)
            return _Compiled(compiled, list(described.inputs), list(described.outputs))
        except RuntimeError as wrong:
            reason = str(wrong).strip().splitlines()[-1]
            raise BadManifest(f"model {model.name}: OpenVINO cannot open {network}: {reason}") from wrong

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
        request.infer(dict(inputs))
        # Copied: the request's own memory is written again by the next run.
        return {name: float32(request.get_output_tensor(index).data).copy() for name, index in self._outputs.items()}


def _free_batch(graph: openvino.Model) -> None:
    """Let the first dimension of every input be of any size. Raises RuntimeError where the graph is built for one."""
    shapes = {each: each.get_partial_shape() for each in graph.inputs}
    for shape in shapes.values():
        shape[0] = openvino.Dimension(-1)
    graph.reshape(shapes)
