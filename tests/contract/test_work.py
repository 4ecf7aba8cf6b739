"""A port as competing consumers over a real RabbitMQ, with workers that are processes of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from obstore.store import LocalStore

from libs.common import observability
from libs.common.bus import alone
from libs.common.bus.claims import PREFIX, ObjectClaims
from libs.common.bus.rabbit import RabbitDeadLetters
from libs.common.bus.work import LIVES, WorkCalls, WorkServer, remote_work
from libs.common.errors import Code, MienError
from libs.common.wire.base import pack
from tests.running import ROOT

PATIENCE_S = 30
FIRST = asyncio.FIRST_COMPLETED
INLINE_BYTES = 1000


class Kitchen(Protocol):
    """Some of everything that a port may do."""

    async def echo(self, content: bytes) -> bytes: ...

    async def cook(self, dish: int, seconds: float) -> tuple[int, int]:
        """The dish, and the process that cooked it."""
        ...

    async def burn(self, detail: str) -> None: ...

    async def explode(self) -> None: ...

    async def request_id(self) -> str | None: ...

    async def end_the_cook(self, content: bytes) -> None: ...


class Cook:
    """Satisfies Kitchen."""

    def __init__(self) -> None:
        self.begun = 0

    async def echo(self, content: bytes) -> bytes:
        return content

    async def cook(self, dish: int, seconds: float) -> tuple[int, int]:
        self.begun += 1
        await asyncio.sleep(seconds)
        return dish, os.getpid()

    async def burn(self, detail: str) -> None:
        raise MienError(Code.SEVERAL_FACES, detail, status=418, retry_after_s=7)

    async def explode(self) -> None:
        raise ZeroDivisionError("secret")

    async def request_id(self) -> str | None:
        return observability.REQUEST.get()

    async def end_the_cook(self, content: bytes) -> None:
        os._exit(9)


def claims_in(folder: Path) -> ObjectClaims:
    return ObjectClaims(LocalStore(folder, mkdir=True))


@asynccontextmanager
async def serving(url: str, cook: Kitchen, **options: Any) -> AsyncIterator[WorkServer]:
    server = WorkServer(Kitchen, cook, url, **{"at_once": 4, **options})
    await server.start()
    await until(server.health)
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def calling(url: str, timeout_s: float = PATIENCE_S, **options: Any) -> AsyncIterator[Kitchen]:
    calls = WorkCalls(url, **options)
    await calls.start()
    try:
        yield remote_work(Kitchen, calls, timeout_s)
    finally:
        await calls.stop()


@asynccontextmanager
async def worker(url: str, folder: Path, *, ready: bool = True) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of its own that serves two calls of each method at once; waited for until it is ``ready``."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, url, str(folder)),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        if ready:
            assert await asyncio.wait_for(process.stdout.readline(), PATIENCE_S) == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def until(check: Callable[[], Any]) -> None:
    """Until ``check`` raises no MienError."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await check()
            except MienError:
                await asyncio.sleep(0.02)
            else:
                return


async def begun(cook: Cook, dishes: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while cook.begun < dishes:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("inline_bytes", [0, 10**9], ids=["claimed", "inline"])
async def test_answers_come_back_as_they_were_sent(rabbit_url: str, tmp_path: Path, inline_bytes: int) -> None:
    options: dict[str, Any] = {"claims": claims_in(tmp_path), "inline_bytes": inline_bytes}
    async with serving(rabbit_url, Cook(), **options), calling(rabbit_url, **options) as kitchen:
        contents = [bytes([number]) * 10**number for number in range(7)]
        assert await asyncio.gather(*(kitchen.echo(content) for content in contents)) == contents


async def test_whatever_is_sent_comes_back(rabbit_url: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"claims": claims_in(tmp_path), "inline_bytes": 20}
    async with serving(rabbit_url, Cook(), **options), calling(rabbit_url, **options) as kitchen:
        loop = asyncio.get_running_loop()

        @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
        @given(st.binary(max_size=60))
        def comes_back(content: bytes) -> None:
            assert asyncio.run_coroutine_threadsafe(kitchen.echo(content), loop).result(PATIENCE_S) == content

        await asyncio.to_thread(comes_back)


async def test_what_a_worker_raises_is_raised_here(rabbit_url: str) -> None:
    async with serving(rabbit_url, Cook()), calling(rabbit_url) as kitchen:
        with pytest.raises(MienError) as burnt:
            await kitchen.burn("two faces in a.jpg")
        error = burnt.value
        assert (error.code, error.status, error.detail, error.retry_after_s) == (
            *(Code.SEVERAL_FACES, 418, "two faces in a.jpg", 7),
        )
        with pytest.raises(MienError) as exploded:
            await kitchen.explode()
        assert exploded.value.code is Code.INTERNAL
        assert "secret" not in str(exploded.value)
        assert await kitchen.echo(b"still there") == b"still there"


async def test_arguments_that_are_not_the_ports_are_refused(rabbit_url: str) -> None:
    calls = WorkCalls(rabbit_url)
    await calls.start()
    async with serving(rabbit_url, Cook()):
        with pytest.raises(MienError) as refused:
            await calls.call("Kitchen.cook", pack(["dish", 1]), PATIENCE_S)
    await calls.stop()
    assert (refused.value.code, refused.value.status) == (Code.BAD_BODY, 400)


async def test_a_worker_knows_which_request_it_works_for(rabbit_url: str) -> None:
    async with serving(rabbit_url, Cook()), calling(rabbit_url) as kitchen:
        with observability.request("the-request"):
            assert await kitchen.request_id() == "the-request"


async def test_a_call_before_any_worker_ever_was_there_is_answered_at_once(rabbit_url: str) -> None:
    async with calling(rabbit_url) as kitchen:
        began = time.monotonic()
        with pytest.raises(MienError) as refused:
            await kitchen.echo(b"anybody?")
        assert (refused.value.code, refused.value.status) == (Code.STORE_UNAVAILABLE, 503)
        assert refused.value.retry_after_s
        assert time.monotonic() - began < 5


async def test_too_much_work_is_refused_at_once(rabbit_url: str) -> None:
    async with serving(rabbit_url, Cook(), at_once=1, capacity=2, drain_s=0), calling(rabbit_url) as kitchen:
        meals: list[asyncio.Task[tuple[int, int]]] = []
        async with asyncio.timeout(PATIENCE_S):
            while not (refused := [meal for meal in meals if meal.done()]):
                meals.append(asyncio.create_task(kitchen.cook(len(meals), 3600)))
                await asyncio.sleep(0.02)  # RabbitMQ tells publishers of the limit a little late
        error = refused[0].exception()
        assert isinstance(error, MienError)
        assert (error.code, error.status, error.retry_after_s) == (Code.OVERLOADED, 503, 1)
        assert len(meals) <= 10
        for meal in meals:
            meal.cancel()


async def test_what_nobody_waits_for_any_more_is_not_worked_on(rabbit_url: str) -> None:
    cook = Cook()
    async with (
        serving(rabbit_url, cook, at_once=1),
        calling(rabbit_url, timeout_s=0.5) as hasty,
        calling(rabbit_url) as patient,
    ):
        slow = asyncio.create_task(patient.cook(0, 1.5))
        while not cook.begun:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        late = await asyncio.gather(*(hasty.cook(dish, 0) for dish in (1, 2, 3)), return_exceptions=True)
        refusals = [(each.code, each.status, each.retry_after_s) for each in late if isinstance(each, MienError)]
        assert refusals == [(Code.OVERLOADED, 503, 1)] * 3, "nobody had begun: they may be sent again"
        await slow
        await patient.cook(4, 0)
        assert cook.begun == 2


async def test_a_worker_gives_up_at_the_deadline(rabbit_url: str) -> None:
    cook = Cook()
    async with serving(rabbit_url, cook, at_once=1), calling(rabbit_url, timeout_s=0.3) as hasty:
        with pytest.raises(MienError) as late:
            await hasty.cook(1, 3600)
        assert (late.value.code, late.value.status) == (Code.REQUEST_TIMEOUT, 504)
        async with asyncio.timeout(PATIENCE_S):  # the one place is free again
            while True:
                try:
                    return await _echoed(hasty)
                except MienError:
                    continue


async def _echoed(kitchen: Kitchen) -> None:
    assert await kitchen.echo(b"next") == b"next"


async def test_a_worker_that_stops_finishes_what_it_has_and_leaves_the_rest_to_others(rabbit_url: str) -> None:
    leaving, staying = Cook(), Cook()
    async with calling(rabbit_url) as kitchen:
        async with serving(rabbit_url, leaving, at_once=2):
            meals = [asyncio.create_task(kitchen.cook(dish, 0.5)) for dish in range(6)]
            await begun(leaving, 2)
        assert leaving.begun == 2
        async with serving(rabbit_url, staying):
            assert [dish for dish, _ in await asyncio.gather(*meals)] == list(range(6))
        assert staying.begun == 4


async def test_the_work_of_a_killed_worker_is_done_by_another(rabbit_url: str, tmp_path: Path) -> None:
    claims: dict[str, Any] = {"claims": claims_in(tmp_path), "inline_bytes": INLINE_BYTES}
    async with (
        worker(rabbit_url, tmp_path) as first,
        worker(rabbit_url, tmp_path) as second,
        calling(rabbit_url, **claims) as kitchen,
    ):
        meals = [asyncio.create_task(kitchen.cook(dish, 0.1)) for dish in range(40)]
        photos = [bytes([number]) * 3000 for number in range(20)]
        echoes = [asyncio.create_task(kitchen.echo(photo)) for photo in photos]
        done, _ = await asyncio.wait(meals, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) < 40
        first.send_signal(signal.SIGKILL)
        served = await asyncio.gather(*meals)
        assert [dish for dish, _ in served] == list(range(40))
        assert {pid for _, pid in served} <= {first.pid, second.pid}
        assert second.pid in {pid for _, pid in served}
        assert await asyncio.gather(*echoes) == photos


async def test_a_request_that_ends_its_workers_is_given_up_and_kept(rabbit_url: str, tmp_path: Path) -> None:
    poison = b"\x66" * 2 * INLINE_BYTES
    async with calling(rabbit_url, claims=claims_in(tmp_path), inline_bytes=INLINE_BYTES) as kitchen:
        async with worker(rabbit_url, tmp_path) as first:  # makes the queues
            asked = asyncio.create_task(kitchen.end_the_cook(poison))
            assert await asyncio.wait_for(first.wait(), PATIENCE_S) == 9
        for _ in range(LIVES):
            async with worker(rabbit_url, tmp_path, ready=False) as next_one:
                assert await asyncio.wait_for(next_one.wait(), PATIENCE_S) == 9
        async with worker(rabbit_url, tmp_path) as survivor:
            with pytest.raises(MienError) as given_up:
                await asked
            assert (given_up.value.code, given_up.value.status) == (Code.ENGINE_FAILED, 500)
            assert await kitchen.echo(b"next") == b"next"
            letters = RabbitDeadLetters(rabbit_url, topics={})
            await letters.start()
            [letter] = await letters.list("work", 9)
            assert (letter.topic, letter.reason) == (
                *("Kitchen.end_the_cook", f"{LIVES} workers ended while they worked on it by itself"),
            )
            assert await letters.redrive("work", [letter.message_id]) == 1  # with its content: it still kills
            assert await asyncio.wait_for(survivor.wait(), PATIENCE_S) == 9
            await letters.stop()


async def test_of_the_requests_that_share_workers_with_one_that_ends_them_only_that_one_fails(
    rabbit_url: str, tmp_path: Path
) -> None:
    async with calling(rabbit_url, timeout_s=3 * PATIENCE_S) as kitchen:
        async with worker(rabbit_url, tmp_path) as first:  # makes the queues
            meals = [asyncio.create_task(kitchen.cook(dish, 0.5)) for dish in range(6)]
            poisons = [asyncio.create_task(kitchen.end_the_cook(b"")) for _ in range(2)]
            assert await asyncio.wait_for(first.wait(), PATIENCE_S) == 9
        while not all(poison.done() for poison in poisons):
            async with worker(rabbit_url, tmp_path, ready=False) as next_one:
                ended = asyncio.create_task(next_one.wait())
                await asyncio.wait([ended, asyncio.gather(*poisons, return_exceptions=True)], return_when=FIRST)
        async with worker(rabbit_url, tmp_path):
            assert [dish for dish, _ in await asyncio.gather(*meals)] == list(range(6))
        for poison in poisons:
            with pytest.raises(MienError) as given_up:
                await poison
            assert given_up.value.code is Code.ENGINE_FAILED


async def test_a_long_request_that_comes_back_is_alone_at_first_and_then_joined_by_others(
    rabbit_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone, "ALONE_S", 0.5)
    leaving, staying = Cook(), Cook()
    async with calling(rabbit_url) as kitchen:
        async with serving(rabbit_url, leaving, drain_s=0):
            long = asyncio.create_task(kitchen.cook(1, 3))
            await begun(leaving, 1)
        async with serving(rabbit_url, staying):
            await begun(staying, 1)
            began, short = time.monotonic(), await kitchen.cook(2, 0)
            assert (short[0], long.done()) == (2, False)
            assert time.monotonic() - began > 0.25
            assert (await long)[0] == 1


async def test_claims_are_gone_after_the_call_and_what_was_forgotten_is_swept(rabbit_url: str, tmp_path: Path) -> None:
    claims = claims_in(tmp_path)
    options: dict[str, Any] = {"claims": claims, "inline_bytes": 10}
    async with serving(rabbit_url, Cook(), **options), calling(rabbit_url, **options) as kitchen:
        await kitchen.echo(bytes(100))
    folder = tmp_path / PREFIX
    assert list(folder.iterdir()) == []
    forgotten = await claims.put(b"of a caller that died")
    assert await claims.sweep() == 0
    os.utime(folder / forgotten, (0, 0))
    assert await claims.sweep() == 1
    assert await claims.get(forgotten) is None
    await claims.drop(forgotten)


async def test_what_is_too_large_without_an_object_store_is_refused(
    rabbit_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("libs.common.bus.work.MAX_MESSAGE_BYTES", 1000)
    async with serving(rabbit_url, Cook(), inline_bytes=100), calling(rabbit_url, inline_bytes=100) as kitchen:
        assert await kitchen.echo(bytes(900)) == bytes(900)
        with pytest.raises(MienError) as refused:
            await kitchen.echo(bytes(1100))
        assert (refused.value.code, refused.value.status) == (Code.BODY_TOO_LARGE, 413)


async def _work(url: str, folder: str) -> None:
    options: dict[str, Any] = {"claims": claims_in(Path(folder)), "inline_bytes": INLINE_BYTES}
    async with serving(url, Cook(), at_once=2, **options):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_work(*sys.argv[1:]))
