"""What benchmarks say of the times they took."""

from __future__ import annotations

from collections.abc import Sequence


def p99(times: Sequence[float]) -> float:
    """At most one time in a hundred was longer."""
    return sorted(times)[min(len(times) - 1, int(len(times) * 0.99))]
