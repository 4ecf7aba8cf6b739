"""The command line: ``mien up``, ``serve``, ``migrate``, ``config``, ``demo``, ``models``, ``dead-letters``,
``callbacks``, ``enroll``, ``emit``."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import orjson
import typer

from libs.common import observability, tracing
from libs.common.errors import MienError
from libs.common.settings import PORT_OFFSETS, Settings, effective
from mien import callbacks, dead_letters, models, tables, terminal
from mien.photos import people_in, photos_in
from mien.running import Runnable, run
from mien.terminal import NOT_STARTED, SOME_FAILED, USAGE, AsJson, fail, out, print_json

if TYPE_CHECKING:  # what the client needs is imported by the commands that use it
    from mien.recognition import Sighting

DEMO_ACCOUNT = "6d69656e-0000-4000-8000-000000000000"
"""Used when no account is given: a platform without accounts of its own takes any UUID."""

T = TypeVar("T")

app = typer.Typer(
    help="Mien: an open face-and-body event platform.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 some photos failed, 2 wrong usage, 3 refused, 4 unreachable, 5 did not start.",
)
app.add_typer(models.group, name="models")
app.add_typer(dead_letters.group, name="dead-letters")
app.add_typer(callbacks.group, name="callbacks")

Url = Annotated[
    str | None, typer.Option(envvar="MIEN_URL", show_default="this machine's", help="The platform's gateway.")
]
Account = Annotated[str, typer.Option(envvar="MIEN_ACCOUNT", help="UUID that everything is stored and sought under.")]
ListName = Annotated[str, typer.Option("--list", help="Name or id of the list of people; a new name is created.")]
AtOnce = Annotated[int, typer.Option(min=1, max=64, help="Photos under way at one moment.")]


def main() -> None:
    app()


@app.command()
def up(as_json: AsJson = False) -> None:
    """Run the whole platform in this process until it is told to stop. Settings: MIEN_* (docs/settings.md)."""
    from mien.suite import Suite

    settings = terminal.settings()

    def announce(addresses: dict[str, str]) -> None:
        if as_json:
            print(orjson.dumps(addresses).decode(), flush=True)
        else:
            out.print(tables.addresses(addresses))
            out.print(f"Warming up; {addresses['gateway']}/healthcheck answers 200 when ready. Ctrl+C stops.")

    _run_until_stopped("mien", settings, Suite, announce)


@app.command()
def serve(service: Annotated[str, typer.Argument(help=f"One of {', '.join(PORT_OFFSETS)}.")]) -> None:
    """Run one service in this process, its neighbours where MIEN_<SERVICE>_URLS say (docs/operations.md)."""
    from mien.serve import alone

    settings = terminal.settings()
    if service not in PORT_OFFSETS:
        fail(f"no service is named {service!r}; there are {', '.join(PORT_OFFSETS)}", USAGE)
    _run_until_stopped(
        service,
        settings,
        lambda settings: alone(settings, service),
        lambda addresses: print(orjson.dumps(addresses).decode(), flush=True),
    )


@app.command()
def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; name what is missing, with exit code 1.")
    ] = False,
) -> None:
    """Create what the stores and the bus need: collections' indexes, the bucket, queues. Harmless to repeat."""
    from mien import migration

    settings = terminal.settings()
    observability.configure("migrate", settings.log_level, settings.log_format)
    try:
        outcomes = asyncio.run(migration.migrate(settings, check_only=check))
    except MienError as wrong:
        fail(wrong.detail, USAGE)
    for outcome in outcomes:
        print(f"{outcome.what}: {outcome.state}")
    if not outcomes:
        print("nothing to do: every store is embedded, and makes itself")
    raise typer.Exit(SOME_FAILED if any(not outcome.well for outcome in outcomes) else 0)


@app.command()
def config(as_json: AsJson = False) -> None:
    """Print every setting as it is in effect, passwords and keys hidden."""
    settings = effective(terminal.settings())
    if as_json:
        print_json(settings)
    else:
        for name, value in settings.items():
            print(f"{name}={tables.setting(value)}")


@app.command()
def demo(
    photos: Annotated[Path | None, typer.Option(help="Your photos: one folder per person, its name theirs.")] = None,
    out_dir: Annotated[Path, typer.Option("--out", help="Where contact-sheet.png goes.")] = Path("build/demo"),
    url: Annotated[
        str | None, typer.Option(envvar="MIEN_URL", help="Use the platform whose gateway this is; else one of its own.")
    ] = None,
) -> None:
    """Start a platform of its own, make people known to it, and see whom it recognises in real photos."""
    try:
        from mien.demo.child import DidNotStart
        from mien.demo.play import play
        from mien.photo_commands import through_client
    except ModuleNotFoundError as missing:
        fail(f"{missing.name} is not installed; the demo needs: pip install 'mien[demo]'", NOT_STARTED)
    # told to end, it must still end the platform it has started
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        confused = through_client(lambda: play(photos, out_dir, out, url))
    except DidNotStart as failure:
        fail(f"no platform for the demo: {failure}", NOT_STARTED)
    except OSError as failure:
        fail(str(failure), USAGE)
    raise typer.Exit(SOME_FAILED if confused else 0)


@app.command()
def enroll(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="One folder per person, its name theirs.")],
    list_name: ListName = "people",
    url: Url = None,
    account: Account = DEMO_ACCOUNT,
    concurrency: AtOnce = 4,
    as_json: AsJson = False,
) -> None:
    """Make people known. Running it again adds what is new and changes nothing else."""
    from mien import photo_commands

    people = _found(lambda: people_in(directory))
    results = photo_commands.enroll(people, list_name, url=url, account=account, concurrency=concurrency)
    if as_json:
        print_json([asdict(result) for result in results])
    else:
        out.print(tables.enrolled(results, list_name))
    raise typer.Exit(SOME_FAILED if any(result.reason for result in results) else 0)


@app.command()
def emit(
    paths: Annotated[list[Path], typer.Argument(metavar="PATHS...", help="Photos, and folders of photos.")],
    list_name: ListName = "people",
    handler: Annotated[str | None, typer.Option(help="Id of a handler to use instead of our own for --list.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, show_default="half", help="Similarity from which a face has a name."),
    ] = None,
    source: Annotated[str | None, typer.Option(help="Name of the camera, kept with the events.")] = None,
    url: Url = None,
    account: Account = DEMO_ACCOUNT,
    concurrency: AtOnce = 4,
    as_json: AsJson = False,
) -> None:
    """Generate events from photos and show who was seen."""
    from mien import photo_commands

    sightings = photo_commands.emit(
        _found(lambda: photos_in(paths)),
        list_name,
        handler_id=handler,
        threshold=threshold,
        source=source,
        url=url,
        account=account,
        concurrency=concurrency,
    )
    if as_json:
        print_json([_plain(sighting) for sighting in sightings])
    else:
        out.print(tables.sightings(sightings))
    raise typer.Exit(SOME_FAILED if any(sighting.error for sighting in sightings) else 0)


def _run_until_stopped(
    name: str,
    settings: Settings,
    build: Callable[[Settings], Runnable],
    announce: Callable[[dict[str, str]], None],
) -> None:
    """Serve until told to stop; what keeps it from starting ends as one clear line and an exit code."""
    observability.configure(name, settings.log_level, settings.log_format)
    try:
        tracing.configure(name, settings.traces_url, settings.traces_share)
        with asyncio.Runner(loop_factory=_event_loop) as runner:
            runner.run(run(build(settings), announce))
    except (MienError, OSError, sqlite3.Error) as failure:
        fail(f"did not start: {failure}", NOT_STARTED)
    finally:
        tracing.close()


def _event_loop() -> asyncio.AbstractEventLoop:
    """uvloop, where there is one."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


def _found(find: Callable[[], T]) -> T:
    try:
        return find()
    except OSError as failure:
        fail(str(failure), USAGE)


def _plain(sighting: Sighting) -> dict[str, Any]:
    faces = [{**vars(face), "rect": face.rect.model_dump()} for face in sighting.faces]
    return {**vars(sighting), "ms": round(sighting.ms, 1), "faces": faces}
