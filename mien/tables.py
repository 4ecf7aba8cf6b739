"""What the command line shows to people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:  # only what is shown; importing them takes a second
    from libs.common.wire.sdk import Estimator
    from mien.enrolment import Enrolled
    from mien.recognition import SeenFace, Sighting

ENROLLED = ("person", "photos", "new", "known before", "not usable")


def table_of(*columns: str, numbers: Sequence[str] = ()) -> Table:
    """An empty table that loses no text and little room; ``numbers`` are columns aligned to the right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    return table


def addresses(found: dict[str, str]) -> RenderableType:
    table = table_of("service", "address")
    for service in sorted(found, key=lambda name: name != "gateway"):
        table.add_row(service, found[service] + ("/6" if service == "gateway" else ""))
    return table


def setting(value: object) -> str:
    """A setting's value as an environment variable has it."""
    if value is None:
        return ""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def slots(estimators: Iterable[Estimator]) -> RenderableType:
    """Filled slots with their models, where those come from and what to know of them; then the empty slots."""
    filled, empty = table_of("slot", "model"), table_of("empty slot", "what is missing")
    said: dict[str, str] = {}
    for one in estimators:
        if one.available and one.model:
            filled.add_row(one.name, one.model)
            about = "; ".join([one.source or "", *one.warnings])
            said[one.model] = f"{one.model}, version {one.version}, {one.licence}: {about}"
        else:
            empty.add_row(one.name, escape(one.missing or ""), style="dim")
    return Group(filled, *map(Text, said.values()), empty)


def models(rows: Iterable[Mapping[str, Any]]) -> RenderableType:
    """The catalogue: what is installed, what could be, under which licence and for which slots. Names are whole in
    every terminal, so that they can be copied; why a model cannot be used stands below."""
    table = table_of("model and its slots", "state", "licence", "MB", numbers=("MB",))
    reasons = []
    for row in rows:
        size = f"{row['size_bytes'] / 1e6:.1f}" if row["size_bytes"] else ""
        state, _, reason = row["state"].partition(": ")
        if reason:
            reasons.append(Text(f"{row['name']}: {reason}"))
        lines = Text(row["name"]) + Text("\n  " + ", ".join(row["slots"]), style="dim")
        table.add_row(lines, escape(state), row["licence"], size, style="" if row["installed"] else "dim")
        table.columns[0].min_width = max(table.columns[0].min_width or 0, len(row["name"]))
    return Group(table, *reasons)


def enrolled(results: Sequence[Enrolled], list_name: str) -> RenderableType:
    """One line per person, then one per photo that could not be used."""
    table = table_of(*ENROLLED, numbers=ENROLLED[1:])
    for person in dict.fromkeys(result.person for result in results):
        own = [result for result in results if result.person == person]
        new = sum(not result.already and not result.reason for result in own)
        table.add_row(
            escape(person),
            *map(str, (len(own), new, sum(result.already for result in own), sum(bool(r.reason) for r in own))),
        )
    faults = [Text(f"{result.photo}: {result.reason}", style="yellow") for result in results if result.reason]
    return Group(table, *faults, Text(f"list {list_name!r}"))


def sightings(results: Sequence[Sighting]) -> RenderableType:
    """One line per face, so that a photo with several people reads well."""
    table = table_of("photo", "person", "similarity", "ms", numbers=("similarity", "ms"))
    for sighting in results:
        rows = [_face_row(face) for face in sighting.faces] or [_empty_row(sighting)]
        for position, (person, similarity) in enumerate(rows):
            first = position == 0
            table.add_row(
                escape(sighting.photo) if first else "", person, similarity, f"{sighting.ms:.0f}" if first else ""
            )
    return Group(table, Text(_totals(results)))


def _face_row(face: SeenFace) -> tuple[Text, str]:
    if face.person is None or face.similarity is None:
        return Text("unknown", style="yellow"), ""
    return Text(face.person, style="green"), f"{face.similarity:.3f}"


def _empty_row(sighting: Sighting) -> tuple[Text, str]:
    if sighting.error:
        return Text(f"failed: {sighting.error}", style="red"), ""
    if sighting.rejected:
        return Text(f"{sighting.rejected} faces rejected by the handler's filters", style="dim"), ""
    return Text("nobody", style="dim"), ""


def _totals(results: Sequence[Sighting]) -> str:
    faces = [face for sighting in results for face in sighting.faces]
    known = sum(face.person is not None for face in faces)
    failed = sum(sighting.error is not None for sighting in results)
    seen = f"{len(faces)} faces, {known} known and {len(faces) - known} unknown"
    return f"{len(results)} photos: {seen}; {failed} photos failed"
