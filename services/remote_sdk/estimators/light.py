"""Crops brought into the light that networks were taught in."""

from __future__ import annotations

import numpy as np

from services.remote_sdk.stages.crops import Pixels
from services.remote_sdk.stages.luma import luma_of

_LEVEL, _SPREAD = (115.0, 135.0), (50.0, 75.0)
_LEAST = 1.0


def well_lit(pixels: Pixels) -> Pixels:
    """A crop, uint8 (h, w, 3), RGB, whose brightness (0..255) is 115 to 135 on the average and deviates by 50 to 75.

    What is so already stays; all else is shifted and stretched no more than it takes. Without it, in photos at 30 % of
    their light, 40 of 42 faces without glasses seem to wear some (with it 3, in full light 2), and of 60 faces the
    pitch moves by 9.6 degrees on the average (1.3), the age by 4.3 years (0.8).
    """
    luma = luma_of(pixels)
    level, spread = float(luma.mean()), max(float(luma.std()), _LEAST)
    gain, wanted = min(max(spread, _SPREAD[0]), _SPREAD[1]) / spread, min(max(level, _LEVEL[0]), _LEVEL[1])
    if gain == 1 and wanted == level:
        return pixels
    return ((pixels - np.float32(level)) * np.float32(gain) + np.float32(wanted)).clip(0, 255).astype(np.uint8)
