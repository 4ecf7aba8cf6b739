import asyncio

import pytest

from mien.pace import at_once


async def test_no_more_than_asked_run_together_and_results_keep_their_order() -> None:
    running = most = 0
    gate = asyncio.Event()

    async def work(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            gate.set()
        await gate.wait()
        running -= 1
        return number * 10

    assert await at_once(3, work, range(20)) == [number * 10 for number in range(20)]
    assert most == 3


async def test_the_first_failure_ends_the_others_and_is_raised() -> None:
    begun: list[int] = []
    never = asyncio.Event()

    async def work(number: int) -> None:
        begun.append(number)
        if number == 1:
            raise OSError("unplugged")
        await never.wait()

    with pytest.raises(OSError, match="unplugged"):
        await at_once(2, work, range(100))
    assert begun == [0, 1]


async def test_nothing_to_do_is_done() -> None:
    async def work(_: int) -> int:
        return 1

    assert await at_once(4, work, []) == []
