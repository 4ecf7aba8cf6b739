"""What a detector is asked and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.remote_sdk.networks.frames import Frame


@dataclass(frozen=True)
class Detection:
    """A face, a body or a thing that was found.

    ``left`` .. ``bottom``: centres of the first and last pixel of the box, in pixels of the picture given; the width
    is right - left + 1, and a box may reach beyond the picture. ``score``: 0..1, comparable between detectors of one
    slot: from 0.5 on there is hardly a doubt. ``points``: float32 (5, 2), x and y of the eyes (that on the left of
    the picture first), the tip of the nose and the corners of the mouth (left first), where the detector finds them.
    """

    left: float
    top: float
    right: float
    bottom: float
    score: float
    points: NDArray[np.float32] | None = None
    label: str = ""

    @property
    def width(self) -> float:
        return self.right - self.left + 1

    @property
    def height(self) -> float:
        return self.bottom - self.top + 1

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def moved(self, x: float, y: float) -> Detection:
        """The same in a picture of which this one is the part that begins at (x, y)."""
        points = None if self.points is None else self.points + np.array([x, y], np.float32)
        return replace(
            self, left=self.left + x, top=self.top + y, right=self.right + x, bottom=self.bottom + y, points=points
        )


class Detector(Protocol):
    """Any number of threads may call it at once."""

    def detect(self, images: Sequence[Frame], long_side: int | None = None) -> list[list[Detection]]:
        """What is in each picture, of any sizes; best first.

        ``long_side``: pixels the longer side is scaled to before the search; None: what suits whole pictures.
        """
        ...
