"""The memory that a decoding process shares with ours: room for the bytes of a picture, then frames for pixels."""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

from services.remote_sdk.stages.decode import Limits

FRAMES = 2
"""One whose pixels may still be looked at, and one to decode into meanwhile."""


class Memory:
    """Pages nobody wrote to cost nothing, so there is room for the largest picture from the start.

    Both sides keep it mapped: fresh memory for every picture costs as much as decoding it.
    """

    def __init__(self, descriptor: int, limits: Limits) -> None:
        """Map the file of :func:`size_bytes` behind a descriptor, which may be closed afterwards."""
        self._map = mmap.mmap(descriptor, size_bytes(limits))
        self._inbox = _pages(limits.size_bytes)
        self.frame_bytes = _pages(3 * limits.pixels)

    def put(self, data: bytes) -> None:
        """Lay down the bytes of the next picture."""
        self._map[: len(data)] = data

    def bytes_of(self, size: int) -> memoryview:
        """The first ``size`` bytes that :meth:`put` laid down; not copied."""
        return memoryview(self._map)[:size].toreadonly()

    def frame(self, number: int) -> NDArray[np.uint8]:
        """All of a frame, uint8 (n,). The memory lives as long as any array that is made of it."""
        return np.frombuffer(self._map, np.uint8, self.frame_bytes, self._start(number))

    def trim(self, keep_bytes: int) -> None:
        """Give back the pages beyond the first ``keep_bytes`` of the room for bytes and of every frame."""
        starts = [(0, self._inbox), *((self._start(number), self.frame_bytes) for number in range(FRAMES))]
        kept = _pages(keep_bytes)
        for start, size in starts:
            if size > kept:
                self._map.madvise(mmap.MADV_REMOVE, start + kept, size - kept)

    def _start(self, number: int) -> int:
        return self._inbox + number * self.frame_bytes


def size_bytes(limits: Limits) -> int:
    return _pages(limits.size_bytes) + FRAMES * _pages(3 * limits.pixels)


def _pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
