"""Which engines run the files of the catalogue in this process."""

from __future__ import annotations

import importlib.util

from services.remote_sdk.engines.port import Engine, EngineMissing
from services.remote_sdk.networks.precision import Precision

_HINT = "pip install 'mien[openvino]' (or 'mien[onnx]', for .onnx files only)"


def engines(wanted: str, precision: Precision, threads: int) -> list[Engine]:
    """The engines beside torch, which runs the built-in networks; the first that reads a file is to run it.

    ``wanted``: "auto", "openvino" or "onnxruntime"; ``precision`` is that of the process, ``threads`` how many of its
    threads compute. Auto is OpenVINO, else ONNX Runtime, and before both ONNX Runtime on a GPU where the process uses
    one and the package can. None is installed, none is given. Raises EngineMissing when the one that is wanted is not.
    """
    on_gpu = precision.device.type == "cuda"
    if wanted != "auto" and not _has(wanted):
        extra = "openvino" if wanted == "openvino" else "onnx"
        raise EngineMissing(f"engine {wanted} was asked for and is not installed: pip install 'mien[{extra}]'")
    found: list[Engine] = []
    if on_gpu and wanted == "auto" and _has("onnxruntime"):
        found += [engine for engine in (_onnx(cuda=True),) if engine.where.device == "cuda"]
    if wanted != "onnxruntime" and _has("openvino"):
        # What runs on the CPU beside a GPU is exact: bf16 was chosen for the GPU.
        found.append(_openvino(bf16=precision.is_bf16 and not on_gpu, threads=threads))
    elif wanted != "openvino" and _has("onnxruntime") and not found:
        found.append(_onnx(cuda=on_gpu))
    return found


def readable(file: str, wanted: str) -> bool:
    """Whether an engine that is installed and wanted opens files of this name's format."""
    if wanted != "onnxruntime" and _has("openvino") and file.endswith((".onnx", ".xml", ".tflite")):
        return True
    return wanted != "openvino" and _has("onnxruntime") and file.endswith(".onnx")


def hint(file: str) -> str:
    """How to have an engine for files of this name's format."""
    return (
        _HINT if file.endswith(".onnx") else "only OpenVINO does; pip install 'mien[openvino]' (MIEN_SDK_ENGINE=auto)"
    )


def _openvino(*, bf16: bool, threads: int) -> Engine:
    from services.remote_sdk.engines.openvino_engine import OpenVino

    return OpenVino(bf16=bf16, threads=threads)


def _onnx(*, cuda: bool) -> Engine:
    from services.remote_sdk.engines.onnx_engine import OnnxRuntime

    return OnnxRuntime(cuda=cuda)


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
