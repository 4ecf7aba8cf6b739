"""The sender, put together."""

from __future__ import annotations

from typing import Any

from libs.common.bus.port import Backoff, Bus
from libs.common.bus.topics import CALLBACKS, EVENTS_NOTIFY
from libs.common.errors import Code, MienError
from libs.common.http.fetch import Fetcher
from libs.common.part import Part
from libs.common.settings import SenderSettings
from libs.common.storage.storage import Storage
from libs.common.webhooks import signing_key
from services.sender.consumer import Telling, calling
from services.sender.courier import Courier
from services.sender.deliveries_mongo import MongoDeliveries
from services.sender.deliveries_sqlite import SCHEMA as CALLBACKS_SCHEMA
from services.sender.deliveries_sqlite import SqliteDeliveries
from services.sender.dispatcher import Dispatcher, Rules
from services.sender.log_redis import RedisNoticeLog
from services.sender.log_sqlite import SCHEMA as NOTICES_SCHEMA
from services.sender.log_sqlite import SqliteNoticeLog
from services.sender.model import Bounds
from services.sender.ports import Deliveries, NoticeLog
from services.sender.routes import MANNER, SUBSCRIPTIONS, routes
from services.sender.sockets import Manner
from services.sender.subscriptions import Subscriptions

AT_ONCE = 16
"""Messages of a topic under way: their writes share a commit, or a round trip."""
SETTLE_MS = 200
"""Between several consumers of one queue a message may be overtaken by so much."""


async def build(storage: Storage, bus: Bus, fetcher: Fetcher, settings: SenderSettings) -> Part:
    """The service over ``storage``; ``bus`` must not have been started yet. Raises BAD_BODY for a wrong secret."""
    notices = await open_notices(storage, settings)
    deliveries = await open_deliveries(storage)
    rules = Rules(
        attempts=settings.callback_attempts,
        age_s=settings.callback_age_s,
        at_once=settings.callbacks_at_once,
        settle_ms=SETTLE_MS if storage.mongo is not None else 0,
        backoff=Backoff(first_s=settings.callback_wait_s, longest_s=settings.callback_longest_wait_s),
    )
    dispatcher = Dispatcher(deliveries, Courier(fetcher, _key(settings), storage.seal), rules)
    subscriptions = Subscriptions(notices, most=settings.max_subscribers, per_account=settings.max_per_account)
    bus.subscribe(EVENTS_NOTIFY, "sender", Telling(notices), at_once=AT_ONCE)
    bus.subscribe(CALLBACKS, "sender", calling(deliveries, dispatcher.wake), at_once=AT_ONCE)

    async def start() -> None:
        await notices.start()
        await dispatcher.start()

    async def stop() -> None:
        await dispatcher.stop()
        await notices.stop()

    async def health() -> dict[str, Any]:
        await notices.check()
        await deliveries.check()
        return {}

    return Part(
        name="sender",
        routes=routes,
        key=SUBSCRIPTIONS,
        service=subscriptions,
        context={MANNER: Manner(settings.frame, settings.slow_s)},
        start=start,
        turn_away=subscriptions.turn_away,
        stop=stop,
        health=health,
    )


async def open_notices(storage: Storage, settings: SenderSettings) -> NoticeLog:
    bounds = Bounds(settings.log_entries, settings.log_bytes, int(settings.log_age_s * 1000))
    if storage.redis is not None:
        return RedisNoticeLog(storage.redis, bounds)
    return SqliteNoticeLog(await storage.sqlite("notices.db", NOTICES_SCHEMA), bounds)


async def open_deliveries(storage: Storage) -> Deliveries:
    if storage.mongo is not None:
        return MongoDeliveries(storage.mongo)
    return SqliteDeliveries(await storage.sqlite("callbacks.db", CALLBACKS_SCHEMA))


def _key(settings: SenderSettings) -> bytes | None:
    secret = settings.callback_secret
    try:
        return signing_key(secret.get_secret_value()) if secret else None
    except ValueError as wrong:
        raise MienError(Code.BAD_BODY, f"MIEN_SENDER_CALLBACK_SECRET: {wrong}") from None
