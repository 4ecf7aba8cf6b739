"""``mien callbacks`` over either store."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from libs.common.ids import new_id
from libs.common.settings import StorageSettings
from libs.common.storage.storage import Storage
from libs.common.wire.policies import Callback
from mien.callbacks import group
from services.sender.app import open_deliveries
from services.sender.model import Delivery
from services.sender.ports import Deliveries

ACCOUNT = new_id()
URL = "https://acs.example/hook?key=secret"


@pytest.fixture(params=["sqlite", "mongo"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the settings name: a database, or the data folder."""
    monkeypatch.setenv("MIEN_DATA_DIR", str(tmp_path))
    if request.param == "mongo":
        monkeypatch.setenv("MIEN_MONGO_URL", request.getfixturevalue("mongo_url"))


def given_up(*message_ids: str) -> None:
    async def bury(deliveries: Deliveries) -> None:
        callback = Callback(type="http", url=URL)
        for message_id in message_ids:
            one = Delivery(message_id, ACCOUNT, callback, "gate-1", 0, time.time_ns(), b"{}")
            await deliveries.add(one)
            await deliveries.died(message_id, 3, "[bold]answered 400")

    asyncio.run(with_deliveries(bury))


async def with_deliveries(work: Callable[[Deliveries], Awaitable[None]]) -> None:
    storage = Storage(StorageSettings())
    try:
        await work(await open_deliveries(storage))
    finally:
        await storage.close()


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(group, words)
    return result.exit_code, result.output


@pytest.mark.usefixtures("store")
def test_what_was_given_up_is_listed_without_secrets_and_redriven_or_purged() -> None:
    first, second, third = (new_id() for _ in range(3))
    given_up(first, second, third)
    code, shown = run("list", "--account", ACCOUNT, "--subscriber", URL, "--json")
    rows = json.loads(shown)
    assert (code, {row["message_id"] for row in rows}) == (0, {first, second, third})
    assert (rows[0]["subscriber"], rows[0]["attempts"], rows[0]["reason"]) == (
        "https://acs.example/hook",
        3,
        "[bold]answered 400",
    )
    assert "secret" not in shown
    assert run("list", "--account", new_id()) == (0, "no callbacks were given up\n")
    assert run("redrive", first) == (0, "redriven 1\n")
    assert run("redrive", first)[0] == 3
    assert run("purge", second) == (0, "purged 1\n")
    assert run("redrive", "--all") == (0, "redriven 1\n")


def test_neither_ids_nor_all_is_wrong_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_DATA_DIR", str(tmp_path))
    assert run("redrive")[0] == 2
    assert run("purge", "--all", new_id())[0] == 2
    code, said = run("list")
    assert (code, "no callbacks in" in said) == (4, True)
    assert not list(tmp_path.iterdir()), "looking made nothing"
