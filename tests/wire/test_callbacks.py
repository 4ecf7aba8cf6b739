"""HTTP callbacks: made to a real receiver, signed, in order, and not given up lightly."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import orjson
import pytest
from aiohttp import web
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from libs.common.errors import Code, MienError
from libs.common.http.server import Servers
from libs.common.ids import Id, new_id
from libs.common.settings import SenderSettings
from libs.common.storage import mongo
from services.sender import dispatcher
from services.sender.app import open_deliveries
from services.sender.deliveries_mongo import COLLECTIONS
from services.sender.model import DeadDelivery
from tests import senders
from tests.senders import Sender, calling, told

PATIENCE_S = 30
OURS = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
THEIRS = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ACCOUNT = new_id()
QUICK = SenderSettings(callback_wait_s=0.02, callback_longest_wait_s=0.1)

Open = Callable[..., AbstractAsyncContextManager[Sender]]


class Receiver:
    """Somebody's server. ``answers`` decides the status by the path and the ids of the events; ``held`` paths hang."""

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[tuple[str, dict[str, str], bytes]] = []
        self.taken: dict[str, list[Id]] = defaultdict(list)
        self.answers: Callable[[str, list[Id]], int] = lambda path, ids: 204
        self.held: set[str] = set()
        self.hung: list[str] = []
        self._released = asyncio.Event()
        self._changed = asyncio.Condition()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._take)
        return app

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.path in self.held:
            async with self._changed:
                self.hung.append(request.path)
                self._changed.notify_all()
            await self._released.wait()
        is_json = request.content_type == "application/json"
        ids = [event["event_id"] for event in (orjson.loads(body) if is_json else msgpack.unpackb(body))["events"]]
        status = self.answers(request.path, ids)
        async with self._changed:
            self.calls.append((request.path, dict(request.headers), body))
            if status < 300:
                self.taken[request.path] += ids
            self._changed.notify_all()
        return web.Response(status=status)

    def release(self) -> None:
        """Answer the paths that were ``held``."""
        self.held.clear()
        self._released.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(holds)

    async def has_taken(self, path: str, count: int) -> list[Id]:
        await self.until(lambda: len(self.taken[path]) >= count)
        return self.taken[path]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver, servers = Receiver(), Servers()
    receiver.url = f"http://127.0.0.1:{await servers.start(receiver.app(), '127.0.0.1', 0)}"
    yield receiver
    receiver.release()
    await servers.stop()


@pytest.fixture(params=["sqlite", "mongo"])
async def open_sender(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens any number of senders over one store: each has a bus of its own."""
    url = request.getfixturevalue("mongo_url") if request.param == "mongo" else None
    if url is not None:
        async with mongo.connect(url) as client:
            await mongo.migrate(client.get_default_database(), COLLECTIONS)
    return partial(senders.running, tmp_path, mongo_url=url)


def hook(receiver: Receiver, path: str = "/hook", **fields: Any) -> dict[str, Any]:
    return {"type": "http", "url": receiver.url + path, **fields}


def events(count: int, source: str | None = "gate-1") -> list[dict[str, Any]]:
    return [told(source=source) for _ in range(count)]


def ids_of(some: list[dict[str, Any]]) -> list[Id]:
    return [event["event_id"] for event in some]


async def dead(sender: Sender, count: int) -> list[DeadDelivery]:
    deliveries = await open_deliveries(sender.storage)
    async with asyncio.timeout(PATIENCE_S):
        while len(found := await deliveries.dead(None, None, 100)) < count:  # noqa: ASYNC110 (a death is not announced)
            await asyncio.sleep(0.02)
    return found


async def test_a_callback_says_who_calls_and_what_happened(open_sender: Open, receiver: Receiver) -> None:
    sign = {"type": "basic", "login": "me", "password": "secret"}
    mine = {"X-Gate": "7", "content-type": "text/plain", "Webhook-Id": "x", "idempotency-key": "x"}
    callback = hook(receiver, "/hook?key=1", authorization=sign, params={"headers": mine}, secret=THEIRS)
    account, [event] = new_id(), events(1)
    async with open_sender(QUICK) as sender:
        message = calling(account, callback, event)
        await sender.bus.publish(message)
        await receiver.has_taken("/hook", 1)
    [(_, headers, body)] = receiver.calls
    assert orjson.loads(body) == {"events": [event]}
    assert {name: headers[name] for name in ("X-Gate", "Authorization", "Content-Type", "Luna-Account-Id")} == {
        "X-Gate": "7",
        "Authorization": "Basic bWU6c2VjcmV0",
        "Content-Type": "application/json",
        "Luna-Account-Id": account,
    }
    assert headers["Idempotency-Key"] == headers["webhook-id"] == message.message_id
    assert Webhook(THEIRS).verify(body, headers) == {"events": [event]}
    with pytest.raises(WebhookVerificationError):
        Webhook(OURS).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(THEIRS).verify(body.replace(b"gate-1", b"gate-2"), headers)


async def test_the_deployments_secret_signs_what_has_none_of_its_own(open_sender: Open, receiver: Receiver) -> None:
    [event] = events(1)
    async with open_sender(SenderSettings(callback_secret=SecretStr(OURS))) as sender:
        await sender.bus.publish(calling(new_id(), hook(receiver), event))
        await receiver.has_taken("/hook", 1)
    [(_, headers, body)] = receiver.calls
    assert Webhook(OURS).verify(body, headers) == {"events": [event]}


async def test_a_receiver_may_want_msgpack(open_sender: Open, receiver: Receiver) -> None:
    [event] = events(1)
    async with open_sender(QUICK) as sender:
        callback = hook(receiver, params={"content_type": "application/msgpack"})
        await sender.bus.publish(calling(new_id(), callback, event))
        await receiver.has_taken("/hook", 1)
    [(_, headers, body)] = receiver.calls
    assert (headers["Content-Type"], msgpack.unpackb(body)) == ("application/msgpack", {"events": [event]})
    assert "webhook-signature" not in headers, "nobody has set a secret"


async def test_a_wrong_secret_of_the_deployment_is_a_refusal_to_start_that_does_not_quote_it(open_sender: Open) -> None:
    with pytest.raises(MienError) as refused:
        async with open_sender(SenderSettings(callback_secret=SecretStr("hunter2"))):
            pass
    assert refused.value.code is Code.BAD_BODY
    assert "MIEN_SENDER_CALLBACK_SECRET" in refused.value.detail
    assert "hunter2" not in refused.value.detail


async def test_a_receiver_that_fails_for_a_while_gets_everything_in_order_of_each_source(
    open_sender: Open, receiver: Receiver
) -> None:
    account, callback = new_id(), hook(receiver)
    gates = {source: events(15, source) for source in ("gate-1", "gate-2", None)}
    fails = 20
    receiver.answers = lambda path, ids: 503 if path == "/hook" and len(receiver.calls) < fails else 204
    async with open_sender(QUICK) as sender:
        for trio in zip(*gates.values(), strict=True):
            for event in trio:
                await sender.bus.publish(calling(account, callback, event))
        other = events(1)
        await sender.bus.publish(calling(account, hook(receiver, "/other"), *other))
        assert await receiver.has_taken("/other", 1) == ids_of(other)
        taken = await receiver.has_taken("/hook", 45)
    for some in gates.values():
        assert [event_id for event_id in taken if event_id in ids_of(some)] == ids_of(some)


async def test_a_receiver_that_hangs_holds_up_no_other_and_is_tried_again(
    open_sender: Open, receiver: Receiver
) -> None:
    slow, quick = events(2, "slow"), events(5, "quick")
    receiver.held = {"/slow"}
    async with open_sender(QUICK) as sender:
        for event in slow:
            await sender.bus.publish(calling(new_id(), hook(receiver, "/slow", params={"timeout": 0.2}), event))
        for event in quick:
            await sender.bus.publish(calling(ACCOUNT, hook(receiver, "/quick"), event))
        assert await receiver.has_taken("/quick", 5) == ids_of(quick)
        await receiver.until(lambda: len(receiver.hung) >= 3)
        receiver.release()
        assert sorted(set(await receiver.has_taken("/slow", 2))) == sorted(ids_of(slow))


async def test_a_callback_that_nobody_takes_is_a_dead_letter_and_can_be_redriven(
    open_sender: Open, receiver: Receiver
) -> None:
    poison, after = events(1), events(2)
    receiver.answers = lambda path, ids: 400 if ids == ids_of(poison) else 204
    async with open_sender(QUICK.model_copy(update={"callback_attempts": 3})) as sender:
        message = calling(ACCOUNT, hook(receiver, "/hook?key=1"), *poison)
        for one in (message, *(calling(ACCOUNT, hook(receiver, "/hook?key=1"), event) for event in after)):
            await sender.bus.publish(one)
        assert await receiver.has_taken("/hook", 2) == ids_of(after)
        [letter] = await dead(sender, 1)
        assert (letter.message_id, letter.account, letter.source, letter.attempts) == (
            message.message_id,
            ACCOUNT,
            "gate-1",
            3,
        )
        assert (letter.subscriber, "answered 400" in letter.reason) == (f"{receiver.url}/hook?key=1", True)
        receiver.answers = lambda path, ids: 204
        deliveries = await open_deliveries(sender.storage)
        assert await deliveries.redrive([message.message_id]) == 1
        assert await receiver.has_taken("/hook", 3) == ids_of(after) + ids_of(poison)
    bodies = {body for _, headers, body in receiver.calls if headers["webhook-id"] == message.message_id}
    assert len(bodies) == 1, "the same bytes at every attempt"


async def test_what_can_never_be_called_is_given_up_at_once(open_sender: Open, receiver: Receiver) -> None:
    async with open_sender(QUICK) as sender:
        for url in ("http://10.0.0.1/hook", "http://user:secret@127.0.0.1/", "ftp://127.0.0.1/"):
            await sender.bus.publish(calling(ACCOUNT, {"type": "http", "url": url}, *events(1)))
        forbidden = hook(receiver, params={"headers": {"Host": "inner"}})
        await sender.bus.publish(calling(ACCOUNT, forbidden, *events(1)))
        letters = await dead(sender, 4)
    assert {letter.attempts for letter in letters} == {1}
    assert not any("secret" in letter.reason for letter in letters)
    assert receiver.calls == []


async def test_a_message_that_arrives_twice_is_one_call(open_sender: Open, receiver: Receiver) -> None:
    first, second = (calling(ACCOUNT, hook(receiver), event) for event in events(2))
    async with open_sender(QUICK) as sender:
        await asyncio.gather(*(sender.bus.publish(first) for _ in range(3)))
        await receiver.has_taken("/hook", 1)
        await sender.bus.publish(first)
        await sender.bus.publish(second)
        await receiver.has_taken("/hook", 2)
    assert [headers["webhook-id"] for _, headers, _ in receiver.calls] == [first.message_id, second.message_id]


async def test_calls_that_a_stopping_sender_broke_off_are_made_by_the_next(
    open_sender: Open, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "STOP_S", 0.1)
    some = events(3)
    receiver.held = {"/hook"}
    async with open_sender(QUICK) as sender:
        for event in some:
            await sender.bus.publish(calling(ACCOUNT, hook(receiver), event))
        await receiver.until(lambda: len(receiver.hung) >= 1)
    receiver.release()
    async with open_sender(QUICK):
        taken = await receiver.has_taken("/hook", 3)
    assert list(dict.fromkeys(taken)) == ids_of(some)


async def test_several_senders_keep_the_order_and_call_once(mongo_url: str, receiver: Receiver, tmp_path: Path) -> None:
    async with mongo.connect(mongo_url) as client:
        await mongo.migrate(client.get_default_database(), COLLECTIONS)
    some = {source: events(20, source) for source in ("gate-1", "gate-2")}
    async with AsyncExitStack() as stack:
        running = [
            await stack.enter_async_context(senders.running(tmp_path / str(number), QUICK, mongo_url=mongo_url))
            for number in range(3)
        ]
        for number, pair in enumerate(zip(*some.values(), strict=True)):
            for event in pair:
                message = calling(ACCOUNT, hook(receiver), event, emitted_ms=number)
                await running[number % 3].bus.publish(message)
        taken = await receiver.has_taken("/hook", 40)
    for source, emitted in some.items():
        assert [event_id for event_id in taken if event_id in ids_of(emitted)] == ids_of(emitted), source
    assert len(receiver.calls) == 40
