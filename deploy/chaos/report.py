"""What a run of chaos cost, for people and for machines."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from deploy.chaos.audit import Findings
from mien import tables

RECOVERY_S = 10.0
"""In which the suite has to serve again without help."""


@dataclass(frozen=True)
class Episode:
    """One fault, ``began_s`` after the start of the run.

    ``recovered_s`` is how long it took until the suite served again, ``settled_s`` until all was accounted for, both
    from the end of the fault: from the kill, or from when what was away is back. ``refused`` counts the requests that
    were not acknowledged in all that time.
    """

    fault: str
    kills: int
    began_s: float
    recovered_s: float
    settled_s: float
    refused: int
    findings: Findings


@dataclass
class Report:
    seed: int
    seconds: float = 0.0
    episodes: list[Episode] = field(default_factory=list)
    final: Findings = field(default_factory=Findings)
    acknowledged: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    told_by_callback: int = 0
    told_by_socket: int = 0
    told_again: int = 0
    connections: int = 0
    """Of the WebSocket subscriber: one more than it was cut off."""
    dead_letters: Counter[str] = field(default_factory=Counter)
    surprises: Counter[str] = field(default_factory=Counter)
    load: float = 0.0
    """Average over the last five minutes of processes that wanted a core: what the times have to be read with."""
    failure: str = ""

    @property
    def kills(self) -> int:
        return sum(episode.kills for episode in self.episodes)

    @property
    def findings(self) -> Findings:
        return sum((episode.findings for episode in self.episodes), self.final)

    @property
    def late(self) -> list[str]:
        """Faults after which it did not serve again in time."""
        return [
            f"{episode.fault}: served again only after {episode.recovered_s:.1f} s"
            for episode in self.episodes
            if episode.recovered_s > RECOVERY_S
        ]

    @property
    def is_clean(self) -> bool:
        """Nothing lost, doubled or wrong. How soon it served again depends on what else the machine does."""
        return self.findings.is_clean and not self.failure

    def data(self) -> dict[str, Any]:
        """Everything, as plain data."""
        findings = self.findings
        return {
            "clean": self.is_clean,
            "failure": self.failure,
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "load_average": round(self.load, 1),
            "cores": os.cpu_count(),
            "faults": len(self.episodes),
            "kills": self.kills,
            "acknowledged": dict(self.acknowledged),
            "refused": dict(self.refused),
            "found": self.final.found,
            "lost": findings.lost,
            "doubled": findings.doubled,
            "wrong": findings.wrong,
            "late": self.late,
            "told": {
                "by_callback": self.told_by_callback,
                "by_socket": self.told_by_socket,
                "again": self.told_again,
                "socket_connections": self.connections,
            },
            "dead_letters": dict(self.dead_letters),
            "surprises": dict(self.surprises),
            "episodes": [asdict(episode) for episode in self.episodes],
        }

    def text(self) -> RenderableType:
        return Group(self._by_fault(), self._totals(), *self._problems())

    def _by_fault(self) -> Table:
        counted = ("times", "kills", "median", "longest", "refused", "lost", "doubled")
        table = tables.table_of("fault", *counted, numbers=counted)
        table.title, table.title_justify = "median and longest: seconds until it served again", "left"
        for fault in dict.fromkeys(episode.fault for episode in self.episodes):
            same = [episode for episode in self.episodes if episode.fault == fault]
            times = [episode.recovered_s for episode in same]
            findings = sum((episode.findings for episode in same), Findings())
            numbers = (len(same), sum(one.kills for one in same), f"{median(times):.1f}", f"{max(times):.1f}")
            costs = (sum(one.refused for one in same), len(findings.lost), len(findings.doubled))
            table.add_row(escape(fault), *map(str, numbers), *map(str, costs))
        return table

    def _totals(self) -> Table:
        table = Table(show_header=False, title="totals", title_justify="left")
        rows = {
            "seconds, faults, kills": f"{self.seconds:.0f}, {len(self.episodes)}, {self.kills}",
            "events acknowledged": sum(self.acknowledged[kind] for kind in ("raw", "photo")),
            "of these found": self.final.found,
            "lost": len(self.findings.lost),
            "doubled": len(self.findings.doubled),
            "otherwise wrong": len(self.findings.wrong),
            "faces enrolled, deleted": f"{self.acknowledged['enrol']}, {self.acknowledged['delete']}",
            "told by callback, by WebSocket": f"{self.told_by_callback}, {self.told_by_socket}",
            "told more than once": self.told_again,
            "connections of the subscriber": self.connections,
            "dead letters": ", ".join(f"{count} x {why}" for why, count in self.dead_letters.items()) or "none",
            "load average, cores": f"{self.load:.1f}, {os.cpu_count()}",
            "seed": self.seed,
        }
        for name, value in rows.items():
            table.add_row(name, escape(str(value)))
        return table

    def _problems(self) -> list[str]:
        findings = self.findings
        problems = [*findings.lost, *findings.doubled, *findings.wrong]
        problems += self.late
        problems += [f"{count} x unexpected answer: {what}" for what, count in self.surprises.most_common(20)]
        problems += [self.failure] if self.failure else []
        return [f"[red]{escape(problem)}[/red]" for problem in problems[:100]]
