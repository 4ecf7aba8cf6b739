"""Real servers for tests: each is started at its first use, and every test gets a corner of its own.

``rabbit_url`` is a virtual host, ``redis_url`` and ``mongo_url`` a database, ``s3`` a bucket that no other test
sees. ``rabbit_server`` and its like are the servers themselves, for tests that stop, kill and restart them: what a
server holds for other tests outlives that, except for moto's. A test whose server cannot be had here is skipped with
what would have to be installed.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

import pytest

from deploy.local.mongo import Mongo
from deploy.local.rabbit import Rabbit
from deploy.local.redis import Redis
from deploy.local.s3 import KEY, S3, SECRET, Ceph, Moto
from deploy.local.server import NotInstalled, Server
from libs.common.ids import new_id
from tests.containers import MinioContainer, MongoContainer, RabbitContainer, RedisContainer

T = TypeVar("T", bound=Server)

_redis_databases = itertools.count()


@dataclass(frozen=True)
class Bucket:
    """An empty bucket of an S3 server, and how to reach it."""

    url: str
    name: str
    key: str = KEY
    secret: str = SECRET


def _running(factory: pytest.TempPathFactory, *kinds: type[T]) -> Iterator[T]:
    """A server of the session: the first kind that can be had. Skips the test that asks when there is none."""
    reasons: list[str] = []
    for kind in kinds:
        try:
            server = kind(factory.mktemp(kind.__name__.lower()))
        except NotInstalled as missing:
            reasons.append(str(missing))
            continue
        if server.remark:
            print(f"\n{server.remark}", file=sys.__stderr__)
        server.start()
        yield server
        server.kill()  # nobody needs what it holds
        return
    pytest.skip("; ".join(reasons))


@pytest.fixture(scope="session")
def rabbit_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rabbit]:
    yield from _running(tmp_path_factory, Rabbit, RabbitContainer)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    yield from _running(tmp_path_factory, Redis, RedisContainer)


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongo]:
    """A mongod if there is one or an engine to run one, else the server that stands in for it."""
    kinds = (Mongo, MongoContainer) if shutil.which("mongod") else (MongoContainer, Mongo)
    yield from _running(tmp_path_factory, *kinds)


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    yield from _running(tmp_path_factory, Moto)


@pytest.fixture(scope="session")
def ceph_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A real S3 server."""
    yield from _running(tmp_path_factory, Ceph, MinioContainer)


@pytest.fixture
def rabbit_url(rabbit_server: Rabbit) -> Iterator[str]:
    """``amqp://...`` of an empty virtual host."""
    host = new_id()
    yield rabbit_server.add_host(host)
    rabbit_server.remove_host(host)


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """``redis://.../n`` of an empty database."""
    return redis_server.url_of(next(_redis_databases))


@pytest.fixture
def mongo_url(request: pytest.FixtureRequest) -> str:
    """``mongodb://.../name`` of a database that is not there yet; on the server of MIEN_TEST_MONGO_URL if that is set.

    Nobody drops it: the server's folder goes at the end, and on a server of somebody else's the name says whose it was.
    """
    database = f"mien_test_{new_id().replace('-', '')}"
    if given := os.environ.get("MIEN_TEST_MONGO_URL"):
        return urlunsplit(urlsplit(given)._replace(path=f"/{database}"))
    server: Mongo = request.getfixturevalue("mongo_server")
    return server.url_of(database)


@pytest.fixture(params=["moto", "ceph"])
def s3(request: pytest.FixtureRequest) -> Bucket:
    """An empty bucket, once on each kind of S3 server."""
    server: S3 = request.getfixturevalue(f"{request.param}_server")
    name = f"mien-{new_id()}"
    server.add_bucket(name)
    return Bucket(server.url, name)
