"""The log of notices in Redis, for any number of sender processes: a stream for each account.

A stream's ids are ``<milliseconds>-<number>`` with numbers that have no gap, so that whoever resumes can tell whether
something between was trimmed. What is in the log is decided by one script, so that a message that arrives twice, at
two processes at once, changes nothing.

Whoever waits is woken through one channel for all accounts, on one connection of the process. That carries no news,
only that there are some: when the connection breaks everybody is woken, and reads what they do not have.
(A blocking XREAD would have to name every account again for every event, and be broken off for each new one.)
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from asyncio import Event
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as Away
from redis.exceptions import RedisError

from libs.common.errors import Code, MienError
from libs.common.ids import Id
from libs.common.storage.redis import reached
from services.sender.bells import Bells
from services.sender.model import Bounds, Entry, Notice

log = logging.getLogger("mien.sender")

STATE_S = 30 * 86_400
"""How long an account's log is known after its last event or subscriber; then a cursor of it is gone."""
CHANNEL = b"mien:notices"
QUIET_S = 5.0
"""A channel that is silent for so long is asked whether it is there; if it stays silent it is opened anew."""
AGAIN_S = 0.5
_CURSOR = re.compile(r"([0-9a-f]{12})-([0-9]{1,15})-([0-9]{1,15})")

_APPEND = """
local log, told, state = KEYS[1], KEYS[2], KEYS[3]
local entries, age_ms = tonumber(ARGV[2]), tonumber(ARGV[3])
local remembered, size_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('HSETNX', state, 'epoch', ARGV[1])
local known = redis.call('HMGET', state, 'ms', 'count')
local ms, before = math.max(now, tonumber(known[1] or 0)), tonumber(known[2] or 0)
local count = before
for i = 8, #ARGV, 2 do
  if redis.call('ZADD', told, 'NX', now, ARGV[i]) == 1 then
    count = count + 1
    redis.call('XADD', log, string.format('%.0f-%.0f', ms, count), 'notice', ARGV[i + 1])
  end
end
if count == before then return 0 end
redis.call('HSET', state, 'ms', string.format('%.0f', ms), 'count', string.format('%.0f', count))
redis.call('XTRIM', log, 'MAXLEN', '=', entries)
redis.call('XTRIM', log, 'MINID', '=', string.format('%.0f', now - age_ms))
if redis.call('MEMORY', 'USAGE', log) > size_bytes then
  redis.call('XTRIM', log, 'MAXLEN', '=', math.floor(redis.call('XLEN', log) / 2))
end
redis.call('ZREMRANGEBYRANK', told, 0, -remembered - 1)
redis.call('ZREMRANGEBYSCORE', told, '-inf', '(' .. string.format('%.0f', now - age_ms))
redis.call('PEXPIRE', log, age_ms)
redis.call('PEXPIRE', told, age_ms)
redis.call('EXPIRE', state, ARGV[6])
redis.call('PUBLISH', ARGV[7], log)
return count - before
"""


class RedisNoticeLog:
    """Satisfies :class:`services.sender.ports.NoticeLog` over Redis 6.2 or newer.

    ``bounds`` are of what is kept of one account; bytes are as Redis estimates them, and over them half the log goes.
    """

    def __init__(self, redis: Redis, bounds: Bounds) -> None:
        self._redis = redis
        self._append = redis.register_script(_APPEND)
        self._bounds = (bounds.entries, bounds.age_ms, bounds.remembered, bounds.size_bytes)
        self._bells = Bells()
        self._listener: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._listener = asyncio.create_task(self._listen(), name="notices")

    async def stop(self) -> None:
        if self._listener:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
            self._listener = None

    async def check(self) -> None:
        with reached():
            await self._redis.execute_command("PING")

    async def append(self, account: Id, notices: Sequence[Notice]) -> None:
        pairs = [part for notice in notices for part in (notice.event_id, notice.content)]
        with reached():
            await self._append(keys=_keys(account), args=[_new_epoch(), *self._bounds, STATE_S, CHANNEL, *pairs])

    async def newest(self, account: Id) -> str:
        *_, state = _keys(account)
        with reached():
            async with self._redis.pipeline(transaction=True) as together:
                together.hsetnx(state, "epoch", _new_epoch())
                together.expire(state, STATE_S)
                together.hmget(state, "epoch", "ms", "count")
                *_, (epoch, ms, count) = await together.execute()
        return f"{epoch.decode()}-{int(ms or 0)}-{int(count or 0)}"

    async def read(self, account: Id, after: str, limit: int) -> list[Entry]:
        cursor = _CURSOR.fullmatch(after)
        if cursor is None:
            raise MienError(Code.BAD_QUERY, "cursor: is none of ours")
        stream, _, state = _keys(account)
        with reached():
            async with self._redis.pipeline(transaction=True) as together:
                together.xrange(stream, min=f"({cursor[2]}-{cursor[3]}", count=limit)
                together.hmget(state, "epoch", "count")
                rows, (epoch, count) = await together.execute()
        if epoch is None or epoch.decode() != cursor[1] or int(cursor[3]) > int(count or 0):
            raise MienError(Code.CURSOR_GONE, "cursor: of a log that is not there any more")
        if int(cursor[3]) < int(count or 0) and (not rows or _number(rows[0]) != int(cursor[3]) + 1):
            raise MienError(Code.CURSOR_GONE, "cursor: too old, some of what followed it is no longer kept")
        return [Entry(f"{cursor[1]}-{key.decode()}", fields[b"notice"]) for key, fields in rows]

    def listening(self, account: Id) -> AbstractContextManager[Event]:
        return self._bells.listening(account)

    async def _listen(self) -> None:
        """Wake listeners for as long as the process lives."""
        while True:
            with suppress(RedisError, OSError):
                await self._hear()
            log.warning("the channel of notices is away; opening it anew")
            await asyncio.sleep(AGAIN_S)

    async def _hear(self) -> None:
        """Until the channel breaks. Raises what redis raises then."""
        async with self._redis.pubsub() as channel:
            await channel.subscribe(CHANNEL)
            quiet = 0
            while quiet < 2:
                message = await channel.get_message(timeout=QUIET_S)
                quiet = 0 if message else quiet + 1
                if message is None:
                    await channel.ping()
                elif message["type"] == "message":
                    self._bells.ring(_account(message["data"]))
                elif message["type"] == "subscribe":  # at first, and after the connection broke
                    self._bells.ring_all()
        raise Away("the channel is silent")


def _new_epoch() -> str:
    return secrets.token_hex(6)


def _keys(account: Id) -> list[str]:
    """The account's stream, the events in it, and its state: in one slot of a cluster."""
    return [f"mien:notices:{{{account}}}:{part}" for part in ("log", "told", "state")]


def _account(key: bytes) -> Id:
    return key.decode().partition("{")[2].partition("}")[0]


def _number(row: tuple[bytes, Any]) -> int:
    return int(row[0].partition(b"-")[2])
