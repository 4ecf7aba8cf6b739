"""The adapters the contract suites of the events service run on, and events to put into them.

A new adapter is one more row of STORES.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import strategies as st
from pymongo.asynchronous.database import AsyncDatabase

from libs.common import clock
from libs.common.descriptors import DEFAULT_FACE
from libs.common.ids import new_id
from libs.common.storage import mongo
from libs.common.storage.sqlite import Database
from libs.common.wire.estimations import Descriptor
from libs.common.wire.events import Event, EventFilter, Location, TopMatch
from services.events.columns import COLUMNS, Column, Kind
from services.events.filters import Predicate, condition
from services.events.outbox_mongo import MongoOutbox
from services.events.outbox_sqlite import SqliteOutbox
from services.events.ports import EventStore, Outbox
from services.events.service import Events
from services.events.store_mongo import COLLECTIONS, MongoEventStore
from services.events.store_sqlite import SCHEMA, SqliteEventStore
from tests.contract import mongo_shim


class Limit(Enum):
    """What only some of the stores can do."""

    GROUPS = "counts by several columns"
    NUL = "text with NUL in it"


@dataclass(frozen=True)
class Opened:
    """An empty store, its outbox, and what another process has: ``second`` is over the same data, where there can be
    another process. ``limits`` are what a stand-in for MongoDB cannot do (docs/mongo.md)."""

    store: EventStore
    second: EventStore
    outbox: Outbox
    limits: frozenset[Limit] = frozenset()


OpenStore = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Opened]]


@asynccontextmanager
async def sqlite_store(folder: Path) -> AsyncIterator[Opened]:
    database = await Database(folder / "events.db", SCHEMA, durable=False).open()
    try:
        store = SqliteEventStore(database)
        yield Opened(store, store, SqliteOutbox(database))
    finally:
        await database.close()


@asynccontextmanager
async def mongo_store(url: str) -> AsyncIterator[Opened]:
    """Over the wire."""
    client = mongo.connect(url)
    try:
        database = client.get_default_database()
        server = (await database.command("buildInfo")).get("process")
        yield await _in_mongo(database, *([Limit.NUL] if server == "nx_27017" else []))
    finally:
        await client.close()


@asynccontextmanager
async def mongomock_store() -> AsyncIterator[Opened]:
    """In memory: what queries mean."""
    yield await _in_mongo(mongo_shim.database(), Limit.GROUPS)


async def _in_mongo(database: AsyncDatabase[mongo.Document], *limits: Limit) -> Opened:
    await mongo.migrate(database, COLLECTIONS)
    return Opened(MongoEventStore(database), MongoEventStore(database), MongoOutbox(database), frozenset(limits))


STORES: dict[str, OpenStore] = {
    "sqlite": lambda request: sqlite_store(request.getfixturevalue("tmp_path")),
    "mongo": lambda request: mongo_store(request.getfixturevalue("mongo_url")),
    "mongomock": lambda request: mongomock_store(),
}


class NoQueue:
    async def put(self, account: str, events: list[Event]) -> None:
        raise AssertionError("nothing is to be queued")


@asynccontextmanager
async def events_service(folder: Path) -> AsyncIterator[Events]:
    """The service over an empty store. What is to be told stays in the outbox."""
    async with sqlite_store(folder) as opened:
        yield service_over(opened)


def service_over(opened: Opened) -> Events:
    return Events(opened.store, NoQueue(), lambda owed: None)


NOON = datetime(2024, 5, 4, 12, tzinfo=UTC)


def event(account: str, **changes: Any) -> Event:
    """An event of noon with nothing in it but what is given."""
    own = {"event_id": new_id(), "account_id": account, "handler_id": new_id(), "create_time": NOON}
    return Event(**{**own, **changes})


def descriptor(seed: int = 0, version: int = DEFAULT_FACE, score: float | None = None) -> Descriptor:
    """A raw descriptor of random values."""
    values = np.random.default_rng(seed).standard_normal(128).astype("<f4")
    return Descriptor(version=version, data=values.tobytes(), score=score)


# Random events, and random questions about them that often enough have an answer

KNOWN_IDS = [str(UUID(int=number * 2**124 + 7, version=4)) for number in range(5)]
WORDS = ["a", "A", "ab", "ß", "SS", "Ä", "ä", "", "null", "100%", "_", "x\0y", "日本", "😀"]
TAGS = [word for word in WORDS if word]
MOMENTS = [NOON + timedelta(milliseconds=number) for number in (-86_400_000, -1, 0, 1, 2, 3_600_000)]
SIMILARITIES = [0.0, 0.25, 1 / 3, 0.9, 1.0]
AGES = [0, 17, 18, 19, 90]


def crowd(seed: int, account: str, count: int = 40, words: Sequence[str] = WORDS) -> list[Event]:
    """Events with every combination of empty columns, equal times, and text that folds, escapes or holds NUL."""
    chance = Random(seed)
    tags = [word for word in words if word]

    def maybe(values: Sequence[Any]) -> Any:
        return chance.choice(values) if chance.random() < 0.7 else None

    def one() -> Event:
        return event(
            account,
            event_id=str(UUID(int=chance.getrandbits(128), version=4)),
            handler_id=chance.choice(KNOWN_IDS),
            create_time=chance.choice(MOMENTS),
            end_time=maybe(MOMENTS),
            **{name: maybe(words) for name in ("external_id", "user_data", "source", "stream_id", "track_id")},
            tags=chance.sample(tags, chance.randrange(4)),
            location=Location(
                **{name: maybe(words) for name in ("city", "area", "district", "street", "house_number")}
            ),
            face_id=maybe(KNOWN_IDS),
            gender=maybe([0, 1]),
            age=maybe(AGES),
            ethnic_group=maybe([1, 2, 3, 4]),
            emotion=maybe([1, 2, 3, 4, 5, 6, 7]),
            mask=maybe([1, 2, 3]),
            liveness=maybe([0, 1, 2]),
            deepfake=maybe([0, 1]),
            top_match=maybe([top()]),
        )

    def top() -> TopMatch:
        return TopMatch(
            label=chance.choice(words),
            similarity=chance.choice(SIMILARITIES),
            object_type="face",
            object_id=chance.choice(KNOWN_IDS),
            external_id=maybe(words),
        )

    return [one() for _ in range(count)]


ids, words, similarities, ages = (st.sampled_from(some) for some in (KNOWN_IDS, WORDS, SIMILARITIES, AGES))
_times = st.sampled_from(MOMENTS).map(clock.render)


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
    "tags": _some(st.sampled_from(TAGS)),
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
    **{name: _some(words, null=True) for name in ("cities", "areas", "districts", "streets", "house_numbers")},
    "deepfake": _some(st.integers(0, 1)),
}
assert set(_FILTERS) == set(EventFilter.model_fields), "every filter is to be tried"


@st.composite
def event_filters(draw: st.DrawFn) -> EventFilter:
    """At most two conditions: more of them let nothing pass."""
    names = draw(st.lists(st.sampled_from(list(_FILTERS)), max_size=2, unique=True))
    return EventFilter(**{name: draw(_FILTERS[name]) for name in names})


_VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.ID: ids,
    Kind.TEXT: words,
    Kind.INTEGER: st.sampled_from([-(2**63), 0, 1, 2, 3, 18, 2**63 - 1]),
    Kind.NUMBER: similarities | st.integers(0, 1),
    Kind.TIME: _times,
}


columns = st.sampled_from(list(COLUMNS.values())) | st.sampled_from([one for one in COLUMNS.values() if one.array])
"""Any column; array columns, which stores keep apart, more often."""


@st.composite
def conditions(draw: st.DrawFn) -> Predicate:
    """Any column, any operator of statistics, values of the column's type or null."""
    column: Column = draw(columns)
    values = _VALUES[column.kind]
    operator = draw(st.sampled_from(["eq", "neq", "in", "nin", "gt", "gte", "lt", "lte"]))
    if operator in ("in", "nin"):
        return condition(column, operator, draw(st.lists(st.none() | values, max_size=3)))
    if operator in ("eq", "neq"):
        return condition(column, operator, draw(st.none() | values))
    comparable = values.filter(lambda value: not column.is_null(value))
    return condition(column, operator, draw(comparable))
