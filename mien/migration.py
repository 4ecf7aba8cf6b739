"""What the stores and the bus must have before services use them: made where it is missing, or named."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aio_pika
import aiohttp
import obstore
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelNotFoundEntity, ChannelPreconditionFailed
from obstore.store import S3Store
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import PyMongoError
from yarl import URL

from libs.common import clock, ports
from libs.common.bus.link import CONNECT_S
from libs.common.bus.topics import TOPICS
from libs.common.bus.topology import (
    CAPACITY,
    WORK,
    alone_queue,
    declare_topics,
    declare_work,
    queue_names,
    work_queue,
)
from libs.common.errors import Code, MienError
from libs.common.rpc import methods
from libs.common.settings import Settings
from libs.common.storage import mongo, objects
from libs.common.storage.mongo import Collection, Document
from libs.common.storage.redis import reached as redis_reached
from libs.common.storage.storage import Storage
from services.events import store_mongo as events
from services.faces import store_mongo as faces
from services.handlers import store_mongo as handlers
from services.image_store import store_mongo as image_store
from services.sender import deliveries_mongo as sender

COLLECTIONS: dict[str, Sequence[Collection]] = {
    "faces": faces.COLLECTIONS,
    "events": events.COLLECTIONS,
    "handlers": handlers.COLLECTIONS,
    "image_store": image_store.COLLECTIONS,
    "sender": sender.COLLECTIONS,
}
"""Of each service."""

STEP_S = 60.0
PROBE = "migration"
"""The collection that a write is tried in."""
SIGNED_S = 60
"""How long the address that makes the bucket is good for."""


@dataclass(frozen=True)
class Outcome:
    """What was looked at and how it is. ``well`` when nothing is left to do."""

    what: str
    state: str
    well: bool = True


Step = Callable[[], Awaitable[str]]
"""Makes or looks at one thing; says how it is, or raises why it is not."""


class Missing(Exception):
    """Something is not there, and nobody asked to make it."""


async def migrate(settings: Settings, *, check_only: bool = False) -> list[Outcome]:
    """Make what is missing, or with ``check_only`` name it and change nothing. Repeating it is harmless.

    What cannot be reached is an outcome that is not well. Raises BAD_URL.
    """
    storage = Storage(settings.storage)
    try:
        return [await _outcome(what, step) for what, step in _steps(settings, storage, check_only).items()]
    finally:
        await storage.close()


async def _outcome(what: str, step: Step) -> Outcome:
    try:
        async with asyncio.timeout(STEP_S):
            return Outcome(what, await step())
    except TimeoutError:
        return Outcome(what, f"did not answer within {STEP_S:g} s", well=False)
    except MienError as failure:
        return Outcome(what, f"cannot be reached ({failure.detail.partition(';')[0]})", well=False)
    except (Missing, PyMongoError, OSError) as failure:
        return Outcome(what, str(failure), well=False)


def _steps(settings: Settings, storage: Storage, check_only: bool) -> dict[str, Step]:
    """What is not set is embedded, and makes itself."""
    steps: dict[str, Step] = {}
    if (database := storage.mongo) is not None:
        for service, collections in COLLECTIONS.items():
            for each in collections:
                place = database[each.name]
                steps[f"MongoDB, {service}: {each.name}"] = lambda place=place, each=each: _indexes(
                    place, each, check_only
                )
        steps["MongoDB, majority writes"] = lambda: _majority(database[PROBE], check_only)
    if (bucket := storage.objects) is not None:
        steps[f"S3, bucket {settings.storage.s3_bucket}"] = lambda: _bucket(bucket, check_only)
    if (redis := storage.redis) is not None:

        async def ping() -> str:
            with redis_reached():
                await redis.ping()
            return "answers"

        steps["Redis"] = ping
    if (bus_url := settings.storage.bus_url) is not None:
        steps["RabbitMQ"] = lambda: _queues(bus_url.get_secret_value(), settings.sdk.queue_limit, check_only)
    return steps


async def _indexes(place: AsyncCollection[Document], declared: Collection, check_only: bool) -> str:
    with mongo.reached():
        there = {_signature(index) for index in (await place.index_information()).values()}
        missing = [index.document["name"] for index in declared.indexes if _signature(index.document) not in there]
        if missing and check_only:
            raise Missing(f"missing: {', '.join(missing)}")
        if missing:
            await place.create_indexes(list(declared.indexes))
    return f"made {', '.join(missing)}" if missing else f"{len(declared.indexes)} indexes"


def _signature(index: Mapping[str, Any]) -> tuple[tuple[str, ...], bool]:
    """What makes an index the one that is wanted: its fields in order, and whether it is unique. Not its name, which
    stand-ins for MongoDB choose themselves."""
    return tuple(dict(index["key"])), bool(index.get("unique"))


async def _majority(place: AsyncCollection[Document], check_only: bool) -> str:
    """Only a replica set can promise more than one server, and keeps what a majority has when its primary dies."""
    with mongo.reached():
        hello = await place.database.command("hello")
        if not check_only:
            await place.update_one({"_id": "majority"}, {"$set": {"tried_ms": clock.now_ms()}}, upsert=True)
    if "setName" not in hello:
        return "acknowledged; by a single server, not a replica set"
    return f"acknowledged by replica set {hello['setName']}" if not check_only else f"replica set {hello['setName']}"


async def _bucket(bucket: S3Store, check_only: bool) -> str:
    if await _is_there(bucket):
        return "is there"
    if check_only:
        raise Missing("missing: the bucket")
    # obstore has no call for it, but signs any: S3 makes a bucket on PUT of its own path
    address = await obstore.sign_async(bucket, "PUT", "", timedelta(seconds=SIGNED_S))
    async with aiohttp.ClientSession() as session, session.put(URL(address, encoded=True)) as answer:
        if answer.status >= 300:
            raise Missing(f"cannot be made with this key (the server says {answer.status}); make it by hand")
    if not await _is_there(bucket):
        raise Missing("was made, and is not there")
    return "made"


async def _queues(url: str, work_capacity: int, check_only: bool) -> str:
    work = [method.name for method in methods(ports.Sdk).values()]
    names = [*queue_names(TOPICS), *(queue(f"{WORK}.{name}") for name in work for queue in (work_queue, alone_queue))]
    try:
        async with await aio_pika.connect(url, timeout=CONNECT_S) as connection:
            missing = [name for name in names if not await _is_declared(connection, name)]
            if missing and check_only:
                raise Missing(f"missing: {', '.join(missing)}")
            channel = await connection.channel()
            await declare_topics(channel, TOPICS, CAPACITY)
            for name in work:
                await declare_work(channel, name, work_capacity)
    except ChannelPreconditionFailed as refusal:
        raise Missing(f"of another release, drain and delete them first: {refusal}") from None
    except CONNECTION_EXCEPTIONS as failure:
        raise MienError(Code.STORE_UNAVAILABLE, f"RabbitMQ: {type(failure).__name__}") from None
    return f"made {len(missing)} queues" if missing else f"{len(names)} queues"


async def _is_declared(connection: AbstractConnection, name: str) -> bool:
    """Asks on a channel of its own: the broker closes it when the queue is not there."""
    channel = await connection.channel()
    try:
        await channel.declare_queue(name, passive=True)
    except ChannelNotFoundEntity:
        return False
    await channel.close()
    return True


async def _is_there(bucket: S3Store) -> bool:
    try:
        with objects.reached():
            await obstore.list_with_delimiter_async(bucket, prefix=PROBE)
    except MienError as failure:
        if failure.code is Code.STORE_UNAVAILABLE and "NoSuchBucket" in failure.detail:
            return False
        raise
    return True
