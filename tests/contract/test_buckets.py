"""Buckets of tokens, in memory and in Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random

import aiohttp
import pytest
from redis.asyncio import Redis

from deploy.local.redis import Redis as RedisServer
from libs.common.http.server import Servers
from libs.common.ids import new_id
from libs.common.settings import Settings, StorageSettings
from mien.serve import GATEWAY, Process
from services.gateway import app as gateway
from services.gateway.limits import Buckets, MemoryBuckets, Rate
from services.gateway.limits_redis import RedisBuckets

Open = Callable[[Rate], Buckets]


@pytest.fixture(params=["memory", "redis"])
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Open]:
    if request.param == "memory":
        yield MemoryBuckets
        return
    async with Redis.from_url(request.getfixturevalue("redis_url")) as redis:
        yield lambda rate: RedisBuckets(redis, rate)


async def test_as_many_as_the_burst_pass_at_once_and_the_next_is_told_when(opened: Open) -> None:
    filled = opened(Rate(per_s=0.5, burst=5))
    account, other = new_id(), new_id()
    waits = await asyncio.gather(*(filled.take(account) for _ in range(7)))

    assert sorted(waits)[:5] == [0.0] * 5
    assert [1.5 < wait <= 2.0 for wait in sorted(waits)[5:]] == [True, True], "being refused costs no token"
    assert await filled.take(other) == 0.0


async def test_in_the_long_run_the_rate_passes_and_no_more(opened: Open) -> None:
    filled = opened(Rate(per_s=50, burst=2))
    account, passed, began = new_id(), 0, time.monotonic()
    while (spent_s := time.monotonic() - began) < 1:
        wait_s = await filled.take(account)
        passed += wait_s == 0.0
        await asyncio.sleep(wait_s)

    assert 25 <= passed <= 50 * spent_s + 3


def test_a_bucket_in_memory_is_one_of_tokens() -> None:
    async def compare(seed: int) -> None:
        dice, rate, now = Random(seed), Rate(per_s=4, burst=3), 0.0
        filled = MemoryBuckets(rate, lambda: now)
        tokens, at = 3.0, 0.0
        for _ in range(500):
            now += dice.choice([0, 0.0625, 0.125, 0.5, 2])
            tokens, at = min(3.0, tokens + (now - at) * rate.per_s), now
            wait = await filled.take("account")
            assert wait == (0 if tokens >= 1 else (1 - tokens) / rate.per_s)
            tokens -= tokens >= 1

    for seed in range(5):
        asyncio.run(compare(seed))


async def test_gateways_on_one_redis_share_the_buckets(redis_url: str) -> None:
    account = new_id()
    async with Redis.from_url(redis_url) as one, Redis.from_url(redis_url) as two:
        gateways = [RedisBuckets(redis, Rate(per_s=0.01, burst=10)) for redis in (one, two)]
        waits = await asyncio.gather(*(filled.take(account) for filled in gateways for _ in range(10)))
    assert waits.count(0.0) == 10


async def test_without_redis_everything_passes_and_with_it_again_nothing_is_forgotten(
    redis_server: RedisServer, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    account = new_id()
    async with Redis.from_url(redis_url, socket_connect_timeout=1, socket_timeout=1) as redis:
        filled = RedisBuckets(redis, Rate(per_s=0.01, burst=1))
        assert await filled.take(account) == 0.0
        redis_server.kill()
        began = time.monotonic()
        assert [await filled.take(account) for _ in range(50)] == [0.0] * 50
        assert time.monotonic() - began < 1
        redis_server.start()
        deadline = time.monotonic() + 10
        while await filled.take(account) == 0.0:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
    assert [record.getMessage() for record in caplog.records if record.name == "mien.redis"] == [
        "rate limits goes on without Redis: ConnectionError",
        "rate limits has Redis again",
    ]


async def _health() -> dict[str, object]:
    return {}


async def test_the_gateway_answers_429_with_the_time_to_come_again() -> None:
    servers = Servers()
    app = gateway.build({}, _health, 1024, MemoryBuckets(Rate(per_s=0.1, burst=2)))
    url = f"http://127.0.0.1:{await servers.start(app, '127.0.0.1', 0)}/version"
    account = new_id()
    async with aiohttp.ClientSession() as session:

        async def ask(**headers: str) -> tuple[int, str | None, dict[str, object]]:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            async with session.get(url, headers=sent) as answer:
                return answer.status, answer.headers.get("Retry-After"), await answer.json()

        statuses = [(await ask(Luna_Account_Id=name))[0] for name in (account, account.upper())]
        refused, retry_after, body = await ask(Luna_Account_Id=account)
        others = [(await ask(**headers))[0] for headers in ({}, {"Luna_Account_Id": new_id()})]
        malformed = (await ask(Luna_Account_Id="no uuid"))[0]
    await servers.stop()

    assert statuses == [200, 200]
    assert (refused, retry_after, body["error_code"]) == (429, "10", 12038)
    assert account in str(body["detail"])
    assert (others, malformed) == ([200, 200], 200)


async def test_the_settings_put_a_limit_on_the_gateway(tmp_path: Path) -> None:
    storage = StorageSettings(data_dir=tmp_path, durable=False)
    process = Process(Settings(port=0, rate_per_s=0.1, rate_burst=1, storage=storage), [GATEWAY])
    await process.start()
    async with aiohttp.ClientSession(headers={"Luna-Account-Id": new_id()}) as session:
        statuses = []
        for _ in range(2):
            async with session.get(f"{process.addresses[GATEWAY]}/6/version") as answer:
                statuses.append(answer.status)
    await process.stop()
    assert statuses == [200, 429]
