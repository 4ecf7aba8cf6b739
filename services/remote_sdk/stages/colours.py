"""The wire's words for the colours of clothes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.remote_sdk.stages.crops import Pixels

BLACK, WHITE, GRAY, BROWN, BEIGE, KHAKI = "black", "white", "gray", "brown", "beige", "khaki"
MULTICOLORED, UNDEFINED = "multicolored", "undefined"

Floats = NDArray[np.floating]

_ENOUGH = 0.6  # of the pixels: one colour, or two
_SECOND = 0.3

# Upper ends of hues in degrees, as painters' wheels and CSS's named colours divide them.
_HUES = ((15, "red"), (42, "orange"), (68, "yellow"), (165, "green"), (258, "blue"), (300, "purple"), (345, "pink"))


def colours(pixels: Pixels) -> list[str]:
    """What somebody would call a piece of cloth, uint8 (h, w, 3), RGB: one word or two, or "multicolored"."""
    words, counts = np.unique(names(pixels), return_counts=True)
    shares = sorted(zip((counts / counts.sum()).tolist(), words.tolist(), strict=True), reverse=True)
    if shares[0][0] >= _ENOUGH:
        return [shares[0][1]]
    if len(shares) > 1 and shares[1][0] >= _SECOND:
        return [shares[0][1], shares[1][1]]
    return [MULTICOLORED]


def names(pixels: Pixels) -> NDArray[np.str_]:
    """The colour of each pixel by itself, (h * w,). By hue, saturation and value (Smith, 1978); the limits were set
    by looking at the test photos."""
    rgb = pixels.reshape(-1, 3).astype(np.float32) / 255
    value, chroma = rgb.max(1), rgb.max(1) - rgb.min(1)
    saturation = chroma / np.maximum(value, 1e-6)
    hue = _hue_deg(rgb, value, chroma)
    named = np.full(len(rgb), "red", dtype="<U16")
    for end, word in reversed(_HUES):
        named[hue < end] = word
    warm = (hue >= 15) & (hue < 68)
    named[warm & (value < 0.6)] = BROWN
    named[warm & (saturation < 0.45) & (value >= 0.6)] = BEIGE
    named[(hue >= 42) & (hue < 90) & (saturation < 0.6) & (value < 0.6)] = KHAKI
    reddish = (hue < 15) | (hue >= 345)
    named[reddish & (value < 0.4)] = BROWN
    named[reddish & (saturation < 0.45) & (value >= 0.6)] = "pink"
    named[saturation < 0.16] = GRAY
    named[(saturation < 0.16) & (value > 0.75)] = WHITE
    named[(value < 0.2) | ((value < 0.3) & (saturation < 0.35))] = BLACK
    return named


def _hue_deg(rgb: Floats, value: Floats, chroma: Floats) -> Floats:
    """0..360; 0 for greys."""
    red, green, blue = rgb.T
    safe = np.maximum(chroma, 1e-6)
    sixth = np.where(
        value == red,
        ((green - blue) / safe) % 6,
        np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    return np.where(chroma == 0, 0, sixth * 60)
