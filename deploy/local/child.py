"""A process that ends with this one: in a group of its own, with its output in a file."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

LEASH = Path(__file__).with_name("leash.py")
LAST_BYTES = 3000
POLL_S = 0.05
PORTS = range(10_000, 32_000)
"""Below the ports that systems give to outgoing connections."""

_SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")
"""A child dies with the *thread* that forked it, so all are forked by one that lives as long as the process."""


class DidNotStart(Exception):
    """A server ended or stayed silent; the message holds what it said last."""


_given: set[int] = set()


def free_port() -> int:
    """A loopback port that nobody listens on now, and another one at each call."""
    for _ in range(200):
        port = random.choice(PORTS)
        if port in _given:
            continue
        with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                _given.add(port)
                return port
    raise DidNotStart(f"no free port between {PORTS.start} and {PORTS.stop}")


def accepts(port: int) -> bool:
    """Whether somebody listens on a loopback port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            return True
    except OSError:
        return False


class Child:
    """One command that may be started, stopped, killed and started again."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self._command = [str(word) for word in command]
        self.log = log
        self._environment = environment or {}
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._group: int | None = None

    @property
    def pid(self) -> int | None:
        """Of the running process; None while there is none."""
        return self._process.pid if self._process and self.is_running() else None

    @property
    def exit_status(self) -> int | None:
        """Of the process that ended; negative is a signal's number. None while it runs or never did."""
        return self._process.poll() if self._process else None

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Begin; does not wait for anything. Harmless when it runs already."""
        if not self.is_running():
            self.kill()  # what an earlier process left behind of its group
            self._process = _SPAWNER.submit(self._spawn).result()

    def _spawn(self) -> subprocess.Popen[bytes]:
        leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid())]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [*leash, *self._command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
                cwd=self._folder,
                start_new_session=True,  # a Ctrl+C at the terminal is ours to pass on, in our order
            )
        self._group = process.pid
        return process

    def ask_to_stop(self) -> None:
        """SIGTERM, without waiting."""
        self.signal(signal.SIGTERM)

    def stop(self, grace_s: float = 30.0) -> int | None:
        """SIGTERM, and SIGKILL to what is left of its group after ``grace_s``; the exit status."""
        self.ask_to_stop()
        return self.end(grace_s)

    def end(self, grace_s: float) -> int | None:
        """Wait for one that was asked to stop, and kill what is left of its group after ``grace_s``."""
        if self._process:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_s)
        return self.kill()

    def kill(self) -> int | None:
        """SIGKILL to its whole group: nothing gets to finish anything."""
        if not self._process:
            return None
        if self._group is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._group, signal.SIGKILL)
            self._group = None  # once it is empty, its number may be given to others
        return self._process.wait()

    def signal(self, number: int) -> None:
        """Send one signal to the process itself, if it runs."""
        if self._process and self.is_running():
            self._process.send_signal(number)

    def last_words(self) -> str:
        """The end of what it wrote."""
        if not self.log.exists():
            return "it said nothing"
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LAST_BYTES))
            return log.read().decode(errors="replace").strip() or "it said nothing"

    def wait_until(self, ready: Callable[[], bool], within_s: float) -> None:
        """Poll ``ready``. Raises DidNotStart when the process ends before, or ``within_s`` is over."""
        deadline = time.monotonic() + within_s
        while not ready():
            if not self.is_running():
                raise DidNotStart(f"{self.name} ended with {self.exit_status}:\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise DidNotStart(f"{self.name} is not ready after {within_s:g} s:\n{self.last_words()}")
            time.sleep(POLL_S)
