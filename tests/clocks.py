"""A clock that tests turn."""

from __future__ import annotations


class Clock:
    """Milliseconds since 1970; they pass when the test says so."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, seconds: float = 0, *, hours: float = 0) -> None:
        self.now_ms += round((seconds + 3600 * hours) * 1000)
