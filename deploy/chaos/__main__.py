"""``python -m deploy.chaos``: exit code 0 only when nothing was lost or doubled."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

from deploy.chaos.run import Options, run
from deploy.local.child import DidNotStart
from deploy.local.server import NotInstalled

FAILED, NOT_STARTED = 1, 5

out = Console()
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    seconds: Annotated[float, typer.Option(min=1, max=86_400, help="How long faults go on.")] = 600,
    kills: Annotated[int, typer.Option(min=0, help="Processes to kill at least, however long that takes.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the order of the faults.")] = 0,
    only: Annotated[str, typer.Option(help="Faults with this in their names, such as 'kill -9 matcher'.")] = "",
    s3: Annotated[str, typer.Option(help="ceph, moto, or auto: Ceph where it is installed.")] = "auto",
    folder: Annotated[
        Path | None, typer.Option(help="Keep logs and data here; else in a folder that goes again.")
    ] = None,
    report: Annotated[Path, typer.Option(help="Where the report goes as JSON.")] = Path("build/chaos/report.json"),
) -> None:
    """Kill and starve the scaled-out suite under load, and count what was lost and doubled."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = Options(seconds, kills, seed, s3, only=only)
    try:
        with tempfile.TemporaryDirectory(prefix="mien-chaos-", ignore_cleanup_errors=True) as scratch:
            place = folder or Path(scratch)
            place.mkdir(parents=True, exist_ok=True)
            result = asyncio.run(run(options, place.resolve(), _say))
    except (DidNotStart, NotInstalled, TimeoutError) as failure:
        out.print(f"did not start: {failure}")
        raise typer.Exit(NOT_STARTED) from None
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_bytes(orjson.dumps(result.data(), option=orjson.OPT_INDENT_2))
    out.print(result.text())
    out.print(f"report: {report}")
    raise typer.Exit(0 if result.is_clean else FAILED)


def _say(text: str) -> None:
    out.print(text, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        app()
