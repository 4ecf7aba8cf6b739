"""The adapters the contract suites of the events service run on, and events to put into them.

A new adapter is one more row of STORES.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from hypothesis import strategies as st

from libs.common import clock
from libs.common.descriptors import CURRENT_FACE
from libs.common.ids import new_id
from libs.common.storage.sqlite import Database
from libs.common.wire.estimations import Descriptor
from libs.common.wire.events import Event, EventFilter, Location, TopMatch
from services.events.columns import COLUMNS, Column, Kind
from services.events.filters import Predicate, condition
from services.events.ports import EventStore
from services.events.store_sqlite import SCHEMA, SqliteEventStore

OpenStore = Callable[[Path], AbstractAsyncContextManager[EventStore]]


@asynccontextmanager
async def sqlite_store(folder: Path) -> AsyncIterator[EventStore]:
    database = await Database(folder / "events.db", SCHEMA, durable=False).open()
    try:
        yield SqliteEventStore(database)
    finally:
        await database.close()


STORES: dict[str, OpenStore] = {"sqlite": sqlite_store}

NOON = datetime(2024, 5, 4, 12, tzinfo=UTC)


def event(account: str, **changes: Any) -> Event:
    """An event of noon with nothing in it but what is given."""
    own = {"event_id": new_id(), "account_id": account, "handler_id": new_id(), "create_time": NOON}
    return Event(**{**own, **changes})


def descriptor(seed: int = 0, version: int = CURRENT_FACE, score: float | None = None) -> Descriptor:
    """A raw descriptor of random values."""
    values = np.random.default_rng(seed).standard_normal(128).astype("<f4")
    return Descriptor(version=version, data=values.tobytes(), score=score)


# Random events, and random questions about them that often enough have an answer

ACCOUNT = new_id()
"""Whom random events belong to before a test gives them to somebody."""
KNOWN_IDS = [str(UUID(int=number * 2**124 + 7, version=4)) for number in range(5)]
WORDS = ["a", "A", "ab", "ß", "SS", "Ä", "ä", "", "null", "100%", "_", "x\0y", "日本", "😀"]
TAGS = [word for word in WORDS if word]
MOMENTS = [NOON + timedelta(milliseconds=number) for number in (-86_400_000, -1, 0, 1, 2, 3_600_000)]
SIMILARITIES = [0.0, 0.25, 1 / 3, 0.9, 1.0]

ids, words, moments = st.sampled_from(KNOWN_IDS), st.sampled_from(WORDS), st.sampled_from(MOMENTS)
similarities, ages = st.sampled_from(SIMILARITIES), st.sampled_from([0, 17, 18, 19, 90])


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


locations = st.builds(
    Location,
    city=maybe(words),
    area=maybe(words),
    district=maybe(words),
    street=maybe(words),
    house_number=maybe(words),
)
top_matches = st.builds(
    TopMatch,
    label=words,
    similarity=similarities,
    object_type=st.just("face"),
    object_id=ids,
    external_id=maybe(words),
)
events = st.builds(
    Event,
    event_id=st.uuids(version=4).map(str),
    account_id=st.just(ACCOUNT),
    handler_id=ids,
    create_time=moments,
    end_time=maybe(moments),
    external_id=maybe(words),
    user_data=maybe(words),
    source=maybe(words),
    stream_id=maybe(words),
    track_id=maybe(words),
    tags=st.lists(st.sampled_from(TAGS), max_size=3),
    location=locations,
    face_id=maybe(ids),
    gender=maybe(st.integers(0, 1)),
    age=maybe(ages),
    ethnic_group=maybe(st.integers(1, 4)),
    emotion=maybe(st.integers(1, 7)),
    mask=maybe(st.integers(1, 3)),
    liveness=maybe(st.integers(0, 2)),
    deepfake=maybe(st.integers(0, 1)),
    top_match=maybe(top_matches),
)
"""Events in every combination of empty columns, equal times, and text that folds, escapes or holds NUL."""

_times = moments.map(clock.render)


def _some(values: st.SearchStrategy[Any], *, null: bool = False) -> st.SearchStrategy[list[Any]]:
    return st.lists(values | st.just("null") if null else values, max_size=3)


_FILTERS: dict[str, st.SearchStrategy[Any]] = {
    "create_time__gte": _times,
    "create_time__lt": _times,
    "end_time__gte": _times,
    "end_time__lt": _times,
    "event_ids": _some(ids),
    "event_id__gte": ids,
    "event_id__lt": ids,
    "handler_ids": _some(ids),
    "face_ids": _some(ids),
    "external_ids": _some(words),
    "user_data": words,
    "sources": _some(words),
    "track_ids": _some(words),
    "stream_ids": _some(words),
    "tags": _some(words),
    "top_matching_candidates_label": words,
    "top_similar_object_ids": _some(ids),
    "top_similar_external_ids": _some(words),
    "top_similar_object_similarity__gte": similarities,
    "top_similar_object_similarity__lt": similarities,
    "gender": st.sampled_from([0, 1, "null"]),
    "age__gte": ages,
    "age__lt": ages,
    "emotions": _some(st.integers(1, 7), null=True),
    "masks": _some(st.integers(1, 3), null=True),
    "ethnic_groups": _some(st.integers(1, 4), null=True),
    "liveness": _some(st.integers(0, 2), null=True),
}
assert set(_FILTERS) == set(EventFilter.model_fields), "every filter is to be tried"


@st.composite
def event_filters(draw: st.DrawFn) -> EventFilter:
    """At most three conditions: more of them let nothing pass."""
    names = draw(st.lists(st.sampled_from(list(_FILTERS)), max_size=3, unique=True))
    return EventFilter(**{name: draw(_FILTERS[name]) for name in names})


_VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.ID: ids,
    Kind.TEXT: words,
    Kind.INTEGER: st.sampled_from([-(2**63), 0, 1, 2, 3, 18, 2**63 - 1]),
    Kind.NUMBER: similarities | st.integers(0, 1),
    Kind.TIME: _times,
}


@st.composite
def conditions(draw: st.DrawFn) -> Predicate:
    """Any column, any operator of statistics, values of the column's type or null."""
    column: Column = draw(st.sampled_from(list(COLUMNS.values())))
    values = _VALUES[column.kind]
    operator = draw(st.sampled_from(["eq", "neq", "in", "nin", "gt", "gte", "lt", "lte"]))
    if operator in ("in", "nin"):
        return condition(column, operator, draw(st.lists(maybe(values), max_size=3)))
    if operator in ("eq", "neq"):
        return condition(column, operator, draw(maybe(values)))
    comparable = values.filter(lambda value: not column.is_null(value))
    return condition(column, operator, draw(comparable))
