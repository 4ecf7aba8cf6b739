"""The step that tells others of the events."""

from __future__ import annotations

import logging
from typing import Any

from prometheus_client import Counter

from libs.common.bus.port import Message
from libs.common.bus.topics import CALLBACKS, EVENTS_NOTIFY
from libs.common.errors import Code, MienError
from libs.common.wire.policies import Callback
from services.handlers.emission import Draft, Emission
from services.handlers.ports import Services
from services.handlers.records import emitted

log = logging.getLogger("mien.handlers")
UNTOLD = Counter("mien_events_untold_total", "Events whose notification the bus refused", ["topic"])


async def notify(emission: Emission, services: Services) -> None:
    """Tell whom the policies name of the events that pass: callbacks, and the account's subscribers.

    The events are stored by now: a full queue of callbacks (a receiver that is down) is counted, not answered.
    """
    storage = emission.policies.storage_policy
    for callback in storage.callbacks:
        topic = CALLBACKS if callback.type == "http" else EVENTS_NOTIFY
        await _tell(emission, services, topic, emission.passing(callback.enable, callback.filters), callback)
    policy = storage.notification_policy
    await _tell(emission, services, EVENTS_NOTIFY, emission.passing(policy.send_notification, policy.filters))


async def _tell(
    emission: Emission, services: Services, topic: str, drafts: list[Draft], callback: Callback | None = None
) -> None:
    if not drafts:
        return
    body: dict[str, Any] = {
        "handler_id": emission.handler_id,
        "events": [emitted(emission, draft).model_dump(mode="json") for draft in drafts],
    }
    if callback and topic == CALLBACKS:
        body["callback"] = callback.model_dump()
    try:
        await services.bus.publish(Message(topic, emission.account, body))
    except MienError as refusal:
        if refusal.code is not Code.OVERLOADED:
            raise
        UNTOLD.labels(topic).inc(len(drafts))
        log.warning("%d events were not told of on %s: %s", len(drafts), topic, refusal.detail)
