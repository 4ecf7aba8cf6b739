"""One service in a process of its own: what it refuses, how it comes up before its servers do, how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest

from deploy.local.child import Child, free_port
from deploy.local.mongo import Mongo
from deploy.local.rabbit import Rabbit
from deploy.local.s3 import KEY, SECRET, Moto
from deploy.local.server import NotInstalled, Server
from tests.running import ROOT

STARTS_S = 60.0
STOPS_S = 30.0


def get(url: str) -> tuple[int, Any]:
    """Status 0 stands for no answer."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, orjson.loads(answer.read())
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, orjson.loads(refusal.read())
    except OSError:
        return 0, None


def until(is_so: Callable[[], bool], within_s: float = STARTS_S) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Server]]:
    """RabbitMQ, MongoDB and S3, none of them started."""
    try:
        servers = [Rabbit(tmp_path / "rabbit"), Mongo(tmp_path / "mongo"), Moto(tmp_path / "s3")]
    except NotInstalled as missing:
        pytest.skip(f"not on this machine: {missing}")
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.kill)
        yield servers


@pytest.fixture
def service(servers: list[Server], tmp_path: Path) -> Iterator[Child]:
    """`mien serve image_store`, not started; `url` is where it will listen."""
    rabbit, mongo, s3 = servers
    environment = {
        "MIEN_BUS_URL": rabbit.url,
        "MIEN_MONGO_URL": mongo.url,
        "MIEN_S3_URL": s3.url,
        "MIEN_S3_KEY": KEY,
        "MIEN_S3_SECRET": SECRET,
        "MIEN_DATA_DIR": str(tmp_path / "nothing"),
        "MIEN_IMAGE_STORE_PORT": str(free_port()),
    }
    command = [sys.executable, "-m", "mien", "serve", "image_store"]
    child = Child("image_store", command, log=tmp_path / "service.log", environment=environment, folder=ROOT)
    child.url = f"http://127.0.0.1:{environment['MIEN_IMAGE_STORE_PORT']}"  # type: ignore[attr-defined]
    yield child
    child.kill()


def test_a_service_lives_before_its_servers_do_and_is_ready_by_itself_when_they_are(
    servers: list[Server], service: Child, tmp_path: Path
) -> None:
    rabbit, mongo, s3 = servers
    url: str = service.url  # type: ignore[attr-defined]
    service.start()
    until(lambda: get(f"{url}/livez") == (200, {"alive": True}))
    status, content = get(f"{url}/readyz")
    assert (status, set(content["missing"])) == (503, {"bus", "image_store"})
    assert get(f"{url}/healthcheck")[0] == 503

    for server in (mongo, s3):
        server.start()
    s3.add_bucket("mien")  # type: ignore[attr-defined]
    until(lambda: set(get(f"{url}/readyz")[1]["missing"]) == {"bus"})
    rabbit.start()
    until(lambda: get(f"{url}/readyz") == (200, {"ready": True, "missing": {}}))
    assert get(f"{url}/healthcheck")[0] == 200

    mongo.kill()
    until(lambda: "image_store" in get(f"{url}/readyz")[1]["missing"])
    assert get(f"{url}/livez")[0] == 200
    mongo.start()
    until(lambda: get(f"{url}/readyz")[0] == 200)

    shown = get(f"{url}/config")[1]
    assert (shown["MIEN_S3_SECRET"], SECRET in str(shown)) == ("***", False)
    began = time.monotonic()
    service.ask_to_stop()
    until(lambda: not service.is_running(), STOPS_S)
    assert (service.exit_status, time.monotonic() - began < 10) == (0, True)
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("service", "settings", "said", "code"),
    [
        ("events", {}, "events in a process of its own needs MIEN_BUS_URL, MIEN_MONGO_URL; `mien up` needs nothing", 5),
        ("faces", {"MIEN_BUS_URL": "amqp://a/", "MIEN_MONGO_URL": "mongodb://a/b"}, "needs MIEN_REDIS_URL;", 5),
        ("people", {}, "no service is named 'people'; there are gateway, image_store, faces", 2),
        ("matcher", {"MIEN_BUS_URL": "amqp://a/", "MIEN_LOG_FORMAT": "xml"}, "MIEN_LOG_FORMAT: ", 2),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(
    service: str, settings: dict[str, str], said: str, code: int, tmp_path: Path
) -> None:
    environment = {**os.environ, "MIEN_DATA_DIR": str(tmp_path), **settings}
    command = [sys.executable, "-m", "mien", "serve", service]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.startswith("mien: ")
    assert done.stderr.count("\n") == 1
