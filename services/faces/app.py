"""The faces service, put together on SQLite."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from pathlib import Path
from typing import Any

from libs.common import ports
from libs.common.part import Part
from libs.common.storage.sqlite import Database
from services.faces.routes import FACES, routes
from services.faces.service import Faces
from services.faces.store_sqlite import SCHEMA, SqliteFaceStore

SWEEP_INTERVAL_S = 60.0

log = logging.getLogger("mien.faces")


async def build(database: Path, durable: bool) -> Part:
    """The service on the file ``database``; ``durable`` waits for the disk on every commit."""
    opened = await Database(database, SCHEMA, durable=durable).open()
    faces = Faces(SqliteFaceStore(opened))
    sweeping: list[asyncio.Task[None]] = []

    async def start() -> None:
        sweeping.append(asyncio.create_task(sweep_forever(faces), name="faces-sweep"))

    async def stop() -> None:
        for task in sweeping:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        sweeping.clear()
        await opened.close()

    async def health() -> dict[str, Any]:
        await opened.rows("SELECT 1 FROM face LIMIT 1")
        return {}

    return Part("faces", routes, FACES, faces, (ports.Faces,), start=start, stop=stop, health=health)


async def sweep_forever(faces: Faces) -> None:
    """Drop expired attributes for as long as the process lives."""
    while True:
        try:
            await faces.sweep()
        except sqlite3.Error:
            log.exception("expired attributes could not be dropped; trying again in %g s", SWEEP_INTERVAL_S)
        await asyncio.sleep(SWEEP_INTERVAL_S)
