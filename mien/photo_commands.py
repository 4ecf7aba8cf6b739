"""``mien enroll`` and ``mien emit``: what they do through the client; apart from the command line, whose other commands
need not wait for the client's second of imports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from libs.client import MienApiError, MienClient, MienUnreachable
from libs.client.client import DEFAULT_URL
from mien.enrolment import Enrolled, Enrolment
from mien.lists import list_named
from mien.pace import at_once
from mien.recognition import THRESHOLD, Sighting, handler_for, look_at_file
from mien.terminal import REFUSED, UNREACHABLE, USAGE, err, fail, say

T = TypeVar("T")
Step = Callable[[], None]


def enroll(
    people: dict[str, list[Path]], list_name: str, *, url: str | None, account: str, concurrency: int
) -> list[Enrolled]:
    """Every photo of ``people``, by name, onto the list."""
    pairs = [(person, photo) for person, photos in people.items() for photo in photos]

    async def work(client: MienClient, step: Step) -> list[Enrolled]:
        enrolment = await Enrolment.onto(client, await list_named(client, list_name))

        async def one(pair: tuple[str, Path]) -> Enrolled:
            result = await enrolment.add_file(*pair)
            step()
            return result

        return await at_once(concurrency, one, pairs)

    return _with_client(url, account, "enrolling", len(pairs), work)


def emit(
    photos: list[Path],
    list_name: str,
    *,
    handler_id: str | None,
    threshold: float | None,
    source: str | None,
    url: str | None,
    account: str,
    concurrency: int,
) -> list[Sighting]:
    """Generate events from ``photos`` with the handler, or with our own one for the list."""

    async def work(client: MienClient, step: Step) -> list[Sighting]:
        handler = handler_id or await _our_handler(client, list_name, threshold)

        async def one(photo: Path) -> Sighting:
            sighting = await look_at_file(client, handler, photo, source=source)
            step()
            return sighting

        return await at_once(concurrency, one, photos)

    return _with_client(url, account, "emitting", len(photos), work)


def through_client(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``work``; every failure of the client ends as one clear line and an exit code."""
    try:
        return asyncio.run(work())
    except MienUnreachable as failure:
        fail(f"{failure}; is the platform running? (mien up)", UNREACHABLE)
    except MienApiError as refusal:
        fail(f"{refusal} (request {refusal.request_id})", REFUSED)
    except KeyboardInterrupt:
        fail("stopped", 130)


async def _our_handler(client: MienClient, list_name: str, threshold: float | None) -> str:
    list_id = await list_named(client, list_name)
    if not await client.faces.count(list_id=list_id):
        say(f"nobody is on the list {list_name!r} yet, so every face is unknown (mien enroll)")
    return await handler_for(client, list_id, THRESHOLD if threshold is None else threshold)


def _with_client(
    url: str | None, account: str, doing: str, total: int, work: Callable[[MienClient, Step], Coroutine[Any, Any, T]]
) -> T:
    """Run ``work`` with a client and a progress bar."""
    try:
        client = MienClient(url or DEFAULT_URL, account=account)
    except ValueError as wrong:
        fail(str(wrong), USAGE)

    async def run() -> T:
        async with client:
            with _progress() as progress:
                task = progress.add_task(doing, total=total)
                return await work(client, lambda: progress.advance(task))

    return through_client(run)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
