"""``mien callbacks``: HTTP callbacks that the sender gave up, and what is to become of them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.markup import escape
from yarl import URL

from libs.common import clock
from libs.common.errors import Code, MienError
from libs.common.http.fetch import shown
from libs.common.settings import StorageSettings
from libs.common.storage.storage import Storage
from mien import tables
from mien.terminal import REFUSED, UNREACHABLE, USAGE, AsJson, fail, out, print_json, settings

if TYPE_CHECKING:  # the sender is imported by the command that opens its store
    from services.sender.model import DeadDelivery
    from services.sender.ports import Deliveries

T = TypeVar("T")

group = typer.Typer(help="Show, redrive and purge HTTP callbacks that nobody took.", no_args_is_help=True)

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Message ids, as the list shows them.")]
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
    chosen = _chosen(ids, everything)
    _report("redriven", _with_deliveries(lambda deliveries: deliveries.redrive(chosen)), chosen)


@group.command()
def purge(ids: Ids = None, everything: All = False) -> None:
    """Delete callbacks for good."""
    chosen = _chosen(ids, everything)
    _report("purged", _with_deliveries(lambda deliveries: deliveries.purge(chosen)), chosen)


def _chosen(ids: list[str] | None, everything: bool) -> list[str] | None:
    """None for all. Neither ids nor ``--all``, or both, is wrong usage."""
    if bool(ids) == everything:
        fail("name message ids, or --all for every callback that was given up", USAGE)
    return ids or None


def _report(done: str, count: int, chosen: Sequence[str] | None) -> None:
    out.print(f"{done} {count}", highlight=False)
    if chosen and count < len(set(chosen)):
        fail(f"{len(set(chosen)) - count} of the ids name no callback that was given up", REFUSED)


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
    """Do ``work`` on the store that the settings name; every failure ends as one clear line and an exit code."""
    storage = settings().storage

    async def run() -> T:
        async with _deliveries(storage) as deliveries:
            return await work(deliveries)

    try:
        return asyncio.run(run())
    except MienError as failure:
        fail(failure.detail, UNREACHABLE if failure.code is Code.STORE_UNAVAILABLE else REFUSED)
    except sqlite3.Error as failure:
        fail(str(failure), UNREACHABLE)


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
