"""Time on the wire (RFC 3339) and in the stores (milliseconds since 1970, UTC)."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_RELATIVE = re.compile(r"^now-(\d{1,9})([smhdwMy])$")
_UNESCAPED_PLUS = re.compile(r"(:\d\d(?:\.\d+)?) (\d\d:?\d\d)$")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "M": 30 * 86400, "y": 365 * 86400}


def now() -> datetime:
    """The current time, UTC, cut to milliseconds (what every store keeps)."""
    return from_ms(now_ms())


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def to_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def from_ms(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC) + timedelta(milliseconds=ms % 1000)


def parse(text: Any) -> datetime:
    """RFC 3339 text, or ``now-<n><unit>`` with a unit of s m h d w M y (M = 30 days, y = 365 days).

    Text without an offset is read as UTC; a blank before the offset is the ``+`` of a query that was not
    percent-encoded. Raises ValueError otherwise.
    """
    if isinstance(text, datetime):
        moment = text
    elif not isinstance(text, str):
        raise ValueError("should be an RFC 3339 string")
    elif relative := _RELATIVE.match(text):
        moment = now() - timedelta(seconds=_clamped(int(relative[1]) * _UNITS_S[relative[2]]))
    else:
        try:
            moment = datetime.fromisoformat(_UNESCAPED_PLUS.sub(r"\1+\2", text))
        except ValueError:
            raise ValueError("should be an RFC 3339 time or now-<n><unit>") from None
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("should be within the years 1 to 9999 in UTC") from None
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _clamped(seconds: int) -> int:
    """At most as far back as 1970, so that ``now-999999y`` is early rather than an overflow."""
    return min(seconds, int(time.time()))


def render(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds and a ``Z``."""
    # not strftime: its %Y writes the year 999 in three digits, which parse could not read back
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Time = Annotated[
    datetime,
    BeforeValidator(parse),
    PlainSerializer(render, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


def _checked(text: str) -> str:
    parse(text)
    return text


TimeText = Annotated[str, BeforeValidator(_checked), WithJsonSchema({"type": "string", "format": "date-time"})]
"""A time kept as written, so that ``now-1d`` in a stored policy means the day before each call."""
