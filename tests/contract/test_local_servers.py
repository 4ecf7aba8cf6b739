"""The private servers of tests and ``make local``: what they acknowledged outlives kill -9, and they end with us."""

import subprocess
import sys
import time
from pathlib import Path

import aio_pika
import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from pymongo import AsyncMongoClient
from redis.asyncio import Redis as RedisClient

from deploy.local.mongo import Mongo
from deploy.local.rabbit import Rabbit
from deploy.local.redis import Redis
from deploy.local.s3 import S3
from tests.running import ROOT
from tests.servers import Bucket


async def test_redis_keeps_what_it_acknowledged(redis_server: Redis, redis_url: str) -> None:
    async with RedisClient.from_url(redis_url) as client:
        await client.set("key", "value")
    redis_server.kill()
    redis_server.start()
    async with RedisClient.from_url(redis_url) as client:
        assert await client.get("key") == b"value"


async def test_rabbit_keeps_what_it_confirmed(rabbit_server: Rabbit, rabbit_url: str) -> None:
    async with await aio_pika.connect(rabbit_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
    rabbit_server.restart()  # see Rabbit: it has to write down first that there is such a queue
    async with await aio_pika.connect(rabbit_url) as connection:
        channel = await connection.channel()
        message = aio_pika.Message(b"body", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, "kept")
    rabbit_server.kill()
    rabbit_server.start()
    async with await aio_pika.connect(rabbit_url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue("kept")
        assert (await queue.get(timeout=20)).body == b"body"


async def test_mongo_keeps_what_it_acknowledged(mongo_server: Mongo) -> None:
    async with AsyncMongoClient[dict[str, str]](mongo_server.url_of("kept")) as client:
        await client.get_default_database()["things"].insert_one({"_id": "one"})
    mongo_server.kill()
    mongo_server.start()
    async with AsyncMongoClient[dict[str, str]](mongo_server.url_of("kept")) as client:
        assert await client.get_default_database()["things"].find_one() == {"_id": "one"}


def test_ceph_keeps_what_it_acknowledged(ceph_server: S3) -> None:
    ceph_server.add_bucket("kept-objects")
    objects = s3_client(Bucket(ceph_server.url, "kept-objects"))
    objects.put_object(Bucket="kept-objects", Key="key", Body=b"body")
    ceph_server.kill()
    ceph_server.start()
    assert objects.get_object(Bucket="kept-objects", Key="key")["Body"].read() == b"body"


def test_a_bucket_is_empty_and_takes_an_object_once_when_asked_to(s3: Bucket) -> None:
    objects = s3_client(s3)
    assert objects.list_objects_v2(Bucket=s3.name)["KeyCount"] == 0
    objects.put_object(Bucket=s3.name, Key="key", Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        objects.put_object(Bucket=s3.name, Key="key", Body=b"second", IfNoneMatch="*")


def s3_client(bucket: Bucket):
    return boto3.client(
        "s3",
        endpoint_url=bucket.url,
        aws_access_key_id=bucket.key,
        aws_secret_access_key=bucket.secret,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )


def test_servers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    start = (
        "import pathlib, sys, time\n"
        "from deploy.local.rabbit import Rabbit\n"
        "from deploy.local.redis import Redis\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "servers = [Redis(folder / 'redis').start(), Rabbit(folder / 'rabbit').start()]\n"
        "print(*(child.pid for server in servers for child in server.children), flush=True)\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-c", start, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as starter:
        assert starter.stdout
        pids = [int(pid) for pid in starter.stdout.readline().split()]
        starter.kill()
    assert len(pids) == 3
    deadline = time.monotonic() + 10
    while left := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """A zombie whose parent is gone counts as dead: somebody else has to bury it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
