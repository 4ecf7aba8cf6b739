"""``python -m deploy.local``: the scaled-out suite on this machine until it is told to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.markup import escape

from deploy.local.child import DidNotStart
from deploy.local.server import NotInstalled
from deploy.local.suite import ScaledSuite, copies_of_each
from libs.common.settings import without_secrets
from mien import tables

NOT_STARTED = 5
"""Exit code, the same as of ``mien up``."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
out = Console()
err = Console(stderr=True)


@app.command(context_settings={"ignore_unknown_options": True})
def main(
    command: Annotated[
        list[str] | None, typer.Argument(help="Run this once all is ready, with MIEN_URL set, then stop.")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Keep everything here; else in a folder that goes again.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The gateway's; 0 takes a free one.")] = 0,
    s3: Annotated[str, typer.Option(help="ceph, moto, or auto: Ceph where it is installed.")] = "auto",
    copies: Annotated[int, typer.Option(min=1, max=16, help="Processes of each service behind the gateway.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print the addresses as one line of JSON.")] = False,
) -> None:
    """Run RabbitMQ, Redis, MongoDB, S3 and every service of the suite on loopback ports of this machine."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    status = 0
    try:
        with _place(folder) as place, _running(_suite(place, port, s3, copies)) as suite:
            _announce(suite, as_json)
            if command:
                status = subprocess.call(command, env={**os.environ, "MIEN_URL": suite.url})
            else:
                threading.Event().wait()
    except (DidNotStart, NotInstalled, OSError) as failure:
        _say(f"did not start: {failure}")
        status = NOT_STARTED
    except KeyboardInterrupt:
        status = 130 if command else 0
    raise typer.Exit(status)


def _suite(folder: Path, port: int, s3: str, copies: int) -> ScaledSuite:
    return ScaledSuite(folder, port=port, s3=s3, copies=copies_of_each(copies), say=_say)


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    """``folder``, or one that is removed at the end."""
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.resolve()
    else:
        with tempfile.TemporaryDirectory(prefix="mien-local-", ignore_cleanup_errors=True) as scratch:
            yield Path(scratch)


@contextmanager
def _running(suite: ScaledSuite) -> Iterator[ScaledSuite]:
    try:
        yield suite.start()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # it is stopping: a second Ctrl+C would leave something behind
        suite.stop()


def _announce(suite: ScaledSuite, as_json: bool) -> None:
    if as_json:
        addresses = {service: [process.url for process in suite.of(service)] for service in suite.services}
        sys.stdout.write(orjson.dumps({**addresses, "gateway": suite.url}).decode() + "\n")
        sys.stdout.flush()
        return
    table = tables.table_of("what", "address")
    for name, server in suite.servers.items():
        table.add_row(name, without_secrets(server.url))
    for process in suite.processes:
        table.add_row(process.child.name, process.url)
    out.print(table)
    out.print(f"Data and logs: {escape(str(suite.folder))}", soft_wrap=True)
    out.print(f"Ready: {suite.url}/6/docs. Ctrl+C stops everything.")


def _say(text: str) -> None:
    err.print(f"[yellow]local:[/yellow] {escape(text)}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    app()
