"""Work over RabbitMQ while the broker goes away and comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Protocol

import pytest

from deploy.local.rabbit import Rabbit
from libs.common.bus.work import WorkCalls, WorkServer, remote_work
from libs.common.errors import Code, MienError

PATIENCE_S = 60


class Kitchen(Protocol):
    async def cook(self, dish: int, seconds: float) -> int: ...


class Cook:
    def __init__(self) -> None:
        self.cooking = asyncio.Event()

    async def cook(self, dish: int, seconds: float) -> int:
        self.cooking.set()
        await asyncio.sleep(seconds)
        return dish


@pytest.fixture
def broker(rabbit_server: Rabbit, rabbit_url: str) -> Iterator[Rabbit]:
    """The server of ``rabbit_url``, left running."""
    yield rabbit_server
    rabbit_server.start()


async def test_a_call_whose_broker_dies_fails_clearly_and_the_next_ones_go_through(
    broker: Rabbit, rabbit_url: str
) -> None:
    cook = Cook()
    server, calls = WorkServer(Kitchen, cook, rabbit_url, at_once=2, drain_s=0), WorkCalls(rabbit_url, patience_s=1)
    await server.start()
    await calls.start()
    kitchen = remote_work(Kitchen, calls, PATIENCE_S)
    try:
        await _served(kitchen, 1)
        await asyncio.to_thread(broker.restart)  # or RabbitMQ 3.10 forgets its new quorum queues (deploy.local.rabbit)
        await _served(kitchen, 1)
        cook.cooking.clear()
        waiting = asyncio.create_task(kitchen.cook(2, 3600))
        await asyncio.wait_for(cook.cooking.wait(), PATIENCE_S)
        await asyncio.to_thread(broker.kill)
        began = time.monotonic()
        for call in (waiting, kitchen.cook(3, 0)):
            with pytest.raises(MienError) as lost:
                await call
            assert (lost.value.code, lost.value.status) == (Code.STORE_UNAVAILABLE, 503)
            assert lost.value.retry_after_s
        assert time.monotonic() - began < 5
        await asyncio.to_thread(broker.start)
        came_back = time.monotonic()
        await _served(kitchen, 4)
        assert time.monotonic() - came_back < 10
    finally:
        await calls.stop()
        await server.stop()


async def _served(kitchen: Kitchen, dish: int) -> None:
    """As a caller does that is told to try again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                assert await kitchen.cook(dish, 0) == dish
            except MienError as refusal:
                if refusal.retry_after_s is None:
                    raise
                await asyncio.sleep(0.1)
            else:
                return
