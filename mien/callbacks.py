"""``mien callbacks``: HTTP callbacks that the sender gave up, and what is to become of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.markup import escape
from yarl import URL

from libs.common import clock
from libs.common.addresses import shown
from libs.common.errors import Code, MienError
from libs.common.settings import StorageSettings
from libs.common.storage.storage import Storage
from mien import tables
from mien.given_up import Ids, chosen, report, run
from mien.terminal import AsJson, out, print_json, settings

if TYPE_CHECKING:  # the sender is imported by the command that opens its store
    from services.sender.model import DeadDelivery
    from services.sender.ports import Deliveries

T = TypeVar("T")

group = typer.Typer(help="Show, redrive and purge HTTP callbacks that nobody took.", no_args_is_help=True)

All = Annotated[bool, typer.Option("--all", help="Every one that was given up.")]


@group.command("list")
def list_(
    account: Annotated[str | None, typer.Option(help="Of this account only.")] = None,
    subscriber: Annotated[str | None, typer.Option(help="For this receiver only: its whole URL.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The latest so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show what was given up, when and why. Queries of URLs, which may hold secrets, are left out."""
    letters = _with_deliveries(lambda deliveries: deliveries.dead(account, subscriber, limit))
    rows = [_row(letter) for letter in letters]
    if as_json:
        print_json(rows)
    else:
        _show(rows)


@group.command()
def redrive(ids: Ids = None, everything: All = False) -> None:
    """Have callbacks made again, after what they failed of was mended. Receivers know repeats by webhook-id."""
    wanted = chosen(ids, everything, "every callback that was given up")
    count = _with_deliveries(lambda deliveries: deliveries.redrive(wanted))
    report("redriven", count, wanted, "callback that was given up")


@group.command()
def purge(ids: Ids = None, everything: All = False) -> None:
    """Delete callbacks for good."""
    wanted = chosen(ids, everything, "every callback that was given up")
    count = _with_deliveries(lambda deliveries: deliveries.purge(wanted))
    report("purged", count, wanted, "callback that was given up")


def _row(letter: DeadDelivery) -> dict[str, Any]:
    return {
        "message_id": letter.message_id,
        "account": letter.account,
        "subscriber": shown(URL(letter.subscriber)),
        "source": letter.source,
        "died": clock.render(letter.died),
        "attempts": letter.attempts,
        "reason": letter.reason,
    }


def _show(rows: Sequence[dict[str, Any]]) -> None:
    columns = ("message_id", "account", "subscriber", "source", "died", "attempts", "reason")
    table = tables.table_of(*columns, numbers=("attempts",))
    for row in rows:
        table.add_row(*(escape(str(row[column])) for column in columns))
    out.print(table if rows else "no callbacks were given up")


def _with_deliveries(work: Callable[[Deliveries], Awaitable[T]]) -> T:
    """Do ``work`` on the store that the settings name, as :func:`run` says."""
    storage = settings().storage

    async def worked() -> T:
        async with _deliveries(storage) as deliveries:
            return await work(deliveries)

    return run(worked())


@asynccontextmanager
async def _deliveries(where: StorageSettings) -> AsyncIterator[Deliveries]:
    if where.mongo_url is None and not (where.data_dir / "callbacks.db").exists():  # opening it would make it
        raise MienError(Code.STORE_UNAVAILABLE, f"no callbacks in {where.data_dir.resolve()} (MIEN_DATA_DIR)")
    from services.sender.app import open_deliveries

    storage = Storage(where)
    try:
        yield await open_deliveries(storage)
    finally:
        await storage.close()
