"""What decodes pictures for the compute threads."""

from __future__ import annotations

from typing import Protocol

from services.remote_sdk.stages.decode import AS_SHOWN, Limits, Picture, Wish, decode


class Decoder(Protocol):
    """Any number of threads may call it at once."""

    def decode(self, data: bytes, content_type: str | None, wish: Wish = AS_SHOWN) -> Picture:
        """See :func:`services.remote_sdk.stages.decode.decode`.

        Raises what that raises, and BROKEN_IMAGE for a picture that makes the decoder die or takes it too long.
        """
        ...

    def close(self) -> None:
        """Free what the decoder holds; nothing may be decoded afterwards."""
        ...


class Inside:
    """Decodes in this process, where a picture that crashes a parser takes the service with it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def decode(self, data: bytes, content_type: str | None, wish: Wish = AS_SHOWN) -> Picture:
        return decode(data, content_type, self._limits, wish)

    def close(self) -> None:
        """Holds nothing."""
