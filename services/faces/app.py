"""The faces service, put together."""

from __future__ import annotations

from typing import Any

from libs.common import ports
from libs.common.housekeeping import Housekeeping
from libs.common.part import Part
from libs.common.storage.storage import Storage
from services.faces.routes import FACES, routes
from services.faces.service import Faces
from services.faces.store_sqlite import SCHEMA, SqliteFaceStore

SWEEP_EVERY_S = 60.0


async def build(storage: Storage) -> Part:
    """The service over ``storage``."""
    opened = await storage.sqlite("faces.db", SCHEMA)
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
