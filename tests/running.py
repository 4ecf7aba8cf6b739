"""The embedded suite as a real process, for tests that speak to it or kill it."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Self

from deploy.local.suite import ScaledSuite
from libs.common.settings import PORT_OFFSETS

ROOT = Path(__file__).resolve().parent.parent
WARM_S = 120
COPIES = {
    "image_store": 1,
    "faces": 1,
    "events": 2,
    "sender": 1,
    "remote_sdk": 1,
    "matcher": 2,
    "handlers": 2,
    "gateway": 1,
}
"""Processes of each service: two where it matters which of them is asked."""


def free_base_port() -> int:
    """A gateway port such that the ports of all services are free."""
    for _ in range(200):
        base = random.randrange(10_000, 32_000)  # below the ports that the system gives to outgoing connections
        if all(_is_free(base + offset) for offset in PORT_OFFSETS.values()):
            return base
    raise RuntimeError("no free ports")


def _is_free(port: int) -> bool:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


class RunningSuite:
    """``mien up`` over a data folder. May be killed and started again on the same folder."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        self.port = free_base_port()
        self._environment = environment
        self._log = data_dir.parent / f"{data_dir.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.url_of("gateway")

    def url_of(self, service: str) -> str:
        return f"http://127.0.0.1:{self.port + PORT_OFFSETS[service]}"

    def start(self) -> Self:
        """Start and wait until the models are warm."""
        environment = {
            **os.environ,
            "MIEN_DATA_DIR": str(self.data_dir),
            "MIEN_PORT": str(self.port),
            "OMP_NUM_THREADS": "1",
            **self._environment,
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mien", "up"], cwd=ROOT, env=environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + WARM_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mien up did not start:\n{self._log.read_text()[-4000:]}")
            time.sleep(0.1)
        return self

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthcheck", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """SIGKILL: nothing gets to finish anything."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout=30)

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None


class RunningScaledSuite:
    """Every service in processes of its own over real servers, to be spoken to like a :class:`RunningSuite`.

    Raises NotInstalled when a server cannot be had on this machine.
    """

    def __init__(self, folder: Path, **environment: str) -> None:
        self.suite = ScaledSuite(folder, copies=COPIES)
        self.suite.environment.update(environment)
        self._runs = False

    @property
    def url(self) -> str:
        return self.suite.url

    def url_of(self, service: str) -> str:
        """Of the first of its processes."""
        return self.suite.of(service)[0].url

    def start(self) -> Self:
        """Start and wait until every process is ready."""
        self.suite.start()
        self._runs = True
        return self

    def stop(self) -> int:
        """SIGTERM to everything; 0 when each service ended as it should, else the status of one that did not."""
        self.suite.stop()
        self._runs = False
        return next((status for process in self.suite.processes if (status := process.child.exit_status)), 0)

    def is_running(self) -> bool:
        return self._runs
