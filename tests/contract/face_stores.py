"""The adapters the contract suites of the faces service run on; a new one is one more row of STORES."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import numpy as np

from libs.common.descriptors import CURRENT_FACE
from libs.common.storage.sqlite import Database
from libs.common.wire.faces import DescriptorDraft
from services.faces.ports import FaceStore
from services.faces.store_sqlite import SCHEMA, SqliteFaceStore

OpenStore = Callable[[Path], AbstractAsyncContextManager[FaceStore]]


@asynccontextmanager
async def sqlite_store(folder: Path) -> AsyncIterator[FaceStore]:
    database = await Database(folder / "faces.db", SCHEMA, durable=False).open()
    try:
        yield SqliteFaceStore(database)
    finally:
        await database.close()


STORES: dict[str, OpenStore] = {"sqlite": sqlite_store}


class Clock:
    """A clock that the test turns. Milliseconds since 1970."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)


_counter = itertools.count(1)


def uid(number: int | None = None) -> str:
    """A UUID that is readable in a failure: number 7 is 00000000-0000-4000-8000-000000000007."""
    return f"00000000-0000-4000-8000-{next(_counter) + 0xA00000 if number is None else number:012x}"


def descriptor(seed: int = 0, version: int = CURRENT_FACE, length: int = 128, score: float | None = None):
    """A raw descriptor of random values, with its version."""
    values = np.random.default_rng(seed).standard_normal(length).astype("<f4")
    return DescriptorDraft(descriptor=values.tobytes(), version=version, score=score)
