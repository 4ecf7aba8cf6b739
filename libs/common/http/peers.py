"""The processes of a service as its callers see them: each call goes to another one, those that are away come last."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

AWAY_S = 2.0
"""How long one that could not be reached is asked last."""


class Peers:
    """Addresses (``http://host:port``) of equal processes."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = list(addresses)
        self._turn = itertools.count()
        self._away_until: dict[str, float] = {}

    def in_turn(self) -> list[str]:
        """Every address once: the next one first, those that are away last."""
        first = next(self._turn) % len(self._addresses)
        rotated = self._addresses[first:] + self._addresses[:first]
        now = time.monotonic()
        return sorted(rotated, key=lambda address: self._away_until.get(address, 0.0) > now)

    def away(self, address: str) -> None:
        """Remember that ``address`` could not be reached."""
        self._away_until[address] = time.monotonic() + AWAY_S
