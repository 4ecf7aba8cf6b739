"""What decodes pictures for the compute threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from libs.common.errors import MienError
from services.remote_sdk.networks.frames import Frame, Pixels
from services.remote_sdk.stages.decode import AS_SHOWN, Limits, Picture, Wish, decode

D = TypeVar("D")


class Encoded(NamedTuple):
    """A picture as it came, and how it is wanted."""

    data: bytes
    content_type: str | None
    wish: Wish = AS_SHOWN


class Decoded(Protocol):
    """A picture, see :class:`services.remote_sdk.stages.decode.Picture`. ``frame``: its pixels where networks look at
    them; ``pixels``: in main memory, copied there when they are first asked for."""

    @property
    def frame(self) -> Frame: ...
    @property
    def pixels(self) -> Pixels: ...
    @property
    def exif(self) -> dict[str, Any] | None: ...
    @property
    def reduced(self) -> int: ...


class Decoder(Protocol):
    """Any number of threads may call it at once."""

    def decode(self, data: bytes, content_type: str | None, wish: Wish = AS_SHOWN) -> Decoded:
        """See :func:`services.remote_sdk.stages.decode.decode`.

        Raises what that raises, and BROKEN_IMAGE for a picture that makes the decoder die or takes it too long.
        """
        ...

    def decode_all(self, asked: Sequence[Encoded]) -> Sequence[Decoded | MienError]:
        """Each of several pictures, or what :meth:`decode` raises of it, in order."""
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

    def decode_all(self, asked: Sequence[Encoded]) -> list[Picture | MienError]:
        return [attempt(self.decode, each) for each in asked]

    def close(self) -> None:
        """Holds nothing."""


def attempt(decode_each: Callable[[bytes, str | None, Wish], D], each: Encoded) -> D | MienError:
    """What decoding a picture gives, or raises."""
    try:
        return decode_each(*each)
    except MienError as error:
        return error
