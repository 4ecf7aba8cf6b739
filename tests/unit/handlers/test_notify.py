"""What others are told, and what becomes of an emission when telling fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from libs.common import clock, event_rules
from libs.common.bus.port import Consumer, Message
from libs.common.bus.topics import CALLBACKS, EVENTS_NOTIFY, EVENTS_SAVE
from libs.common.errors import Code, MienError
from libs.common.ids import Id, new_id
from libs.common.wire.estimations import FaceAttributes
from libs.common.wire.events import Event
from libs.common.wire.handlers import EmitQuery
from libs.common.wire.notices import Notice, Save, ToldEvent
from libs.common.wire.policies import Policies
from services.handlers.emission import Draft, Emission
from services.handlers.ports import Services
from services.handlers.steps.storing import store_events
from services.handlers.steps.telling import tell

HTTP = {"type": "http", "url": "http://receiver.example/"}


@dataclass
class Others:
    """The bus and the events service. ``failure`` is what the bus answers with."""

    failure: MienError | None = None
    published: list[Message] = field(default_factory=list)
    saved: list[tuple[list[Event], list[Notice]]] = field(default_factory=list)

    async def publish(self, message: Message) -> None:
        if self.failure:
            raise self.failure
        self.published.append(message)

    async def save(self, account: Id, events: list[Event], notices: list[Notice]) -> None:
        self.saved.append((events, notices))

    def subscribe(self, topic: str, subscriber: str, consume: Consumer, at_once: int = 1) -> None: ...


def emission(storage: dict[str, Any], count: int = 1) -> Emission:
    return Emission(
        account=new_id(),
        handler_id=new_id(),
        policies=Policies.model_validate({"storage_policy": storage}),
        query=EmitQuery(source="gate-1"),
        meta=None,
        created=clock.now(),
        ended=None,
        pictures=[],
        drafts=[Draft(new_id(), [], FaceAttributes(), None, None, []) for _ in range(count)],
    )


async def run(emission: Emission, others: Any) -> None:
    services = Services(others, others, others, others, others, others)
    await store_events(emission, services)
    await tell(emission, services)


async def test_notices_are_saved_with_the_events_they_are_about() -> None:
    others, made = Others(), emission({"callbacks": [HTTP, {"type": "luna-ws-notification"}]}, count=2)
    await run(made, others)
    [(events, notices)] = others.saved
    ids = [draft.event_id for draft in made.drafts]
    assert [event.event_id for event in events] == ids
    assert [notice.topic for notice in notices] == [CALLBACKS, EVENTS_NOTIFY]
    for notice in notices:
        told = [ToldEvent.model_validate(one) for one in notice.body["events"]]
        assert [one.event_id for one in told] == ids
        assert {(one.account_id, one.handler_id, one.event_create_time, one.event_end_time) for one in told} == {
            (made.account, made.handler_id, made.created, None)
        }
        assert {one.url for one in told} == {f"/2/events/{event_id}" for event_id in ids}
    assert notices[0].body["callback"]["url"] == HTTP["url"]
    assert others.published == []


async def test_without_waiting_events_and_notices_are_one_message() -> None:
    others, made = Others(), emission({"event_policy": {"wait_saving": 0}}, count=2)
    await run(made, others)
    [message] = others.published
    assert (message.topic, message.account) == (EVENTS_SAVE, made.account)
    assert (len(message.body["events"]), len(message.body["notices"])) == (2, 1)


async def test_events_too_large_for_one_message_are_saved_and_told_of_in_portions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_rules, "PORTION_BYTES", 1)
    others, made = Others(), emission({"event_policy": {"wait_saving": 0}, "callbacks": [HTTP]}, count=3)
    await run(made, others)
    portions = [Save.model_validate(message.body) for message in others.published]
    assert [[event.event_id for event in one.events] for one in portions] == [[one.event_id] for one in made.drafts]
    for one in portions:
        about = [[told["event_id"] for told in notice.body["events"]] for notice in one.notices]
        assert about == [[one.events[0].event_id]] * 2


async def test_events_that_are_not_stored_are_told_of_all_the_same() -> None:
    others, made = Others(), emission({"event_policy": {"store_event": 0}})
    await run(made, others)
    [message] = others.published
    assert (message.topic, message.body["events"][0]["url"]) == (EVENTS_NOTIFY, None)
    assert others.saved == []


async def test_a_receiver_that_is_down_does_not_stop_an_emission() -> None:
    others = Others(failure=MienError(Code.OVERLOADED, "full", retry_after_s=1))
    await run(emission({"event_policy": {"store_event": 0}, "callbacks": [HTTP]}), others)


async def test_an_emission_that_could_not_be_told_of_at_all_fails() -> None:
    others = Others(failure=MienError(Code.STORE_UNAVAILABLE, "no broker", retry_after_s=1))
    with pytest.raises(MienError, match="no broker") as refusal:
        await run(emission({"event_policy": {"store_event": 0}}), others)
    assert refusal.value.retry_after_s is None, "it may have been told of"
