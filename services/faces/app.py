"""The faces service, put together on SQLite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from libs.common import ports
from libs.common.housekeeping import Housekeeping
from libs.common.part import Part
from libs.common.storage.sqlite import Database
from services.faces.routes import FACES, routes
from services.faces.service import Faces
from services.faces.store_sqlite import SCHEMA, SqliteFaceStore

SWEEP_EVERY_S = 60.0


async def build(database: Path, durable: bool) -> Part:
    """The service on the file ``database``; ``durable`` waits for the disk on every commit."""
    opened = await Database(database, SCHEMA, durable=durable).open()
    faces = Faces(SqliteFaceStore(opened))
    housekeeping = Housekeeping()

    async def start() -> None:
        housekeeping.repeat("faces-sweep", faces.sweep, SWEEP_EVERY_S)

    async def stop() -> None:
        await housekeeping.stop()
        await opened.close()

    async def health() -> dict[str, Any]:
        await opened.rows("SELECT 1 FROM face LIMIT 1")
        return {}

    return Part("faces", routes, FACES, faces, (ports.Faces,), start=start, stop=stop, health=health)
