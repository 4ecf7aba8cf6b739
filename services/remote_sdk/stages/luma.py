"""Brightness of pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue, by Rec. ITU-R BT.601


def luma_of(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """float32 (...), 0..255, of RGB pixels (..., 3), 0..255."""
    return pixels.astype(np.float32) @ _WEIGHTS
