"""``mien dead-letters`` over either bus."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from libs.common.bus.local import SCHEMA, LocalBus, LocalDeadLetters
from libs.common.bus.port import Bus, DeadLetters, Message
from libs.common.bus.rabbit import RabbitBus, RabbitDeadLetters
from libs.common.bus.topics import EVENTS_SAVE
from libs.common.storage.sqlite import Database
from mien.dead_letters import group

QUEUE = f"{EVENTS_SAVE}.events"
PATIENCE_S = 20


@pytest.fixture(params=["local", "rabbit"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """What the settings name: the bus of a broker, or None for that of the data folder."""
    monkeypatch.setenv("MIEN_DATA_DIR", str(tmp_path))
    if request.param == "local":
        return None
    url = request.getfixturevalue("rabbit_url")
    monkeypatch.setenv("MIEN_BUS_URL", url)
    return url


@asynccontextmanager
async def opened(url: str | None, folder: Path) -> AsyncIterator[tuple[Bus, DeadLetters]]:
    if url:
        bus, letters = RabbitBus(url, attempts=1), RabbitDeadLetters(url)
        await letters.start()
        yield bus, letters
        await letters.stop()
    else:
        database = await Database(folder / "bus.db", SCHEMA).open()
        bus = LocalBus(database, attempts=1)
        yield bus, LocalDeadLetters(database)
        await bus.stop()
        await database.close()


async def bury(url: str | None, folder: Path, *message_ids: str) -> None:
    async def fail(_: Message) -> None:
        raise ValueError("[bold]no such thing")

    async with opened(url, folder) as (bus, letters):
        bus.subscribe(EVENTS_SAVE, "events", fail)
        await bus.start()
        for message_id in message_ids:
            await bus.publish(Message(EVENTS_SAVE, "an-account", {}, message_id=message_id))
        async with asyncio.timeout(PATIENCE_S):
            while len(await letters.list(None, 9)) < len(message_ids):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await bus.stop()


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(group, words)
    return result.exit_code, result.output


def listed() -> list[str]:
    code, output = run("list", "--json")
    assert code == 0
    return sorted(letter["message_id"] for letter in json.loads(output))


def test_dead_letters_are_shown_redriven_and_purged(url: str | None, tmp_path: Path) -> None:
    asyncio.run(bury(url, tmp_path, "first", "second", "third"))
    code, shown = run("list")
    assert code == 0
    for text in ("first", "second", "third", "an-account", "[bold]no"):
        assert text in shown
    assert run("redrive", QUEUE, "second") == (0, "redriven 1\n")
    assert listed() == ["first", "third"]
    assert run("purge", QUEUE, "third") == (0, "purged 1\n")
    assert run("redrive", QUEUE, "--all") == (0, "redriven 1\n")
    assert listed() == []


def test_wrong_usage_says_what_would_be_right(url: str | None, tmp_path: Path) -> None:
    asyncio.run(bury(url, tmp_path, "first"))
    code, said = run("purge", QUEUE)
    assert (code, "--all" in said) == (2, True)
    code, said = run("redrive", "events.save", "--all")
    assert (code, QUEUE in said) == (2, True)
    code, said = run("redrive", QUEUE, "unknown")
    assert (code, "redriven 0" in said) == (3, True)
    assert listed() == ["first"]


def test_a_bus_that_is_not_there_is_said_to_be_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_DATA_DIR", str(tmp_path / "nowhere"))
    code, said = run("list")
    assert (code, "nowhere" in said) == (4, True)
    assert not (tmp_path / "nowhere").exists()
    monkeypatch.setenv("MIEN_BUS_URL", "amqp://guest:secret@127.0.0.1:1/")
    code, said = run("list")
    assert (code, "RabbitMQ" in said, "secret" in said) == (4, True, False)
