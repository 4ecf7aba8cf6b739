"""What every store of handlers must do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common import clock
from libs.common.errors import Code, MienError
from libs.common.ids import new_id
from libs.common.wire.base import Page
from libs.common.wire.handlers import Handler, HandlerFilter
from libs.common.wire.policies import Policies
from services.handlers.ports import HandlerStore
from services.handlers.stored import dump, load
from tests.contract.handler_stores import READ_NUL, STORES

MINE, THEIRS = new_id(), new_id()
ALL = HandlerFilter()
POLICIES = Policies.model_validate(
    {
        "match_policy": [{"label": "staff.$1", "candidates": {"origin": "faces"}}],
        "storage_policy": {
            "callbacks": [
                {"type": "http", "url": "https://a.test/", "authorization": {"login": "a", "password": "ä\u2028"}}
            ]
        },
    }
)


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[HandlerStore]:
    async with STORES[request.param](tmp_path, request) as opened:
        yield opened


def handler(account: str = MINE, **changes: Any) -> Handler:
    moment = clock.now()
    own = {"handler_id": new_id(), "account_id": account, "description": "", "handler_type": 0, "policies": POLICIES}
    times = {"version": 1, "create_time": moment, "last_update_time": moment}
    return Handler(**{**own, **times, **changes})


def successor(stored: Handler, **changes: Any) -> Handler:
    return stored.model_copy(update={"version": stored.version + 1, **changes})


async def test_a_handler_comes_back_as_it_was_stored_until_it_is_deleted(store: HandlerStore) -> None:
    for given_one in (handler(description="Tür 3"), handler(handler_type=1, policies=None)):
        await store.add(given_one)
        await store.add(successor(given_one, description="the same id again"))
        assert await store.get(MINE, given_one.handler_id) == given_one
        assert await store.delete(MINE, given_one.handler_id)
        assert not await store.delete(MINE, given_one.handler_id)
        assert await store.get(MINE, given_one.handler_id) is None


async def test_another_account_has_no_part_in_it_even_under_the_same_id(store: HandlerStore) -> None:
    mine = handler(description="mine")
    theirs = mine.model_copy(update={"account_id": THEIRS, "description": "theirs"})
    await store.add(mine)
    assert await store.get(THEIRS, mine.handler_id) is None
    assert not await store.delete(THEIRS, mine.handler_id)
    assert not await store.replace(successor(theirs))
    assert (await store.find(THEIRS, ALL, Page()), await store.count(THEIRS, ALL)) == ([], 0)

    await store.add(theirs)
    assert await store.replace(successor(theirs, description="changed"))
    assert await store.get(MINE, mine.handler_id) == mine
    assert await store.delete(THEIRS, mine.handler_id)
    assert await store.find(MINE, ALL, Page()) == [mine]


async def test_only_the_version_before_is_replaced(store: HandlerStore) -> None:
    first = handler(description="first")
    assert not await store.replace(successor(handler()))
    await store.add(first)
    second = successor(first, description="second", policies=None, handler_type=1)
    assert await store.replace(second)
    assert not await store.replace(successor(first, description="late"))
    assert not await store.replace(second.model_copy(update={"version": 4}))
    assert await store.get(MINE, first.handler_id) == second


async def test_of_those_who_replace_at_once_one_does(store: HandlerStore) -> None:
    first = handler()
    await store.add(first)
    rivals = [successor(first, description=str(number)) for number in range(20)]
    done = await asyncio.gather(*(store.replace(rival) for rival in rivals))

    winners = [rival for rival, won in zip(rivals, done, strict=True) if won]
    assert len(winners) == 1
    assert await store.get(MINE, first.handler_id) == winners[0]


texts = st.text(alphabet="aAäÄ.*%_\\[^$ \nſK😀", max_size=4)
kinds = st.sampled_from([0, 1])
NOON = clock.parse("2024-05-04T12:00:00Z")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    crowd=st.lists(st.tuples(texts, kinds, st.integers(0, 2)), max_size=12),
    needle=st.none() | texts,
    kind=st.none() | kinds,
    size=st.integers(1, 5),
)
async def test_pages_hold_what_passes_the_filter_newest_first(
    store: HandlerStore, crowd: list[tuple[str, int, int]], needle: str | None, kind: int | None, size: int
) -> None:
    account = new_id()
    stored = [
        handler(account, description=text, handler_type=kind, create_time=NOON + timedelta(milliseconds=late))
        for text, kind, late in crowd
    ]
    for one in stored:
        await store.add(one)
    where = HandlerFilter(description=needle, handler_type=kind)
    passing = [
        one
        for one in sorted(stored, key=lambda one: (-clock.to_ms(one.create_time), one.handler_id))
        if (needle is None or ascii_lower(needle) in ascii_lower(one.description))
        and (kind is None or one.handler_type == kind)
    ]

    assert await store.count(account, where) == len(passing)
    pages = range(1, len(passing) // size + 2)
    found = [await store.find(account, where, Page(page=page, page_size=size)) for page in pages]
    assert [one for page in found for one in page] == passing


@pytest.mark.parametrize("store", READ_NUL, indirect=True)
async def test_a_description_is_searched_beyond_a_nul(store: HandlerStore) -> None:
    one, two = handler(description="a\0b"), handler(description="a\0c")
    for each in (one, two):
        await store.add(each)
    assert await store.find(MINE, HandlerFilter(description="\0B"), Page()) == [one]


def ascii_lower(text: str) -> str:
    return "".join(chr(ord(letter) + 32) if "A" <= letter <= "Z" else letter for letter in text)


def test_what_no_longer_fits_is_named() -> None:
    fields = dump(handler()) | {"policies": '{"detect_policy": {"detect_face": 7}}'}
    with pytest.raises(MienError, match=f"{fields['handler_id']}.*policies.detect_policy.detect_face") as corrupted:
        load(fields)
    assert corrupted.value.code is Code.HANDLER_CORRUPTED
