"""Temporary attributes in Redis, which drops them itself when their time is up.

Each has two keys: who owns the id until when, and the attribute under its account. Scripts keep both together: Redis
runs one at a time. Nothing is waited for on a disk: an attribute that a crash of Redis takes is as one that expired.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgpack
from redis.asyncio import Redis

from libs.common import clock
from libs.common.ids import Id
from libs.common.storage.redis import reached
from libs.common.wire.base import pack
from libs.common.wire.faces import Attribute
from services.faces.attributes import already_there, in_use

# KEYS: an owner and a content in turn. ARGV: account, now, whether to replace (1), then for each attribute its end and
# content. Answers of each whether it was there; where one is another account's, its place, and nothing is stored.
STORE = """
local account, now, force = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
local existed = {}
for place = 1, #KEYS / 2 do
    local owner = redis.call('HMGET', KEYS[2 * place - 1], 'account', 'expires_ms')
    local alive = owner[1] and tonumber(owner[2]) > now
    if alive and owner[1] ~= account then
        return place
    end
    existed[place] = alive and 1 or 0
end
for place = 1, #KEYS / 2 do
    if force or existed[place] == 0 then
        local owner, content = KEYS[2 * place - 1], KEYS[2 * place]
        local expires_ms = ARGV[2 + 2 * place]
        local ttl_ms = tonumber(expires_ms) - now
        redis.call('HSET', owner, 'account', account, 'expires_ms', expires_ms)
        redis.call('PEXPIRE', owner, ttl_ms)
        redis.call('SET', content, ARGV[3 + 2 * place], 'PX', ttl_ms)
    end
end
return existed
"""

# KEYS: as above. ARGV: account, now. Answers how many there were that had not expired.
DELETE = """
local account, now, deleted = ARGV[1], tonumber(ARGV[2]), 0
for place = 1, #KEYS / 2 do
    local owner = redis.call('HMGET', KEYS[2 * place - 1], 'account', 'expires_ms')
    if owner[1] == account then
        redis.call('DEL', KEYS[2 * place - 1], KEYS[2 * place])
        if tonumber(owner[2]) > now then
            deleted = deleted + 1
        end
    end
end
return deleted
"""


class RedisTemporary:
    """Satisfies :class:`services.faces.ports.TemporaryAttributes`. Every method may raise STORE_UNAVAILABLE."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._store = redis.register_script(STORE)
        self._delete = redis.register_script(DELETE)

    async def check(self) -> None:
        with reached():
            await self._redis.execute_command("PING")

    async def add(self, account: Id, attributes: list[Attribute], now_ms: int) -> None:
        first = {attribute.attribute_id: attribute for attribute in reversed(attributes)}
        await self._save(account, list(first.values()), now_ms, force=False)

    async def put(self, account: Id, attribute: Attribute, now_ms: int, *, force: bool) -> bool:
        [existed] = await self._save(account, [attribute], now_ms, force=force)
        if existed and not force:
            raise already_there(attribute.attribute_id)
        return not existed

    async def get(self, account: Id, attribute_ids: list[Id], now_ms: int) -> list[Attribute]:
        if not attribute_ids:
            return []
        with reached():
            stored = await self._redis.mget([_content(account, one) for one in sorted(set(attribute_ids))])
        found = [Attribute.model_validate(msgpack.unpackb(content)) for content in stored if content is not None]
        return [attribute for attribute in found if _expires_ms(attribute) > now_ms]

    async def delete(self, account: Id, attribute_ids: list[Id], now_ms: int) -> int:
        with reached():
            return await self._delete(_keys(account, sorted(set(attribute_ids))), [account, now_ms])

    async def sweep(self, now_ms: int, limit: int) -> int:
        return 0

    async def _save(self, account: Id, attributes: list[Attribute], now_ms: int, *, force: bool) -> list[int]:
        """Store those that are not there, or all with ``force``; of each whether it was there."""
        arguments: list[str | int | bytes] = [account, now_ms, int(force)]
        for attribute in attributes:
            arguments += [_expires_ms(attribute), pack(attribute.model_dump())]
        with reached():
            answer = await self._store(_keys(account, [one.attribute_id for one in attributes]), arguments)
        if isinstance(answer, int):
            raise in_use(attributes[answer - 1].attribute_id)
        return answer


def _owner(attribute_id: Id) -> str:
    return f"mien:attribute:{attribute_id}"


def _content(account: Id, attribute_id: Id) -> str:
    return f"mien:attribute:{attribute_id}:{account}"


def _keys(account: Id, attribute_ids: Iterable[Id]) -> list[str]:
    return [key for one in attribute_ids for key in (_owner(one), _content(account, one))]


def _expires_ms(attribute: Attribute) -> int:
    assert attribute.expires is not None
    return clock.to_ms(attribute.expires)
