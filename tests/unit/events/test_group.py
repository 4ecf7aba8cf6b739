"""Writes of many callers made together."""

from __future__ import annotations

import asyncio

import pytest

from libs.common.errors import Code, MienError
from services.events import group
from services.events.group import Group


class Store:
    """Remembers the groups it was given; a run ends when the test lets it."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.began = asyncio.Event()
        self.may_end = asyncio.Event()
        self.failure: Exception | None = None

    async def write(self, items: list[str]) -> None:
        self.groups.append(items)
        self.began.set()
        await self.may_end.wait()
        if self.failure:
            failure, self.failure = self.failure, None
            raise failure


async def begun(*calls: asyncio.Task[None]) -> None:
    """Each of the calls has been made and waits."""
    await asyncio.wait(calls, timeout=0)


async def test_what_comes_while_a_write_is_under_way_is_written_together() -> None:
    store = Store()
    writes = Group(store.write)
    calls = [asyncio.create_task(writes.add(item, 1)) for item in "abc"]
    await store.began.wait()
    calls += [asyncio.create_task(writes.add(item, 1)) for item in "de"]
    await begun(*calls)
    assert not any(call.done() for call in calls)
    store.may_end.set()
    await asyncio.gather(*calls)
    assert store.groups == [["a", "b", "c"], ["d", "e"]]


async def test_a_group_has_its_size_and_a_call_that_is_larger_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "GROUP", 3)
    store = Store()
    store.may_end.set()
    writes = Group(store.write)
    await asyncio.gather(*(writes.add(item, size) for item, size in (("a", 2), ("b", 1), ("c", 9), ("d", 3), ("e", 1))))
    assert store.groups == [["a", "b"], ["c"], ["d"], ["e"]]


async def test_a_failure_is_told_to_all_of_its_group_and_to_nobody_else() -> None:
    store = Store()
    store.failure = MienError(Code.STORE_UNAVAILABLE, "gone")
    writes = Group(store.write)
    first = asyncio.create_task(writes.add("a", 1))
    await store.began.wait()
    second = asyncio.create_task(writes.add("b", 1))
    await begun(first, second)
    store.may_end.set()
    assert [type(one) for one in await asyncio.gather(first, second, return_exceptions=True)] == [
        MienError,
        type(None),
    ]


async def test_an_item_that_cannot_be_written_fails_alone() -> None:
    groups: list[list[str]] = []

    async def write(items: list[str]) -> None:
        groups.append(items)
        if "bad" in items:
            raise ValueError("bad")

    writes = Group(write)
    ends = await asyncio.gather(*(writes.add(item, 1) for item in ("a", "bad", "b")), return_exceptions=True)
    assert [type(end) for end in ends] == [type(None), ValueError, type(None)]
    assert groups == [["a", "bad", "b"], ["a"], ["bad"], ["b"]]


async def test_who_is_cancelled_while_waiting_is_not_written_and_holds_up_nobody() -> None:
    store = Store()
    writes = Group(store.write)
    calls = [asyncio.create_task(writes.add("a", 1))]
    await store.began.wait()
    calls += [asyncio.create_task(writes.add(item, 1)) for item in "bc"]
    await begun(*calls)
    calls[0].cancel()
    calls[1].cancel()
    await begun(*calls)
    store.may_end.set()
    await asyncio.gather(*calls, return_exceptions=True)
    assert (store.groups, calls[2].exception()) == ([["a"], ["c"]], None)


async def test_too_much_waiting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "WAITING", 2)
    store = Store()
    writes = Group(store.write)
    calls = [asyncio.create_task(writes.add("a", 5))]
    await store.began.wait()
    calls.append(asyncio.create_task(writes.add("b", 2)))
    await begun(*calls)
    with pytest.raises(MienError) as refusal:
        await writes.add("c", 1)
    assert (refusal.value.code, refusal.value.retry_after_s) == (Code.OVERLOADED, 1)
    store.may_end.set()
    await asyncio.gather(*calls)


async def test_closing_finishes_what_was_handed_in() -> None:
    store = Store()
    writes = Group(store.write)
    call = asyncio.create_task(writes.add("a", 1))
    await store.began.wait()
    closing = asyncio.create_task(writes.close())
    await begun(closing)
    assert not closing.done()
    store.may_end.set()
    await asyncio.gather(call, closing)
