"""``mien dead-letters``: what the bus gave up, and what is to become of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, TypeVar

import typer
from rich.markup import escape

from libs.common import clock
from libs.common.bus.local import SCHEMA, LocalDeadLetters
from libs.common.bus.port import DeadLetter, DeadLetters
from libs.common.bus.rabbit import RabbitDeadLetters
from libs.common.errors import Code, MienError
from libs.common.settings import StorageSettings
from libs.common.storage.storage import Storage
from mien import tables
from mien.given_up import Ids, chosen, report, run
from mien.terminal import AsJson, out, print_json, settings

T = TypeVar("T")

group = typer.Typer(
    help="Show, redrive and purge messages that the bus gave up.", add_completion=False, no_args_is_help=True
)

Queue = Annotated[str, typer.Argument(help="As the list shows it, e.g. events.save.events.")]
All = Annotated[bool, typer.Option("--all", help="Every dead letter of the queue.")]


@group.command("list")
def list_(
    queue: Annotated[str | None, typer.Option(help="Of this queue only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Of each queue, the oldest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show what was given up, when and why. Bodies stay where they are: they may hold pictures."""
    letters = _with_letters(lambda letters: letters.list(queue, limit))
    if as_json:
        print_json([{**asdict(letter), "died": clock.render(letter.died)} for letter in letters])
    else:
        _show(letters)


@group.command()
def redrive(queue: Queue, ids: Ids = None, everything: All = False) -> None:
    """Have dead letters delivered again, after what they died of was mended. Consumers know repeats by their ids."""
    wanted = chosen(ids, everything, "every dead letter of the queue")
    count = _with_letters(lambda letters: letters.redrive(queue, wanted))
    report("redriven", count, wanted, "dead letter of this queue")


@group.command()
def purge(queue: Queue, ids: Ids = None, everything: All = False) -> None:
    """Delete dead letters for good."""
    wanted = chosen(ids, everything, "every dead letter of the queue")
    count = _with_letters(lambda letters: letters.purge(queue, wanted))
    report("purged", count, wanted, "dead letter of this queue")


def _show(letters: Sequence[DeadLetter]) -> None:
    table = tables.table_of("queue", "id", "account", "died", "attempts", "reason", numbers=("attempts",))
    for each in letters:
        table.add_row(
            *(each.queue, escape(each.message_id), escape(each.account), clock.render(each.died)),
            *(str(each.attempts), escape(each.reason)),
        )
    out.print(table if letters else "no dead letters")


def _with_letters(work: Callable[[DeadLetters], Awaitable[T]]) -> T:
    """Do ``work`` on the bus that the settings name, as :func:`run` says."""
    storage = settings().storage

    async def worked() -> T:
        async with _letters(storage) as letters:
            return await work(letters)

    return run(worked())


@asynccontextmanager
async def _letters(where: StorageSettings) -> AsyncIterator[DeadLetters]:
    if where.bus_url:
        letters = RabbitDeadLetters(where.bus_url.get_secret_value())
        await letters.start()
        try:
            yield letters
        finally:
            await letters.stop()
        return
    if not (where.data_dir / "bus.db").exists():  # opening it would make it
        raise MienError(Code.STORE_UNAVAILABLE, f"no bus in {where.data_dir.resolve()} (MIEN_DATA_DIR)")
    storage = Storage(where)
    try:
        yield LocalDeadLetters(await storage.sqlite("bus.db", SCHEMA))
    finally:
        await storage.close()
