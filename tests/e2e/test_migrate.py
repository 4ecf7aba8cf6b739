"""`mien migrate`, as somebody types it, against real servers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.rabbit import Rabbit
from deploy.local.s3 import KEY, SECRET, Moto
from libs.common.ids import new_id
from tests.running import ROOT

Mien = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def mien(tmp_path: Path, rabbit_url: str, mongo_url: str, redis_url: str, moto_server: Moto) -> Mien:
    """The command line over servers that have nothing of ours yet."""
    settings = {
        "MIEN_BUS_URL": rabbit_url,
        "MIEN_MONGO_URL": mongo_url,
        "MIEN_REDIS_URL": redis_url,
        "MIEN_S3_URL": moto_server.url,
        "MIEN_S3_BUCKET": f"mien-{new_id()}",
        "MIEN_S3_KEY": KEY,
        "MIEN_S3_SECRET": SECRET,
        "MIEN_DATA_DIR": str(tmp_path / "nothing"),
    }

    def run(*arguments: str, **other: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mien", *arguments]
        environment = {**os.environ, **settings, **other}
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run


def test_what_is_missing_is_named_then_made_and_making_it_again_changes_nothing(mien: Mien, tmp_path: Path) -> None:
    missing = mien("migrate", "--check")
    assert missing.returncode == 1
    for name in ("events: missing: ", "missing: the bucket", "missing: mien.work.dead", "mien.work.Sdk.estimate"):
        assert name in missing.stdout

    made = mien("migrate")
    assert (made.returncode, made.stderr) == (0, "")
    assert "S3, bucket " in made.stdout
    assert made.stdout.count(": made") >= 6

    again, checked = mien("migrate"), mien("migrate", "--check")
    assert (again.returncode, checked.returncode) == (0, 0)
    assert ": made" not in again.stdout
    assert "missing" not in checked.stdout
    assert not (tmp_path / "nothing").exists()


def test_every_queue_that_is_made_is_missed_when_it_is_gone(mien: Mien, rabbit_server: Rabbit, rabbit_url: str) -> None:
    assert mien("migrate").returncode == 0
    host = rabbit_url.rpartition("/")[2]
    made = {queue["name"] for queue in rabbit_server.queues(host)}
    rabbit_server.remove_host(host)
    rabbit_server.add_host(host)

    checked = mien("migrate", "--check")

    [said] = [line for line in checked.stdout.splitlines() if line.startswith("RabbitMQ: missing: ")]
    assert sorted(said.removeprefix("RabbitMQ: missing: ").split(", ")) == sorted(made)


def test_what_cannot_be_reached_is_said_for_each_and_no_secret_is(mien: Mien) -> None:
    away = {
        "MIEN_BUS_URL": "amqp://mien:s3cr3t@127.0.0.1:1/",
        "MIEN_REDIS_URL": "redis://:s3cr3t@127.0.0.1:1/0",
        "MIEN_S3_URL": "http://127.0.0.1:1",
        "MIEN_S3_SECRET": "s3cr3t",
    }
    done = mien("migrate", "--check", **away)
    assert done.returncode == 1
    for line in ("RabbitMQ: cannot be reached (", "Redis: cannot be reached (", ": cannot be reached (S3: no answer)"):
        assert line in done.stdout, done.stdout
    assert "s3cr3t" not in done.stdout + done.stderr


def test_an_embedded_suite_needs_no_migration(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MIEN_")}
    done = subprocess.run(
        [sys.executable, "-m", "mien", "migrate"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "nothing to do: every store is embedded, and makes itself\n")
