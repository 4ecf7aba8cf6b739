"""One running suite for all tests that only speak to it; every test uses an account of its own."""

from collections.abc import AsyncIterator, Iterator

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from deploy.local.server import NotInstalled
from libs.client import MienClient
from libs.common.ids import new_id
from tests.running import RunningScaledSuite, RunningSuite
from tests.servers import (  # noqa: F401 (fixtures for every test)
    ceph_server,
    mongo_server,
    mongo_url,
    moto_server,
    rabbit_server,
    rabbit_url,
    redis_server,
    redis_url,
    s3,
)

TOGETHER = ("tests/e2e", "tests/unit/remote_sdk/estimators")
"""Folders of which one process runs all: another would start the suites again, or look at the same faces again."""


class Scheduling(LoadFileScheduling):
    """Of several processes one runs all tests of a file, or of a folder that stays together."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in TOGETHER if nodeid.startswith(f"{folder}/")), super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    return Scheduling(config, log)


@pytest.fixture(scope="session")
def embedded_suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSuite]:
    """The embedded suite with its real models, in a process of its own."""
    running = RunningSuite(tmp_path_factory.mktemp("suite") / "data").start()
    yield running
    if running.is_running():
        assert running.stop() == 0, "the suite did not stop cleanly"


@pytest.fixture(scope="session")
def suite(embedded_suite: RunningSuite) -> RunningSuite:
    """What a test runs on that does not choose; tests/e2e asks for both kinds."""
    return embedded_suite


@pytest.fixture(scope="session")
def scaled_suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningScaledSuite]:
    """Every service in processes of its own, over RabbitMQ, Redis, MongoDB and S3."""
    try:
        running = RunningScaledSuite(tmp_path_factory.mktemp("scaled"))
    except NotInstalled as missing:
        pytest.skip(f"not on this machine: {missing}")
    running.start()
    yield running
    assert running.stop() == 0, "some service did not stop cleanly"


@pytest.fixture
async def client(suite: RunningSuite) -> AsyncIterator[MienClient]:
    """A client with a fresh account."""
    async with MienClient(suite.url, account=new_id()) as client:
        yield client
