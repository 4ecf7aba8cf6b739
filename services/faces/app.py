"""The faces service, put together."""

from __future__ import annotations

from typing import Any

from libs.common import ports
from libs.common.housekeeping import Housekeeping
from libs.common.part import Part
from libs.common.storage.storage import Storage
from services.faces.ports import FaceStore, TemporaryAttributes
from services.faces.routes import FACES, routes
from services.faces.service import Faces
from services.faces.store_mongo import MongoFaceStore
from services.faces.store_sqlite import SCHEMA, SqliteFaceStore
from services.faces.temporary_redis import RedisTemporary
from services.faces.temporary_sqlite import SCHEMA as TEMPORARY_SCHEMA
from services.faces.temporary_sqlite import SqliteTemporary

SWEEP_EVERY_S = 60.0
FINISH_EVERY_S = 5.0
"""How long a face may stay in a list whose deletion a process did not live to complete."""


async def build(storage: Storage) -> Part:
    """The service over ``storage``."""
    store = await _store(storage)
    temporary = await _temporary(storage)
    faces = Faces(store, temporary)
    housekeeping = Housekeeping()

    async def start() -> None:
        housekeeping.repeat("dropping expired attributes", faces.sweep, SWEEP_EVERY_S)
        housekeeping.repeat("completing deletions of lists", store.finish_deletions, FINISH_EVERY_S)

    async def health() -> dict[str, Any]:
        await store.check()
        return {}

    async def attributes() -> dict[str, Any]:
        await temporary.check()
        return {}

    return Part(
        name="faces",
        routes=routes,
        key=FACES,
        service=faces,
        ports=(ports.Faces,),
        start=start,
        stop=housekeeping.stop,
        health=health,
        partly={"temporary attributes": attributes},
    )


async def _store(storage: Storage) -> FaceStore:
    if storage.mongo is not None:
        return MongoFaceStore(storage.mongo)
    return SqliteFaceStore(await storage.sqlite("faces.db", SCHEMA))


async def _temporary(storage: Storage) -> TemporaryAttributes:
    if storage.redis is not None:
        return RedisTemporary(storage.redis)
    return SqliteTemporary(await storage.sqlite("attributes.db", TEMPORARY_SCHEMA))
