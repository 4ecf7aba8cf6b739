"""Lists and handlers by the names people give them."""

from __future__ import annotations

from typing import Any

from libs.client import MienClient
from libs.common.ids import parse_id

STATIC, DYNAMIC = 0, 1


async def list_named(client: MienClient, name: str) -> str:
    """The id of the list that ``name`` is the id or the name (``user_data``) of; a name nobody has is created.

    Raises MienApiError (404) for an id that does not exist.
    """
    try:
        list_id = parse_id(name)
    except ValueError:
        found = await client.lists.find(user_data__eq=name, page_size=1)
        return found[0].list_id if found else await client.lists.create(name)
    return (await client.lists.get(list_id, page_size=1)).list_id


async def handler_described(client: MienClient, description: str, policies: dict[str, Any] | None) -> str:
    """The id of the handler with exactly this description, made to have these policies; dynamic without policies."""
    kind = DYNAMIC if policies is None else STATIC
    found = await client.handlers.list(description=description, page_size=100)
    ours = next((handler for handler in found if handler.description == description), None)
    if ours is None:
        return await client.handlers.create(policies, description=description, handler_type=kind)
    await client.handlers.replace(ours.handler_id, policies, description=description, handler_type=kind)
    return ours.handler_id
