"""ONNX Runtime: for ONNX files where OpenVINO cannot be had, and on NVIDIA GPUs (package onnxruntime-gpu)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime
from torch import nn

from services.remote_sdk.engines.port import Array, EngineMissing, Network, OneByOne, Where, float32
from services.remote_sdk.models.library import Model
from services.remote_sdk.models.manifest import BadManifest

_CUDA = "CUDAExecutionProvider"
_ON_CUDA = {
    # By default every shape of input, so every number of faces, begins with a trial of all of cuDNN's algorithms.
    "cudnn_conv_algo_search": "HEURISTIC",
    # By default it takes twice as much of the GPU's memory each time, beside torch.
    "arena_extend_strategy": "kSameAsRequested",
    "use_tf32": "0",
}


class OnnxRuntime:
    """In fp32, on the GPU where ``cuda`` is wished for and the package can; callers compute on their own thread."""

    def __init__(self, *, cuda: bool) -> None:
        on_cuda = cuda and self.has_cuda()
        self._providers = [*[(_CUDA, _ON_CUDA)] * on_cuda, "CPUExecutionProvider"]
        self.where = Where(f"onnxruntime {onnxruntime.__version__}", "cuda" if on_cuda else "cpu", "fp32")
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = 1
        self._options.inter_op_num_threads = 1
        self._options.log_severity_level = 3

    @staticmethod
    def has_cuda() -> bool:
        return _CUDA in onnxruntime.get_available_providers()

    def reads(self, file: str) -> bool:
        return file.endswith(".onnx")

    def load(self, model: Model, network: str) -> Network:
        described = model.manifest.networks[network]
        content = model.read(described.files[0])
        try:
            session = onnxruntime.InferenceSession(content, self._options, providers=self._providers)
        except Exception as wrong:  # the library has no base class of its own errors
            raise BadManifest(f"model {model.name}: ONNX Runtime cannot open {network}: {wrong}") from wrong
        if self.where.device == "cuda" and _CUDA not in session.get_providers():
            raise EngineMissing(f"model {model.name}: ONNX Runtime has CUDA and cannot use it here; its log says why")
        session.disable_fallback()  # to the CPU, for good, after the first failure of the GPU
        lost = set(described.inputs) - {each.name for each in session.get_inputs()}
        lost |= set(described.outputs) - {each.name for each in session.get_outputs()}
        if lost:
            raise BadManifest(f"model {model.name}: network {network} has no {', '.join(sorted(lost))}")
        opened = _Session(session, list(described.outputs))
        return OneByOne(opened) if any(each.shape[0] == 1 for each in session.get_inputs()) else opened

    def adopt(self, network: nn.Module, example: Array) -> None:
        """It takes files only, and torch writes them by a package of its own."""


class _Session:
    def __init__(self, session: onnxruntime.InferenceSession, outputs: list[str]) -> None:
        self._session = session
        self._outputs = outputs

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        found = self._session.run(self._outputs, dict(inputs))
        return {name: float32(np.asarray(array)) for name, array in zip(self._outputs, found, strict=True)}
