"""A gallery's memory equals its feed, whoever asks and whenever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.errors import Code, MienError
from libs.common.wire.gallery import GalleryPage, GalleryRow, Gap
from services.matcher import gallery as module
from services.matcher.gallery import Gallery, Query, Scope

VERSION = 1001
ORIGIN = Query(VERSION, np.zeros((1, 128), dtype=np.float32), limit=100)


def uid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


MINE, THEIRS, STAFF, GUESTS = (uid(0xA0000 + number) for number in range(4))


def row(number: int, account: str = MINE, x: float = 1.0, version: int = VERSION, **fields: object) -> GalleryRow:
    values = np.zeros(128, dtype="<f4")
    values[0] = x
    given = {"object_id": uid(number), "account_id": account, "descriptors": {version: values.tobytes()}}
    return GalleryRow.model_validate({**given, **fields})


class Store:
    """A feed in memory: the present row of each object, by the revision of its last change."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[int, GalleryRow]] = {}
        self.revision = 0
        self.calls = 0
        self.gate: asyncio.Event | None = None
        self.entered = asyncio.Event()

    def put(self, *rows: GalleryRow) -> None:
        for one in rows:
            self.revision += 1
            self.rows[one.object_id] = (self.revision, one)

    def delete(self, number: int, account: str = MINE) -> None:
        self.put(GalleryRow(object_id=uid(number), account_id=account, deleted=True))

    async def changes(self, after: int, limit: int, late: list[Gap]) -> GalleryPage:
        self.calls += 1
        later = sorted((change for change in self.rows.values() if change[0] > after), key=lambda change: change[0])
        page = GalleryPage(
            revision=later[:limit][-1][0] if later else self.revision,
            rows=[one for _, one in later[:limit]],
            more=len(later) > limit,
        )
        self.entered.set()
        if self.gate:
            await self.gate.wait()
        return page


@pytest.fixture
def thread() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as thread:
        yield thread


async def ids(gallery: Gallery, account: str = MINE, list_id: str | None = None) -> list[str]:
    [(found, _)] = await gallery.search(Scope(account, list_id), ORIGIN)
    return found


async def test_a_caller_never_shares_a_replay_that_began_before_it(thread: Executor) -> None:
    store = Store()
    gallery = Gallery("faces", store, thread)
    store.gate = asyncio.Event()
    early = asyncio.create_task(ids(gallery))
    await store.entered.wait()  # the first replay has read its page, without the face

    store.put(row(1))
    late = [asyncio.create_task(ids(gallery)) for _ in range(50)]
    await asyncio.sleep(0)
    store.gate.set()

    await early
    assert await asyncio.gather(*late) == [[uid(1)]] * 50
    assert store.calls == 2, "all later callers share one replay"


async def test_a_caller_that_gives_up_leaves_the_replay_to_the_others(thread: Executor) -> None:
    store = Store()
    gallery = Gallery("faces", store, thread)
    store.put(row(1))
    store.gate = asyncio.Event()
    impatient, patient = asyncio.create_task(ids(gallery)), asyncio.create_task(ids(gallery))
    await store.entered.wait()
    impatient.cancel()
    store.gate.set()
    assert await patient == [uid(1)]


async def test_a_feed_that_fails_fails_the_search_and_the_next_one_goes_on(
    thread: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    gallery = Gallery("faces", store, thread)
    store.put(row(1))

    async def broken(after: int, limit: int, late: list[Gap]) -> GalleryPage:
        raise MienError(Code.CONNECTION, "gone")

    with monkeypatch.context() as patch:
        patch.setattr(store, "changes", broken)
        with pytest.raises(MienError):
            await ids(gallery)
    assert await ids(gallery) == [uid(1)]


async def test_a_store_that_went_back_is_loaded_again(thread: Executor) -> None:
    before, restored = Store(), Store()
    gallery = Gallery("faces", before, thread)
    before.put(row(1), row(2), row(3, lists=[STAFF]))
    assert len(await ids(gallery)) == 3

    restored.put(row(2))
    gallery._feed = restored
    assert (await ids(gallery), await ids(gallery, list_id=STAFF)) == ([uid(2)], [])


class Late:
    """A feed that passed number 1, which comes with the third question; the fourth finds the store restored."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, list[Gap]]] = []

    async def changes(self, after: int, limit: int, late: list[Gap]) -> GalleryPage:
        self.asked.append((after, late))
        missing = [Gap(first=1, last=1, until_ms=0)]
        return [
            GalleryPage(revision=2, rows=[row(2)], more=False, late=missing),
            GalleryPage(revision=2, rows=[], more=False, late=missing),
            GalleryPage(revision=2, rows=[row(1)], more=False),
            GalleryPage(revision=1, rows=[], more=False, late=missing),
            GalleryPage(revision=1, rows=[row(1)], more=False),
        ][len(self.asked) - 1]


async def test_numbers_that_are_late_are_asked_for_until_they_come(thread: Executor) -> None:
    feed = Late()
    gallery = Gallery("faces", feed, thread)
    assert [await ids(gallery) for _ in range(4)] == [[uid(2)], [uid(2)], [uid(1), uid(2)], [uid(1)]]
    missing = [Gap(first=1, last=1, until_ms=0)]
    assert feed.asked == [(0, []), (2, missing), (2, missing), (2, []), (0, [])]


async def test_a_row_that_cannot_be_searched_is_no_candidate_and_stops_nobody(thread: Executor) -> None:
    store = Store()
    gallery = Gallery("faces", store, thread)
    nan = np.full(128, np.nan, dtype="<f4").tobytes()
    store.put(row(1, version=7), row(2, descriptors={VERSION: b"short"}), row(3, descriptors={VERSION: nan}), row(4))
    assert await ids(gallery) == [uid(4)]
    assert await gallery.state() == {"rows": 1, "revision": 4, "lag": 0}
    store.put(row(5))
    assert await gallery.state() == {"rows": 1, "revision": 4, "lag": 1}


change = st.one_of(
    st.builds(
        row,
        st.integers(0, 9),
        st.sampled_from([MINE, THEIRS]),
        st.integers(1, 5).map(float),
        lists=st.lists(st.sampled_from([STAFF, GUESTS]), unique=True),
    ),
    st.builds(
        lambda number: GalleryRow(object_id=uid(number), account_id=MINE, deleted=True),
        st.integers(0, 9),
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(change, max_size=6), max_size=8))
def test_after_any_changes_every_scope_holds_what_the_store_holds(rounds: list[list[GalleryRow]]) -> None:
    async def replay() -> None:
        store = Store()
        with ThreadPoolExecutor(1) as thread, pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "PAGE", 3)
            gallery = Gallery("faces", store, thread)
            for changes in rounds:
                store.put(*changes)
                for account in (MINE, THEIRS):
                    for list_id in (None, STAFF, GUESTS):
                        assert await ids(gallery, account, list_id) == expected(store, account, list_id)

    asyncio.run(replay())


def expected(store: Store, account: str, list_id: str | None) -> list[str]:
    present = [one for _, one in store.rows.values() if not one.deleted and one.account_id == account]
    members = [one for one in present if list_id is None or list_id in one.lists]
    return [one.object_id for one in sorted(members, key=lambda one: (_x(one), one.object_id))]


def _x(one: GalleryRow) -> float:
    return float(np.frombuffer(one.descriptors[VERSION], dtype="<f4")[0])
