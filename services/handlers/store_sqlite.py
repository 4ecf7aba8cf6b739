"""Handlers in SQLite: one row each, the scalar fields that are searched and the policies as JSON text."""

from __future__ import annotations

from typing import Any

from libs.common.ids import Id
from libs.common.storage.sqlite import Database
from libs.common.wire.base import Page
from libs.common.wire.handlers import Handler, HandlerFilter
from services.handlers.stored import dump, folded, load

SCHEMA = """
CREATE TABLE IF NOT EXISTS handler (
    account_id TEXT NOT NULL,
    handler_id TEXT NOT NULL,
    description TEXT NOT NULL,
    handler_type INTEGER NOT NULL,
    lambda_id TEXT,
    policies TEXT,
    version INTEGER NOT NULL,
    create_ms INTEGER NOT NULL,
    update_ms INTEGER NOT NULL,
    PRIMARY KEY (account_id, handler_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS handler_newest ON handler (account_id, create_ms DESC, handler_id);
"""
ADD = """
INSERT OR IGNORE INTO handler
VALUES (:account_id, :handler_id, :description, :handler_type, :lambda_id, :policies, :version, :create_ms, :update_ms)
"""
REPLACE = """
UPDATE handler SET description = :description, handler_type = :handler_type, lambda_id = :lambda_id,
    policies = :policies, version = :version, create_ms = :create_ms, update_ms = :update_ms
WHERE account_id = :account_id AND handler_id = :handler_id AND version = :version - 1
"""


class SqliteHandlers:
    """Satisfies :class:`services.handlers.ports.HandlerStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def check(self) -> None:
        await self._database.rows("SELECT 1 FROM handler LIMIT 1")

    async def add(self, handler: Handler) -> None:
        await self._database.write(lambda db: db.execute(ADD, dump(handler)))

    async def get(self, account: Id, handler_id: Id) -> Handler | None:
        rows = await self._database.rows(
            "SELECT * FROM handler WHERE account_id = ? AND handler_id = ?", (account, handler_id)
        )
        return load(dict(rows[0])) if rows else None

    async def find(self, account: Id, where: HandlerFilter, page: Page) -> list[Handler]:
        condition, values = _where(account, where)
        rows = await self._database.rows(
            f"SELECT * FROM handler WHERE {condition} ORDER BY create_ms DESC, handler_id LIMIT ? OFFSET ?",  # noqa: S608
            (*values, page.page_size, page.offset),
        )
        return [load(dict(row)) for row in rows]

    async def count(self, account: Id, where: HandlerFilter) -> int:
        condition, values = _where(account, where)
        rows = await self._database.rows(f"SELECT count(*) FROM handler WHERE {condition}", values)  # noqa: S608
        return rows[0][0]

    async def replace(self, handler: Handler) -> bool:
        return await self._database.write(lambda db: db.execute(REPLACE, dump(handler)).rowcount == 1)

    async def delete(self, account: Id, handler_id: Id) -> bool:
        return await self._database.write(
            lambda db: (
                db.execute(
                    "DELETE FROM handler WHERE account_id = ? AND handler_id = ?", (account, handler_id)
                ).rowcount
                > 0
            )
        )


def _where(account: Id, where: HandlerFilter) -> tuple[str, tuple[Any, ...]]:
    conditions: list[str] = ["account_id = ?"]
    values: list[Any] = [account]
    if where.description is not None:
        # not LIKE, which reads neither its pattern nor the text beyond a NUL
        conditions.append("instr(lower(description), ?) > 0")
        values.append(folded(where.description))
    if where.handler_type is not None:
        conditions.append("handler_type = ?")
        values.append(where.handler_type)
    return " AND ".join(conditions), tuple(values)
