"""What the bus brings is kept in its order, and acknowledged only when it is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from pydantic import ValidationError

from libs.common.bus.port import Message
from libs.common.bus.topics import EVENTS_NOTIFY
from libs.common.errors import Code, MienError
from libs.common.ids import Id, new_id
from services.sender.consumer import Telling, delivery_of
from services.sender.model import Notice
from tests.senders import calling, telling, told

ACCOUNT = new_id()


class Log:
    """Notes what is appended, one slow append at a time; fails while ``away``."""

    def __init__(self) -> None:
        self.appends: list[tuple[Id, list[Id]]] = []
        self.away = False

    async def append(self, account: Id, notices: Sequence[Notice]) -> None:
        await asyncio.sleep(0.01)
        if self.away:
            raise MienError(Code.STORE_UNAVAILABLE, "away")
        self.appends.append((account, [notice.event_id for notice in notices]))

    def told(self, account: Id) -> list[Id]:
        return [event_id for owner, ids in self.appends if owner == account for event_id in ids]


async def test_what_comes_while_an_append_is_under_way_follows_together_and_in_order() -> None:
    log, other = Log(), new_id()
    tell = Telling(log)  # type: ignore[arg-type]
    events = [told() for _ in range(20)]
    await asyncio.gather(tell(telling(other, told())), *(tell(telling(ACCOUNT, event)) for event in events))
    assert log.told(ACCOUNT) == [event["event_id"] for event in events]
    assert len(log.told(other)) == 1
    assert len(log.appends) <= 3


async def test_nothing_is_acknowledged_that_was_not_appended() -> None:
    log = Log()
    tell = Telling(log)  # type: ignore[arg-type]
    log.away = True
    messages = [telling(ACCOUNT, told()) for _ in range(5)]
    ends = await asyncio.gather(*(tell(message) for message in messages), return_exceptions=True)
    assert [type(end) for end in ends] == [MienError] * 5
    log.away = False
    await asyncio.gather(*(tell(message) for message in messages))
    assert log.told(ACCOUNT) == [message.body["events"][0]["event_id"] for message in messages]


@pytest.mark.parametrize("body", [{}, {"events": [{}]}, {"events": [{"event_id": "x"}]}, {"events": "none"}])
async def test_a_body_that_makes_no_sense_is_a_dead_letter_at_once(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):  # which the bus takes for that
        await Telling(Log())(Message(EVENTS_NOTIFY, ACCOUNT, body))  # type: ignore[arg-type]


def test_a_callback_belongs_to_the_lane_of_its_receiver_and_source() -> None:
    def lane(account: Id = ACCOUNT, url: str = "http://a/", source: str | None = "gate-1") -> str:
        return delivery_of(calling(account, {"type": "http", "url": url}, told(source=source))).lane

    lanes = {lane(), lane(url="http://b/"), lane(source="gate-2"), lane(source=None), lane(account=new_id())}
    assert len(lanes) == 5
    assert lane() in lanes
