"""Repeated work outlives its failures."""

from __future__ import annotations

import asyncio

import pytest

from libs.common.housekeeping import Housekeeping


async def test_work_goes_on_after_it_failed_until_it_is_stopped(caplog: pytest.LogCaptureFixture) -> None:
    done = asyncio.Event()
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise OSError("disk I/O error")
        done.set()

    housekeeping = Housekeeping()
    housekeeping.repeat("sweep", work, 0)
    async with asyncio.timeout(10):
        await done.wait()
    await housekeeping.stop()
    stopped_at = runs
    for _ in range(5):
        await asyncio.sleep(0)
    assert runs == stopped_at
    assert "sweep failed" in caplog.text
