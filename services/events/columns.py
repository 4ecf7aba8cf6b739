"""The flat columns of an event: what can be filtered by and counted.

One table for every reading of a column: the store makes its schema and rows of it, filters and statistics
look their columns up in it, and :meth:`Column.values` says what a column means.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from libs.common import clock
from libs.common.ids import Id
from libs.common.wire.events import Event

Value = str | int | float
"""A value of a column. Times are milliseconds since 1970, UTC."""

_INT64 = 2**63


class Kind(Enum):
    """The type of a column's values."""

    ID = "id"
    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    TIME = "time"


def _adapted(shape: Any) -> Callable[[Any], Value]:
    adapter: TypeAdapter[Any] = TypeAdapter(shape)
    return lambda given: adapter.validate_python(given, strict=True)


_READERS: dict[Kind, Callable[[Any], Value]] = {
    Kind.ID: _adapted(Id),
    Kind.TEXT: _adapted(str),
    Kind.INTEGER: _adapted(Annotated[int, Field(ge=-_INT64, lt=_INT64)]),
    Kind.NUMBER: _adapted(Annotated[float, Field(allow_inf_nan=False)]),
    Kind.TIME: lambda given: clock.to_ms(clock.parse(given)),
}


@dataclass(frozen=True)
class Column:
    """One column.

    ``path`` leads to it in the event. ``null_word``: in a filter the word ``null`` stands for "column is empty"
    (contract 2.8). ``array``: an event has any number of values, and passes a test if one of them does.
    ``folded``: substrings of it can be searched for, whatever their case.
    """

    name: str
    kind: Kind
    path: str
    null_word: bool = False
    array: bool = False
    folded: bool = False

    def values(self, event: Event) -> tuple[Value, ...]:
        """What the event has in this column: nothing when the column is empty."""
        found: Any = event
        for step in self._steps:
            found = getattr(found, step, None)
        if found is None:
            return ()
        if self.array:
            return tuple(dict.fromkeys(found))
        return (clock.to_ms(found) if self.kind is Kind.TIME else found,)

    @cached_property
    def _steps(self) -> list[str]:
        return self.path.split(".")

    def read(self, given: Any) -> Value:
        """A value that a caller compares with. Raises ValueError when it is of another type."""
        try:
            return _READERS[self.kind](given)
        except ValidationError as wrong:
            raise ValueError(wrong.errors()[0]["msg"].removeprefix("Value error, ")) from None

    def is_null(self, given: Any) -> bool:
        """Whether the caller means "column is empty"."""
        return given is None or (self.null_word and given == "null")


_ALL = (
    Column("event_id", Kind.ID, "event_id"),
    Column("account_id", Kind.ID, "account_id"),
    Column("handler_id", Kind.ID, "handler_id"),
    Column("create_time", Kind.TIME, "create_time"),
    Column("end_time", Kind.TIME, "end_time"),
    Column("external_id", Kind.TEXT, "external_id"),
    Column("user_data", Kind.TEXT, "user_data", folded=True),
    Column("source", Kind.TEXT, "source", null_word=True),
    Column("stream_id", Kind.TEXT, "stream_id", null_word=True),
    Column("track_id", Kind.TEXT, "track_id", null_word=True),
    Column("tags", Kind.TEXT, "tags", array=True),
    Column("city", Kind.TEXT, "location.city", null_word=True),
    Column("area", Kind.TEXT, "location.area", null_word=True),
    Column("district", Kind.TEXT, "location.district", null_word=True),
    Column("street", Kind.TEXT, "location.street", null_word=True),
    Column("house_number", Kind.TEXT, "location.house_number", null_word=True),
    Column("face_id", Kind.ID, "face_id"),
    Column("gender", Kind.INTEGER, "gender", null_word=True),
    Column("age", Kind.INTEGER, "age"),
    Column("ethnic_group", Kind.INTEGER, "ethnic_group", null_word=True),
    Column("emotion", Kind.INTEGER, "emotion", null_word=True),
    Column("mask", Kind.INTEGER, "mask", null_word=True),
    Column("liveness", Kind.INTEGER, "liveness", null_word=True),
    Column("deepfake", Kind.INTEGER, "deepfake"),
    Column("top_matching_candidates_label", Kind.TEXT, "top_match.label"),
    Column("top_similar_object_id", Kind.ID, "top_match.object_id"),
    Column("top_similar_external_id", Kind.TEXT, "top_match.external_id"),
    Column("top_similar_object_similarity", Kind.NUMBER, "top_match.similarity"),
)

COLUMNS = {column.name: column for column in _ALL}
EVENT_ID = COLUMNS["event_id"]
