"""The demo itself: start, enrol, emit, show, stop."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from libs.client import MienClient
from libs.common.ids import new_id
from mien.demo.child import platform
from mien.demo.material import Act, Photo, from_folder, portraits
from mien.demo.sheet import Cell, draw
from mien.demo.verdict import Verdict, judge
from mien.enrolment import Enrolled, Enrolment
from mien.recognition import Sighting, handler_for, look_at
from mien.tables import table_of

STYLES = {Verdict.RIGHT: "green", Verdict.MISSED: "yellow", Verdict.WRONG: "red", Verdict.FAILED: "red"}


async def play(folder: Path | None, out_dir: Path, out: Console, url: str | None = None) -> bool:
    """Show what the platform makes of the photos; answers whether somebody was confused or a photo failed.

    The platform is the one at ``url``, or one that is started for the demo. Raises FileNotFoundError for a folder
    without photos, DidNotStart, MienApiError, MienUnreachable.
    """
    acts = await asyncio.to_thread(from_folder, folder) if folder else await asyncio.to_thread(portraits)
    started = time.perf_counter()
    if url is None:
        out.print("Starting the platform in a process of its own...")
    async with nullcontext(url) if url else platform() as gateway, MienClient(gateway, account=new_id()) as client:
        out.print(f"Ready at {gateway} after {time.perf_counter() - started:.1f} s.")
        cells = await _perform(client, acts, out)
    sheet = await asyncio.to_thread(draw, cells, out_dir)
    out.print(_totals(cells), f"Contact sheet: {sheet}", sep="\n", soft_wrap=True)
    if folder is None:
        out.print(Text(CAVEAT, style="dim"))
    return any(cell.verdict in (Verdict.WRONG, Verdict.FAILED) for cell in cells)


CAVEAT = (
    "The known people are emitted as altered copies of the photo they were enrolled from: this shows that the "
    "platform works, not how accurate it is. With your own photos: make demo PHOTOS=folder (one folder per person)."
)


async def _perform(client: MienClient, acts: Sequence[Act], out: Console) -> list[Cell]:
    """Every act in turn, one photo at a time, so that the milliseconds are those of one photo."""
    list_id = await client.lists.create("demo")
    enrolment = await Enrolment.onto(client, list_id)
    handler_id = await handler_for(client, list_id)
    cells: list[Cell] = []
    known: set[str] = set()
    for act in acts:
        out.print(f"\n[bold]{escape(act.title)}[/bold]")
        for photo in act.enrol:
            enrolled = await enrolment.add(photo.person, photo.name, photo.data)
            _report(enrolled, out)
            known |= {enrolled.person} if enrolled.face_id else set()
            cells.append(Cell(photo, enrolled))
        photos = [_as_stranger_unless(photo, known) for photo in act.emit]
        emitted = [_judged(photo, await look_at(client, handler_id, photo.name, photo.data)) for photo in photos]
        out.print(_table(emitted))
        cells += emitted
    return cells


def _as_stranger_unless(photo: Photo, known: set[str]) -> Photo:
    """Nobody can be asked to recognise a person of whom no photo could be enrolled."""
    return replace(photo, shows="stranger") if photo.shows == "person" and photo.person not in known else photo


def _judged(photo: Photo, seen: Sighting) -> Cell:
    return Cell(photo, seen=seen, verdict=judge(photo, seen))


def _report(result: Enrolled, out: Console) -> None:
    if result.reason:
        out.print(f"[yellow]not enrolled[/yellow] {escape(result.photo)}: {escape(result.reason)}")
    else:
        out.print(f"enrolled {escape(result.person)} from {escape(result.photo)}")


def _table(cells: Sequence[Cell]) -> Table:
    table = table_of("photo", "expected", "who", "similarity", "verdict", "ms", numbers=("similarity", "ms"))
    for cell in cells:
        photo, seen, verdict = cell.photo, cell.seen, cell.verdict
        assert seen is not None
        assert verdict is not None
        table.add_row(
            escape(photo.name),
            escape(photo.expected),
            escape(_who(seen)),
            "\n".join("" if face.similarity is None else f"{face.similarity:.3f}" for face in seen.faces),
            Text(verdict.value, style=STYLES[verdict]),
            f"{seen.ms:.0f}",
        )
    return table


def _who(seen: Sighting) -> str:
    if seen.error:
        return seen.error
    return "\n".join(face.person or "unknown" for face in seen.faces) or "nobody"


def _totals(cells: Sequence[Cell]) -> str:
    emitted = [cell.seen for cell in cells if cell.seen]
    counts = Counter(cell.verdict.value for cell in cells if cell.verdict)
    times = sorted(seen.ms for seen in emitted)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    middle = times[len(times) // 2] if times else 0.0
    return f"\n{len(emitted)} photos: {verdicts}; {middle:.0f} ms a photo (median), {sum(times) / 1000:.1f} s in all"
