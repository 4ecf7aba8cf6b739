"""Mien: an open face-and-body event platform. The client is here by name: ``from mien import MienClient``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from libs.client import BlockingMienClient, MienApiError, MienClient, MienUnreachable

__all__ = ["BlockingMienClient", "MienApiError", "MienClient", "MienUnreachable"]


def __getattr__(name: str) -> Any:
    """Load the client when it is asked for, so that ``python -m mien`` starts without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import libs.client

    return getattr(libs.client, name)
