"""A whole platform of our own, in a child process with a data folder of its own."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson

from libs.client import MienApiError, MienClient, MienUnreachable
from libs.common.ids import NIL

START_S, WARM_S, STOP_S = 60.0, 300.0, 30.0
POLL_S = 0.2
LAST_LINES = 5


class DidNotStart(Exception):
    """The platform ended or stayed silent; the message holds what it said last."""


@asynccontextmanager
async def platform() -> AsyncIterator[str]:
    """The URL of a running, warmed platform; it is stopped, and its data removed, at the end.

    Raises DidNotStart.
    """
    with tempfile.TemporaryDirectory(prefix="mien-demo-") as scratch:
        log = Path(scratch) / "log"
        with log.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "mien", "up", "--json"),
                env={**os.environ, "MIEN_DATA_DIR": str(Path(scratch) / "data"), "MIEN_PORT": "0"},
                stdout=asyncio.subprocess.PIPE,
                stderr=stream,
            )
        try:
            url = await _announced(process, log)
            await _warm(url, process, log)
            yield url
        finally:
            await _stop(process)


async def _announced(process: asyncio.subprocess.Process, log: Path) -> str:
    """The gateway's address, which the process prints once it listens."""
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), START_S)
    except TimeoutError:
        raise DidNotStart(f"nothing listens after {START_S:g} s: {_last(log)}") from None
    if not line:
        raise DidNotStart(_last(log))
    return orjson.loads(line)["gateway"]


async def _warm(url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    """Wait until the platform says that it is ready."""
    reason = "no answer"
    async with MienClient(url, account=NIL, retries=0) as client:
        for _ in range(round(WARM_S / POLL_S)):
            if process.returncode is not None:
                raise DidNotStart(_last(log))
            try:
                await client.health()
            except (MienApiError, MienUnreachable) as not_yet:
                reason = str(not_yet)
                await asyncio.sleep(POLL_S)
            else:
                return
    raise DidNotStart(f"not ready after {WARM_S:g} s: {reason}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Ask it to stop, and wait for it: stores are closed before their folder goes."""
    if process.returncode is None:
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()


def _last(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return " / ".join(lines[-LAST_LINES:]) or "it said nothing"
