"""What others are told of the events: the notices that are saved with them, or go out by themselves."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from prometheus_client import Counter

from libs.common import clock, tracing
from libs.common.bus.port import Message
from libs.common.bus.topics import CALLBACKS, EVENTS_NOTIFY
from libs.common.errors import Code, MienError
from libs.common.ids import Id, new_id
from libs.common.wire.notices import Notice
from libs.common.wire.policies import Filters
from services.handlers.emission import Emission
from services.handlers.ports import Services
from services.handlers.records import told

log = logging.getLogger("mien.handlers")
UNTOLD = Counter("mien_events_untold_total", "Events that are not stored and whose notice was refused", ["topic"])

Told = Mapping[Id, dict[str, Any]]
"""Events as others are told of them, by id."""


def notices_about(emission: Emission, about: Told) -> list[Notice]:
    """What the policies have told of some of the events: one notice for each HTTP callback, one for the account's
    subscribers, each about the events that pass its filters."""
    storage = emission.policies.storage_policy
    found: list[Notice] = []
    for callback in storage.callbacks:
        passing = _passing(emission, callback.enable, callback.filters) if callback.type == "http" else set()
        if events := _some(about, passing):
            found.append(notice(CALLBACKS, emission.handler_id, events, callback=callback.model_dump(mode="json")))
    policy = storage.notification_policy
    passing = _passing(emission, policy.send_notification, policy.filters)
    for callback in storage.callbacks:
        if callback.type == "luna-ws-notification":
            passing |= _passing(emission, callback.enable, callback.filters)
    if events := _some(about, passing):
        found.append(notice(EVENTS_NOTIFY, emission.handler_id, events))
    return found


def _passing(emission: Emission, switch: int, filters: Filters) -> set[Id]:
    return {draft.event_id for draft in emission.passing(switch, filters)}


def _some(about: Told, ids: set[Id]) -> list[dict[str, Any]]:
    return [event for event_id, event in about.items() if event_id in ids]


def notice(topic: str, handler_id: Id, events: list[dict[str, Any]], **more: Any) -> Notice:
    """A new notice of ``events`` (plain JSON of ToldEvent), emitted now: callbacks are made in that order."""
    body = {"handler_id": handler_id, "events": events, "emitted_ms": clock.now_ms(), **more}
    return Notice(notice_id=new_id(), topic=topic, body=body, headers=tracing.headers())


async def tell(emission: Emission, services: Services) -> None:
    """Have the bus tell of events that are not stored.

    Once something was told or saved, a notice that the bus refuses is counted, not answered, and so is one that finds
    its queue full (of callbacks, when a receiver is down).
    """
    about = {draft.event_id: told(emission, draft) for draft in emission.drafts if not draft.stored}
    for one in notices_about(emission, about):
        try:
            await services.bus.publish(Message(one.topic, emission.account, one.body, message_id=one.notice_id))
        except MienError as refusal:
            if not emission.is_settled and refusal.code is not Code.OVERLOADED:
                # it may have been told, and sent again it would be told of as another event
                refusal.retry_after_s = None
                raise
            UNTOLD.labels(one.topic).inc(len(one.body["events"]))
            log.warning("%d events were not told of on %s: %s", len(one.body["events"]), one.topic, refusal.detail)
        else:
            emission.settle()
