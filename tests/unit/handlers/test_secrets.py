"""Callbacks' passwords and secrets: in no store, and kept by a handler that is shown, changed and sent back."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.fernet import Fernet

from libs.common.errors import Code, MienError
from libs.common.ids import new_id
from libs.common.sealing import Seal
from libs.common.storage.sqlite import Database
from libs.common.wire.handlers import HandlerDraft
from libs.common.wire.policies import Callback
from services.handlers.ports import Journal, Services
from services.handlers.requirements import MASK
from services.handlers.service import Handlers
from services.handlers.store_sqlite import SCHEMA, SqliteHandlers

ACCOUNT = new_id()
PASSWORD = "open sesame"
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OURS, LOST = (Seal([Fernet.generate_key().decode()]) for _ in range(2))


class Willing:
    """Services that refuse nothing."""

    def __getattr__(self, _: str) -> Any:
        return self

    async def __call__(self, *_: Any) -> None:
        return None


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteHandlers]:
    database = await Database(tmp_path / "handlers.db", SCHEMA, durable=False).open()
    yield SqliteHandlers(database)
    await database.close()


def handlers(store: SqliteHandlers, seal: Seal = OURS) -> Handlers:
    nobody = Willing()
    return Handlers(store, cast("Journal", nobody), cast("Services", nobody), seal, callbacks_allowed=True)


def draft(password: str = PASSWORD, secret: str = SECRET, description: str = "") -> HandlerDraft:
    sign = {"type": "basic", "login": "me", "password": password}
    callback = {"type": "http", "url": "http://a.test/", "authorization": sign, "secret": secret}
    policies = {"storage_policy": {"callbacks": [callback]}}
    return HandlerDraft.model_validate({"description": description, "policies": policies})


async def kept(store: SqliteHandlers, handler_id: str) -> Callback:
    handler = await store.get(ACCOUNT, handler_id)
    assert handler is not None
    assert handler.policies is not None
    return handler.policies.storage_policy.callbacks[0]


def read(callback: Callback, seal: Seal = OURS) -> tuple[str, str]:
    assert callback.authorization
    assert callback.secret
    return seal.open(callback.authorization.password), seal.open(callback.secret)


async def test_they_are_sealed_in_the_store_and_stay_when_their_masks_are_sent_back(store: SqliteHandlers) -> None:
    created = await handlers(store).create(ACCOUNT, draft())
    first = await kept(store, created.handler_id)
    version = await handlers(store).replace(ACCOUNT, created.handler_id, draft(MASK, MASK, "changed"))
    second = await kept(store, created.handler_id)

    for callback in (first, second):
        assert read(callback) == (PASSWORD, SECRET)
        assert PASSWORD not in callback.model_dump_json()
        assert SECRET not in callback.model_dump_json()
    assert version == 2
    await handlers(store).replace(ACCOUNT, created.handler_id, draft("new", MASK))
    assert read(await kept(store, created.handler_id)) == ("new", SECRET)


async def test_a_lost_key_costs_the_passwords_and_nothing_else(store: SqliteHandlers) -> None:
    created = await handlers(store, LOST).create(ACCOUNT, draft())
    with pytest.raises(MienError, match=r"callbacks\.0\.authorization\.password: .*send the password itself") as asked:
        await handlers(store).replace(ACCOUNT, created.handler_id, draft(MASK, MASK))
    assert asked.value.code is Code.BAD_POLICIES
    await handlers(store).replace(ACCOUNT, created.handler_id, draft("new"))
    assert read(await kept(store, created.handler_id)) == ("new", SECRET)


async def test_those_who_replace_at_once_each_get_a_version_of_their_own(store: SqliteHandlers) -> None:
    created = await handlers(store).create(ACCOUNT, draft())
    rivals = [handlers(store).replace(ACCOUNT, created.handler_id, draft(MASK, MASK, str(n))) for n in range(5)]
    assert sorted(await asyncio.gather(*rivals)) == [2, 3, 4, 5, 6]
    assert read(await kept(store, created.handler_id)) == (PASSWORD, SECRET)
