"""What every event store must do, for any events and any questions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from libs.common import descriptors
from libs.common.errors import Code, MienError
from libs.common.ids import new_id
from libs.common.wire.estimations import Descriptor
from libs.common.wire.events import Event, EventFilter
from services.events.columns import COLUMNS, Column
from services.events.filters import All, Either, Predicate, evaluate, filtered
from services.events.ports import EventStore
from services.events.stats import Counting
from tests.contract.event_stores import (
    NOON,
    STORES,
    TAGS,
    WORDS,
    Limit,
    Opened,
    columns,
    conditions,
    crowd,
    descriptor,
    event,
    event_filters,
)

EVERYTHING = All(())


@pytest.fixture(params=STORES)
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Opened]:
    async with STORES[request.param](request) as opened:
        yield opened


@pytest.fixture
def store(opened: Opened) -> EventStore:
    return opened.store


def examples(count: int) -> Callable[..., Any]:
    """The store lives on from example to example."""
    return settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
async def crowds(opened: Opened) -> list[tuple[str, list[Event]]]:
    """Accounts with many events each, in one store."""
    words = [word for word in WORDS if "\0" not in word or Limit.NUL not in opened.limits]
    drawn = [(account, crowd(seed, account, words=words)) for seed, account in enumerate(new_id() for _ in range(4))]
    for account, saved in drawn:
        await opened.store.add(account, saved, NOON)
    return drawn


Crowds = list[tuple[str, list[Event]]]
which = st.integers(0, 3)


@examples(400)
@given(where=event_filters(), number=which)
async def test_the_store_selects_what_the_filter_means(
    store: EventStore, crowds: Crowds, where: EventFilter, number: int
) -> None:
    account, saved = crowds[number]
    passing = sorted(one.event_id for one in saved if evaluate(filtered(where), one))
    assert await store.select(account, filtered(where)) == passing


@examples(600)
@given(one=conditions(), other=conditions(), word=st.sampled_from([All, Either]), number=which)
async def test_the_store_selects_what_any_predicate_means(
    store: EventStore, crowds: Crowds, one: Predicate, other: Predicate, word: type[All] | type[Either], number: int
) -> None:
    where = word((one, other))
    account, saved = crowds[number]
    passing = sorted(each.event_id for each in saved if evaluate(where, each))
    assert await store.select(account, where) == passing


tagged = st.builds(EventFilter, tags=st.lists(st.sampled_from(TAGS), max_size=2))


@examples(80)
@given(
    where=st.just(EventFilter()) | tagged | event_filters(),
    order=st.sampled_from(["newest", "oldest", "id"]),
    size=st.integers(5, 25),
    number=which,
)
async def test_pages_hold_every_event_that_passes_once_and_in_order(
    store: EventStore, crowds: Crowds, where: EventFilter, order: Any, size: int, number: int
) -> None:
    account, saved = crowds[number]
    pages = [await store.find(account, filtered(where), order, at, size) for at in range(0, len(saved) + 1, size)]
    passing = [one for one in saved if evaluate(filtered(where), one)]
    by_time = sorted(passing, key=lambda one: (one.create_time, one.event_id), reverse=order == "newest")
    expected = sorted(passing, key=lambda one: one.event_id) if order == "id" else by_time
    assert [one.model_copy(update={"insert_time": None}) for page in pages for one in page] == expected


@examples(400)
@given(
    targets=st.lists(columns, min_size=1, max_size=3),
    groups=st.lists(columns, max_size=3, unique=True),
    where=conditions() | st.just(EVERYTHING),
    number=which,
)
async def test_counts_are_those_of_counting_by_hand(
    opened: Opened, crowds: Crowds, targets: list[Column], groups: list[Column], where: Predicate, number: int
) -> None:
    assume(len(groups) < 2 or Limit.GROUPS not in opened.limits)
    account, saved = crowds[number]
    what = Counting(tuple(targets), tuple(groups), where)
    assert await opened.store.count(account, what, 10_000) == counted(what, saved)


def counted(what: Counting, saved: list[Event]) -> list[tuple[Any, ...]]:
    """Event by event, group by group."""
    rows: dict[tuple[Any, ...], list[int]] = {} if what.groups else {(): [0] * len(what.targets)}
    for one in saved:
        if not evaluate(what.where, one):
            continue
        for key in product(*(column.values(one) or (None,) for column in what.groups)):
            row = rows.setdefault(key, [0] * len(what.targets))
            for place, target in enumerate(what.targets):
                row[place] += bool(target.values(one))
    empty_first = sorted(rows, key=lambda key: [(value is not None, value) for value in key])
    return [(*key, *rows[key]) for key in empty_first]


steps = st.lists(
    st.tuples(st.sampled_from(["save", "with face", "with body", "with both", "delete"]), st.integers(0, 5)),
    max_size=20,
)


@examples(60)
@given(steps=steps, size=st.integers(1, 4), again=st.integers(0, 20))
async def test_replaying_the_feed_gives_the_state_of_the_store(
    store: EventStore, steps: list[tuple[str, int]], size: int, again: int
) -> None:
    account, known = new_id(), [new_id() for _ in range(6)]
    began = (await store.changes(2**62, 1, [])).revision
    state: dict[str, dict[int, bytes]] = {}
    replayed: dict[str, dict[int, bytes]] = {}
    used: set[str] = set()
    read_to = began
    for place, (step, number) in enumerate(steps):
        event_id = known[number]
        if step == "delete":
            await store.delete(account, [event_id])
            state.pop(event_id, None)
        else:
            face = descriptor(place) if step in ("with face", "with both") else None
            body = of_body(place) if step in ("with body", "with both") else None
            new = event(account, event_id=event_id, face_descriptor=face, body_descriptor=body)
            await store.add(account, [new], NOON)
            if (face or body) and event_id not in used:
                state[event_id] = {each.version: each.data for each in (face, body) if each}
        used.add(event_id)
        if place == again:
            read_to = await replay(store, read_to, size, replayed)
    await replay(store, read_to, size, replayed)
    assert replayed == state
    from_the_start: dict[str, dict[int, bytes]] = {}
    await replay(store, began, size, from_the_start)
    assert from_the_start == state


def of_body(seed: int) -> Descriptor:
    values = np.random.default_rng(seed).random(descriptors.OMZ_REID.length, np.float32)
    return Descriptor(version=descriptors.DEFAULT_BODY, data=values.tobytes())


async def replay(store: EventStore, after: int, size: int, into: dict[str, dict[int, bytes]]) -> int:
    """Apply every page after a revision as a matcher would; where to go on from."""
    while True:
        page = await store.changes(after, size, [])
        assert len(page.rows) <= size
        assert page.revision > after or not page.rows
        for row in page.rows:
            into.pop(row.object_id, None)
            if not row.deleted:
                into[row.object_id] = row.descriptors
        after = page.revision
        if not page.more:
            return after


@pytest.mark.parametrize("with_face", [False, True])
async def test_an_id_of_another_account_is_refused_even_after_its_event_is_gone(
    store: EventStore, with_face: bool
) -> None:
    mine, theirs = new_id(), new_id()
    taken = event(theirs, face_descriptor=descriptor() if with_face else None)
    await store.add(theirs, [taken], NOON)
    again = event(mine, event_id=taken.event_id)
    fresh = event(mine)
    for _ in ("stored", "deleted"):
        with pytest.raises(MienError) as refusal:
            await store.add(mine, [fresh, again], NOON)
        assert refusal.value.code is Code.REQUEST_CONFLICT
        assert taken.event_id in refusal.value.detail
        assert theirs not in refusal.value.detail
        await store.delete(theirs, [taken.event_id])
    assert await store.select(mine, EVERYTHING) == []


@pytest.mark.parametrize("with_face", [False, True])
async def test_an_event_that_was_deleted_is_brought_back_by_no_save(store: EventStore, with_face: bool) -> None:
    account = new_id()
    saved = event(account, tags=["a"], face_descriptor=descriptor() if with_face else None)
    late = event(account, tags=["a"], face_descriptor=descriptor() if with_face else None)
    await store.add(account, [saved], NOON)
    await store.delete(account, [saved.event_id, late.event_id])
    beside = event(account)
    for _ in range(2):
        await store.add(account, [saved, late, beside], NOON)
        assert await store.select(account, EVERYTHING) == [beside.event_id]
        await store.delete(account, [saved.event_id, late.event_id])
    what = Counting((COLUMNS["event_id"],), (COLUMNS["tags"],), EVERYTHING)
    assert await store.count(account, what, 10) == [(None, 1)]
    live = [row for row in (await store.changes(0, 100, [])).rows if row.account_id == account and not row.deleted]
    assert live == []


async def test_deleting_an_id_that_another_account_uses_takes_nothing_from_it(store: EventStore) -> None:
    mine, theirs = new_id(), new_id()
    saved = event(theirs)
    await store.add(theirs, [saved], NOON)
    await store.delete(mine, [saved.event_id])
    await store.add(theirs, [saved], NOON)
    assert await store.select(theirs, EVERYTHING) == [saved.event_id]
