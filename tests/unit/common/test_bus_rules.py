"""Rules of the bus that need no bus."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from libs.common.bus.link import Link, Session
from libs.common.bus.port import MAX_MESSAGE_BYTES, Backoff, Unreadable, Verdict, reason, verdict
from libs.common.bus.topology import RETRY_MS, retry_queue
from libs.common.errors import Code, MienError
from libs.common.event_rules import MAX_EVENT_BYTES, MAX_NOTICES_BYTES, PORTION_BYTES


class Picture(BaseModel):
    content: int


def wrong(value: object) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Picture.model_validate({"content": value})
    return caught.value


@given(st.integers(1, 10**6), st.floats(0.001, 10), st.floats(0.001, 1000))
def test_waits_grow_to_their_limit_and_are_at_most_halved(attempt: int, first_s: float, longest_s: float) -> None:
    backoff = Backoff(first_s, longest_s, trouble_s=longest_s)
    full_s = min(longest_s, first_s * 2 ** min(attempt - 1, 60))
    for wait_s in (backoff.wait_s(attempt), backoff.pause_s(attempt)):
        assert full_s / 2 <= wait_s <= full_s


@given(st.floats(0, 3600))
def test_a_wait_is_spent_in_the_smallest_retry_queue_that_is_long_enough(wait_s: float) -> None:
    limit_ms = int(retry_queue("notes.reader", wait_s).rsplit(".", 1)[1])
    longer = [limit for limit in RETRY_MS if limit >= wait_s * 1000]
    assert limit_ms == (min(longer) if longer else max(RETRY_MS))


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (ValueError("wrong"), Verdict.AGAIN),
        (MienError(Code.LISTS_MISSING), Verdict.AGAIN),
        (MienError(Code.INTERNAL), Verdict.AGAIN),
        (MienError(Code.OVERLOADED), Verdict.WAIT),
        (MienError(Code.STORE_UNAVAILABLE), Verdict.WAIT),
        (MienError(Code.STORAGE_FULL), Verdict.WAIT),
        (MienError(Code.REQUEST_TIMEOUT), Verdict.WAIT),
        (MienError(Code.CONNECTION), Verdict.WAIT),
        (ConnectionResetError(), Verdict.WAIT),
        (TimeoutError(), Verdict.WAIT),
        (sqlite3.OperationalError("disk I/O error"), Verdict.WAIT),
        (sqlite3.IntegrityError("constraint"), Verdict.AGAIN),
        (Unreadable("version 2"), Verdict.DEAD),
        (wrong("no number"), Verdict.DEAD),
    ],
    ids=str,
)
def test_what_becomes_of_a_failed_delivery(failure: Exception, expected: Verdict) -> None:
    assert verdict(failure) is expected


def test_a_reason_names_the_field_and_quotes_nothing() -> None:
    why = reason(wrong("a descriptor"))
    assert "content" in why
    assert "a descriptor" not in why


def test_the_largest_event_with_its_notices_is_a_message_that_rabbitmq_4_takes() -> None:
    descriptors_and_names = 512 * 1024
    assert MAX_EVENT_BYTES + MAX_NOTICES_BYTES + descriptors_and_names <= MAX_MESSAGE_BYTES <= 16 * 1024 * 1024
    assert PORTION_BYTES <= MAX_MESSAGE_BYTES


async def test_a_link_that_fails_as_nobody_thought_of_says_why_and_tries_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def furnish(_: Session) -> None: ...

    link = Link("broker-without-a-scheme:5672", furnish, name="odd", patience_s=0.1)
    await link.start()
    async with asyncio.timeout(10):
        while caplog.text.count("odd failed in a way that is not RabbitMQ's") < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    with pytest.raises(MienError, match="ValueError"):
        link.check()
    await link.stop()
