"""Starts again what dies: later each time it dies soon, but always."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from deploy.local.child import Child

TICK_S = 0.1
FIRST_S, LONGEST_S = 0.2, 10.0
"""Pause before the first restart; it doubles with each that did not last, up to the longest."""
STEADY_S = 30.0
"""A process that ran this long is taken for one that works: its next restart is a first one again."""


@dataclass
class _Watched:
    child: Child
    started: float
    failures: int = 0
    due: float | None = None


class Supervisor:
    """Watches processes from a thread of its own. ``say`` is told of every end and its reason."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._watched: dict[str, _Watched] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Watch nothing any more; what runs goes on running."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def watch(self, *children: Child) -> None:
        with self._lock:
            for child in children:
                self._watched[child.name] = _Watched(child, started=time.monotonic())

    def leave(self, *children: Child) -> None:
        """Watch no longer: they are to be stopped. None of them is started after this returns."""
        with self._lock:
            for child in children:
                self._watched.pop(child.name, None)

    def _run(self) -> None:
        while not self._stopped.wait(TICK_S):
            with self._lock:
                for watched in self._watched.values():
                    self._tend(watched, time.monotonic())

    def _tend(self, watched: _Watched, now: float) -> None:
        if watched.child.is_running():
            return
        if watched.due is None:
            watched.failures = 0 if now - watched.started > STEADY_S else watched.failures
            pause_s = min(LONGEST_S, FIRST_S * 2**watched.failures)
            watched.failures += 1
            watched.due = now + pause_s
            self._say(f"{watched.child.name} {_ending(watched.child)}; starting it again in {pause_s:g} s")
        elif now >= watched.due:
            watched.child.start()
            watched.started, watched.due = now, None


def _ending(child: Child) -> str:
    """How a process ended; its last line only if it ended by itself."""
    status = child.exit_status
    if status is not None and status < 0:
        return f"was ended by signal {-status}"
    last_line = child.last_words().splitlines()[-1]
    return f"ended with {status}: {last_line}"
