"""What every wire model shares: strictness, and how bytes, flags and comma lists look."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Literal, TypeVar

import msgpack
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializationInfo,
    ValidationError,
    WithJsonSchema,
)

T = TypeVar("T")


class Wire(BaseModel):
    """A model that crosses a wire. Unknown fields are refused, as the contract asks.

    What pydantic says of a wrong value is without the value: it may be a picture or a descriptor on its way to a log.
    """

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="null", hide_input_in_errors=True)


def _blob_in(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("is not base64") from None
    return value


def _blob_out(value: bytes, info: SerializationInfo) -> Any:
    return base64.b64encode(value).decode() if info.mode == "json" else value


Blob = Annotated[
    bytes,
    BeforeValidator(_blob_in),
    PlainSerializer(_blob_out),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]
"""Bytes: base64 text in JSON, native bytes in msgpack and in process."""


def _flag_in(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("should be 0 or 1")
    return int(value) if value in ("0", "1") else value


Flag = Annotated[Literal[0, 1], BeforeValidator(_flag_in), WithJsonSchema({"type": "integer", "enum": [0, 1]})]
"""A boolean of the contract: 0 or 1."""


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Commas = BeforeValidator(_split)
"""Marks a list that a query string carries as ``a,b,c``: ``Annotated[list[Id], Commas]``."""

Unit = Annotated[float, Field(ge=0, le=1)]
Angle = Annotated[float, Field(ge=0, le=180)]


class Page(Wire):
    """Paging of a listing."""

    page: int = Field(default=1, ge=1, le=1_000_000)
    page_size: int = Field(default=10, ge=1, le=1000)

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.page_size


def fault(error: ValidationError, where: str = "") -> str:
    """One line that says what was wrong and where: ``policies.match_policy.0.limit: should be ...``.

    A value of which each of several kinds says why it is not one of them is named once.
    """
    reasons: dict[str, list[str]] = {}
    for item in error.errors(include_url=False)[:5]:
        reasons.setdefault(_path(where, item), []).append(_reason(item))
    return "; ".join(f"{path}: {', or '.join(dict.fromkeys(said))}" for path, said in reasons.items())


def _path(where: str, item: Any) -> str:
    parts = [where, *(str(step) for step in item["loc"] if not _KIND.match(str(step)))]
    if item["type"] in _NO_KIND:
        parts.append(item["ctx"]["discriminator"].strip("'"))
    return ".".join(part for part in parts if part) or "body"


_KIND = re.compile(r"function-|constrained-|literal\[")
"""A step that pydantic puts into a path for a kind of value, where the value has no such field."""
_NO_KIND = {"union_tag_invalid": "should be one of {expected_tags}", "union_tag_not_found": "Field required"}
"""Types of errors about the field that says of which kind an object is."""


def _reason(item: Any) -> str:
    if said := _NO_KIND.get(item["type"]):
        return said.format(**item["ctx"])
    return item["msg"].removeprefix("Value error, ")


def chunks(items: list[T], size: int) -> Iterator[list[T]]:
    """``items`` in consecutive lists of at most ``size``."""
    return (items[start : start + size] for start in range(0, len(items), size))


def portions(items: Iterable[T], size_of: Callable[[T], int], limit: int) -> Iterator[list[T]]:
    """``items`` in consecutive lists whose sizes add up to at most ``limit``; one that is larger is alone."""
    portion: list[T] = []
    total = 0
    for item in items:
        size = size_of(item)
        if portion and total + size > limit:
            yield portion
            portion, total = [], 0
        portion.append(item)
        total += size
    if portion:
        yield portion


def pack(content: Any) -> bytes:
    """Plain data as msgpack."""
    packed = msgpack.packb(content)
    assert packed is not None
    return packed
