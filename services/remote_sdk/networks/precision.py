"""Where the networks run and in which number format."""

import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 (the name everybody uses)

Device = Literal["auto", "cpu", "cuda"]
Format = Literal["auto", "float32", "bfloat16"]

_BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
_WORTHWHILE = 1.2  # bf16 costs accuracy (descriptors move by 0.009 on average): take it only for a real gain


class DeviceMissing(Exception):
    """The device asked for is not on this machine."""


@dataclass(frozen=True)
class Precision:
    """Device and number format of the convolutions; inputs and outputs of a network do not depend on it."""

    device: torch.device
    dtype: torch.dtype

    @property
    def is_bf16(self) -> bool:
        return self.dtype is torch.bfloat16


def choose(device: Device = "auto", dtype: Format = "auto") -> Precision:
    """Choose device and format. "auto": CUDA if there is one, bf16 where it is faster, else fp32.

    A GPU has bf16 from Ampere on; on an older one cuDNN has no kernels for it. fp32 is fp32 on a GPU, too, in the whole
    process: left to itself torch has cuDNN round to the 10 bits of TF32.

    A CPU flag alone does not make bf16 faster: Zen 4 doubles the speed of fp32 (models.md section 2), a Sapphire
    Rapids without AMX halves it (76 against 160 GFLOP/s, `python -m bench.inference`). So a CPU with the flag is
    timed once per process, which takes about 10 ms.

    Raises DeviceMissing when CUDA is asked for and absent.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceMissing("device cuda was asked for, but torch sees no CUDA device")
    chosen = torch.device("cuda" if on_gpu(device) else "cpu")
    if chosen.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    if dtype == "auto":
        native = torch.cuda.is_bf16_supported(including_emulation=False) if chosen.type == "cuda" else bf16_pays()
        return Precision(chosen, torch.bfloat16 if native else torch.float32)
    return Precision(chosen, torch.bfloat16 if dtype == "bfloat16" else torch.float32)


def on_gpu(device: Device) -> bool:
    """Whether networks run on a GPU."""
    return device != "cpu" and torch.cuda.is_available()


@functools.cache
def bf16_pays() -> bool:
    """Whether this CPU has bf16 instructions and convolves faster with them than with fp32."""
    if not _cpu_flags() & _BF16_FLAGS:
        return False
    seconds = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    # The best of interleaved runs: another process on the core slows some of them, hardly all of one format.
    for _ in range(6):
        for dtype in seconds:
            seconds[dtype] = min(seconds[dtype], _convolution_s(dtype))
    return seconds[torch.float32] > _WORTHWHILE * seconds[torch.bfloat16]


def _cpu_flags() -> set[str]:
    """CPU feature flags by Linux's names; empty elsewhere, which means fp32."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())


@torch.inference_mode()
def _convolution_s(dtype: torch.dtype) -> float:
    """Seconds of one convolution as the face networks have them, 0.05 GFLOP."""
    image = torch.ones(1, 64, 38, 38, dtype=dtype).contiguous(memory_format=torch.channels_last)
    weight = torch.ones(64, 64, 3, 3, dtype=dtype).contiguous(memory_format=torch.channels_last)
    start = time.perf_counter()
    F.conv2d(image, weight)
    return time.perf_counter() - start
