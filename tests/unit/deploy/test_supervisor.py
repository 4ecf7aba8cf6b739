"""What dies is started again, later each time it dies soon; what is to be stopped stays stopped."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.child import Child
from deploy.local.supervisor import FIRST_S, Supervisor

TOUCH = "import pathlib, sys; path = pathlib.Path(sys.argv[1]); path.open('a').write('x')"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(said: list[str]) -> Iterator[Supervisor]:
    supervisor = Supervisor(said.append)
    supervisor.start()
    yield supervisor
    supervisor.stop()


def child_of(folder: Path, code: str) -> Child:
    return Child("child", [sys.executable, "-c", code, folder / "starts"], log=folder / "log")


def starts(folder: Path) -> int:
    path = folder / "starts"
    return len(path.read_text()) if path.exists() else 0


def until(condition: Callable[[], bool], within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_process_is_started_again_and_a_stopped_one_is_not(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    child = child_of(tmp_path, f"{TOUCH}; import time; time.sleep(600)")
    child.start()
    supervisor.watch(child)
    until(lambda: starts(tmp_path) == 1)
    assert child.pid
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: starts(tmp_path) == 2)
    assert said == [f"child was ended by signal 9; starting it again in {FIRST_S:g} s"]

    supervisor.leave(child)
    child.stop()
    time.sleep(4 * FIRST_S)  # nothing can be waited for: nothing is to happen
    assert (starts(tmp_path), child.is_running()) == (2, False)


def test_one_that_always_fails_is_tried_again_after_pauses_that_grow_and_its_reason_is_said(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    child = child_of(tmp_path, f"{TOUCH}; sys.exit('no such port')")
    child.start()
    supervisor.watch(child)
    until(lambda: len(said) == 3)
    assert said == [
        f"child ended with 1: no such port; starting it again in {pause:g} s"
        for pause in (FIRST_S, 2 * FIRST_S, 4 * FIRST_S)
    ]
    supervisor.leave(child)


def test_a_process_that_ignores_a_request_to_stop_is_killed_with_its_own_children(tmp_path: Path) -> None:
    stubborn = "import signal, subprocess, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    code = f"{stubborn}; inner = subprocess.Popen(['sleep', '600']); print(inner.pid, flush=True); time.sleep(600)"
    child = child_of(tmp_path, code)
    child.start()
    until(lambda: child.last_words().isdecimal())
    inner = int(child.last_words())
    assert child.stop(grace_s=0.2) == -signal.SIGKILL
    until(lambda: not Path(f"/proc/{inner}").exists() or " Z " in Path(f"/proc/{inner}/stat").read_text())
