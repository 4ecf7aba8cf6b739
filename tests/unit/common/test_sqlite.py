"""The SQLite writer: callers share a commit, not each other's failures."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.common.storage.sqlite import Database

SCHEMA = "CREATE TABLE IF NOT EXISTS thing (name TEXT PRIMARY KEY);"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database(tmp_path / "things.db", SCHEMA).open()
    yield opened
    await opened.close()


def add(*names: str):
    def work(db: sqlite3.Connection) -> int:
        for name in names:
            db.execute("INSERT INTO thing VALUES (?)", (name,))
        return len(names)

    return work


async def names(database: Database) -> list[str]:
    return [row["name"] for row in await database.rows("SELECT name FROM thing ORDER BY name")]


async def test_a_failing_write_undoes_itself_alone(database: Database) -> None:
    outcomes = await asyncio.gather(
        database.write(add("a")),
        database.write(add("b", "a")),
        database.write(add("c")),
        return_exceptions=True,
    )
    assert outcomes[0] == outcomes[2] == 1
    assert isinstance(outcomes[1], sqlite3.IntegrityError)
    assert await names(database) == ["a", "c"]


async def test_a_write_is_seen_by_every_read_that_begins_after_it(database: Database) -> None:
    for number in range(20):
        await database.write(add(f"{number:02}"))
        assert len(await names(database)) == number + 1


async def test_a_cancelled_caller_does_not_disturb_the_writer(database: Database) -> None:
    abandoned = asyncio.create_task(database.write(add("abandoned")))
    await asyncio.sleep(0)
    abandoned.cancel()
    assert await database.write(add("kept")) == 1
    assert "kept" in await names(database)


async def test_closing_finishes_what_was_handed_in_and_refuses_more(tmp_path: Path) -> None:
    database = await Database(tmp_path / "other.db", SCHEMA).open()
    handed = [asyncio.create_task(database.write(add(str(number)))) for number in range(10)]
    await asyncio.sleep(0)
    await database.close()
    assert await asyncio.gather(*handed) == [1] * 10
    with pytest.raises(RuntimeError):
        await database.write(add("late"))


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "letter.db"
    path.write_text("Dear database, " * 500)
    with pytest.raises(sqlite3.DatabaseError):
        await Database(path, SCHEMA).open()
