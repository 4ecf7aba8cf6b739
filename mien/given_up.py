"""What ``mien dead-letters`` and ``mien callbacks`` share: which of what was given up is meant, and how it went."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Coroutine, Sequence
from typing import Annotated, Any, TypeVar

import typer

from libs.common.errors import Code, MienError
from mien.terminal import REFUSED, UNREACHABLE, USAGE, fail, out

T = TypeVar("T")

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Message ids, as the list shows them.")]


def chosen(ids: list[str] | None, everything: bool, all_of_them: str) -> list[str] | None:
    """None for all. Neither ids nor ``--all``, or both, is wrong usage."""
    if bool(ids) == everything:
        fail(f"name message ids, or --all for {all_of_them}", USAGE)
    return ids or None


def report(done: str, count: int, ids: Sequence[str] | None, one_of_them: str) -> None:
    """``count`` of ``ids``, or of all, were ``done`` with. Ids that name none are an exit code."""
    out.print(f"{done} {count}", highlight=False)
    if ids and count < len(set(ids)):
        fail(f"{len(set(ids)) - count} of the ids name no {one_of_them}", REFUSED)


def run(work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` gives; every failure ends as one clear line and an exit code."""
    try:
        return asyncio.run(work)
    except ValueError as wrong:
        fail(str(wrong), USAGE)
    except MienError as failure:
        fail(failure.detail, UNREACHABLE if failure.code is Code.STORE_UNAVAILABLE else REFUSED)
    except sqlite3.Error as failure:
        fail(str(failure), UNREACHABLE)
