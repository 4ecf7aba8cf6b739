"""The short form of ``make chaos``: every kind of fault is in its repertoire, the seed chooses which of them come."""

from pathlib import Path

import pytest
from rich.console import Console

from deploy.chaos.run import Options, run
from deploy.local.server import NotInstalled
from tests.running import COPIES


@pytest.mark.timeout(900)
async def test_nothing_acknowledged_is_lost_or_doubled_while_processes_are_killed_and_servers_away(
    tmp_path: Path,
) -> None:
    options = Options(seconds=60, kills=4, seed=7, s3="moto", copies=COPIES)
    try:
        report = await run(options, tmp_path, print)
    except NotInstalled as missing:
        pytest.skip(f"not on this machine: {missing}")
    console = Console(width=160, record=True, file=(tmp_path / "report").open("w"))
    console.print(report.text())
    assert report.kills >= options.kills
    assert report.final.found == report.acknowledged["raw"] + report.acknowledged["photo"]
    assert report.is_clean, console.export_text()
