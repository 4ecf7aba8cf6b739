"""The short form of ``make chaos``: every kind of fault is in its repertoire, the seed chooses which of them come."""

import io
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
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(report.text())
    told = console.export_text()
    assert report.kills >= options.kills, told
    assert report.final.found == report.acknowledged["raw"] + report.acknowledged["photo"], told
    # how soon it served again is for `make chaos` to judge: here other tests may want the same cores
    assert (report.failure, report.surprises, report.findings.is_clean) == ("", {}, True), told
