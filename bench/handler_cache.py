"""What reading a handler costs an emission, from MongoDB and by way of Redis: ``python -m bench.handler_cache``.

Starts private servers in a scratch folder. Without a ``mongod`` on the PATH its stand-in answers, which is slower than
MongoDB; the cost of the driver and of reading the policies is the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any

from redis.asyncio import Redis

from deploy.local.mongo import Mongo
from deploy.local.redis import Redis as RedisServer
from libs.common import clock
from libs.common.ids import new_id
from libs.common.storage import mongo
from libs.common.wire.handlers import Handler
from libs.common.wire.policies import Policies
from services.handlers.store_cached import CachedHandlers
from services.handlers.store_mongo import COLLECTIONS, MongoHandlers

READS = 2000
AT_ONCE = 32
FOR_EVER_S = 3600.0

Read = Callable[[], Awaitable[Any]]


async def main() -> None:
    with TemporaryDirectory(prefix="mien-bench-") as folder:
        redis_server, mongo_server = RedisServer(Path(folder) / "redis"), Mongo(Path(folder) / "mongo")
        redis_server.start()
        mongo_server.start()
        try:
            await measure(mongo_server, redis_server.url)
        finally:
            mongo_server.stop()
            redis_server.stop()


async def measure(server: Mongo, redis_url: str) -> None:
    moment = clock.now()
    handler = Handler(
        handler_id=new_id(),
        account_id=new_id(),
        description="",
        handler_type=0,
        policies=Policies(),
        version=1,
        create_time=moment,
        last_update_time=moment,
    )
    async with mongo.connect(server.url) as client, Redis.from_url(redis_url) as redis:
        database = client.get_default_database()
        await mongo.migrate(database, COLLECTIONS)
        stored = MongoHandlers(database)
        cached = CachedHandlers(stored, redis, ttl_s=FOR_EVER_S)
        await stored.add(handler)
        print(server.remark or "mongod")
        print("| read from | p50 ms | p99 ms | reads/s, 32 at once |\n|--|--:|--:|--:|")
        for name, store in (("MongoDB", stored), ("Redis", cached)):
            p50, p99, rate = await timed(lambda store=store: store.get(handler.account_id, handler.handler_id))
            print(f"| {name} | {p50 * 1000:.2f} | {p99 * 1000:.2f} | {rate:.0f} |")


async def timed(read: Read) -> tuple[float, float, float]:
    """p50 and p99 of one after the other, seconds; reads per second with many at once."""
    spent: list[float] = []
    for _ in range(READS):
        began = time.perf_counter()
        await read()
        spent.append(time.perf_counter() - began)
    began = time.perf_counter()
    room = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with room:
            await read()

    await asyncio.gather(*(one() for _ in range(READS)))
    cuts = quantiles(spent, n=100)
    return cuts[49], cuts[98], READS / (time.perf_counter() - began)


if __name__ == "__main__":
    asyncio.run(main())
