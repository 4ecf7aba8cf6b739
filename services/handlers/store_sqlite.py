"""Handlers in SQLite: the scalar fields that are searched, and the policies as JSON."""

from __future__ import annotations

import sqlite3
from typing import Any

from pydantic import ValidationError

from libs.common import clock
from libs.common.errors import Code, MienError
from libs.common.ids import Id
from libs.common.storage.sqlite import Database, like
from libs.common.wire.base import Page, fault
from libs.common.wire.handlers import Handler, HandlerFilter
from libs.common.wire.policies import Policies

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


class SqliteHandlers:
    """Satisfies :class:`services.handlers.ports.HandlerStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, handler: Handler) -> None:
        values = (
            handler.account_id,
            handler.handler_id,
            handler.description,
            handler.handler_type,
            handler.lambda_id,
            _dump(handler.policies),
            handler.version,
            clock.to_ms(handler.create_time),
            clock.to_ms(handler.last_update_time),
        )
        await self._database.write(
            lambda db: db.execute("INSERT INTO handler VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        )

    async def get(self, account: Id, handler_id: Id) -> Handler | None:
        rows = await self._database.rows(
            "SELECT * FROM handler WHERE account_id = ? AND handler_id = ?", (account, handler_id)
        )
        return _load(rows[0]) if rows else None

    async def find(self, account: Id, where: HandlerFilter, page: Page) -> list[Handler]:
        condition, values = _where(account, where)
        rows = await self._database.rows(
            f"SELECT * FROM handler WHERE {condition} ORDER BY create_ms DESC, handler_id LIMIT ? OFFSET ?",  # noqa: S608
            (*values, page.page_size, page.offset),
        )
        return [_load(row) for row in rows]

    async def count(self, account: Id, where: HandlerFilter) -> int:
        condition, values = _where(account, where)
        rows = await self._database.rows(f"SELECT count(*) FROM handler WHERE {condition}", values)  # noqa: S608
        return rows[0][0]

    async def replace(self, handler: Handler) -> int | None:
        values = (
            handler.description,
            handler.handler_type,
            handler.lambda_id,
            _dump(handler.policies),
            clock.to_ms(handler.last_update_time),
            handler.account_id,
            handler.handler_id,
        )

        def work(db: sqlite3.Connection) -> int | None:
            row = db.execute(
                "UPDATE handler SET description = ?, handler_type = ?, lambda_id = ?, policies = ?, update_ms = ?,"
                " version = version + 1 WHERE account_id = ? AND handler_id = ? RETURNING version",
                values,
            ).fetchone()
            return row[0] if row else None

        return await self._database.write(work)

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
        conditions.append("description LIKE ? ESCAPE '\\'")
        values.append(like(where.description))
    if where.handler_type is not None:
        conditions.append("handler_type = ?")
        values.append(where.handler_type)
    return " AND ".join(conditions), tuple(values)


def _dump(policies: Policies | None) -> str | None:
    """As it was given plus every default, so that a later change of a default leaves stored handlers alone."""
    return None if policies is None else policies.model_dump_json()


def _load(row: sqlite3.Row) -> Handler:
    try:
        return Handler(
            handler_id=row["handler_id"],
            account_id=row["account_id"],
            description=row["description"],
            handler_type=row["handler_type"],
            lambda_id=row["lambda_id"],
            policies=Policies.model_validate_json(row["policies"]) if row["policies"] else None,
            version=row["version"],
            create_time=clock.from_ms(row["create_ms"]),
            last_update_time=clock.from_ms(row["update_ms"]),
        )
    except ValidationError as wrong:
        raise MienError(Code.HANDLER_CORRUPTED, f"handler {row['handler_id']}: {fault(wrong, 'policies')}") from None
