"""WebSocket subscriptions: on the sender's own port, through a gateway that runs it and through one that calls it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import REGISTRY

from deploy.local.redis import Redis as RedisServer
from libs.client import BlockingMienClient, MienApiError, MienClient, MienUnreachable, Notice
from libs.common.http.routes import ACCOUNT_HEADER
from libs.common.ids import Id, new_id
from libs.common.settings import SenderSettings
from services.gateway import sockets as gateway_sockets
from tests import photos, senders
from tests.senders import Sender, telling, told

PATIENCE_S = 15
DOORS: dict[str, Callable[[Sender], str]] = {
    "own port": lambda sender: f"{sender.url}/1/ws",
    "gateway inside": lambda sender: f"{sender.inside}/6/ws",
    "gateway outside": lambda sender: f"{sender.outside}/6/ws",
}

Open = Callable[..., AbstractAsyncContextManager[Sender]]


@pytest.fixture(params=["sqlite", "redis"])
def open_sender(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None
    return partial(senders.running, tmp_path, redis_url=url)


@pytest.fixture
async def sender(open_sender: Open) -> AsyncIterator[Sender]:
    async with open_sender() as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


class Line:
    """A subscriber's connection; ``cursor`` is that of the latest frame."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.cursor = ""

    @property
    def own_socket(self) -> socket.socket:
        return self.socket.get_extra_info("socket")

    async def frame(self) -> dict[str, Any]:
        frame = await self.socket.receive_json(timeout=PATIENCE_S)
        self.cursor = frame["cursor"]
        return frame

    async def event_ids(self, count: int) -> list[Id]:
        return [frame["event"]["event_id"] for frame in [await self.frame() for _ in range(count)]]

    async def rest(self) -> tuple[list[Id], tuple[int, str]]:
        """The events of the frames before the close, and its code and reason."""
        ids: list[Id] = []
        while (message := await self.socket.receive(timeout=PATIENCE_S)).type is aiohttp.WSMsgType.TEXT:
            frame = message.json()
            self.cursor = frame["cursor"]
            ids.append(frame["event"]["event_id"])
        assert message.type is aiohttp.WSMsgType.CLOSE
        return ids, (message.data, message.extra or "")


async def subscribed(session: aiohttp.ClientSession, url: str, account: Id, **query: str) -> Line:
    """A line that is known to listen: a frame has said where it stands."""
    params = {"positions": "1", **query}
    line = Line(await session.ws_connect(url, headers={ACCOUNT_HEADER: account}, params=params))
    assert set(await line.frame()) == {"cursor"}
    return line


async def resumed(session: aiohttp.ClientSession, url: str, account: Id, cursor: str) -> Line:
    return Line(await session.ws_connect(url, headers={ACCOUNT_HEADER: account}, params={"cursor": cursor}))


async def refused(session: aiohttp.ClientSession, url: str, account: Id | None, **query: str) -> tuple[int, int]:
    """The status and code of a refusal before the upgrade."""
    headers = {ACCOUNT_HEADER: account} if account else {}
    with pytest.raises(aiohttp.WSServerHandshakeError) as handshake:
        await session.ws_connect(url, headers=headers, params=query)
    async with session.get(url, headers=headers, params=query) as answer:
        assert answer.status == handshake.value.status
        return answer.status, (await answer.json())["error_code"]


@pytest.mark.parametrize("door", DOORS)
async def test_a_subscriber_is_told_of_its_accounts_events_as_they_happen(
    sender: Sender, session: aiohttp.ClientSession, door: str
) -> None:
    account, event_id = new_id(), new_id()
    message = telling(account, told(event_id, event_create_time="2024-05-04T09:30:10.000Z", tags=["known"]))
    async with session.ws_connect(DOORS[door](sender), headers={ACCOUNT_HEADER: account}) as socket:
        await sender.bus.publish(telling(new_id(), told()))
        await sender.bus.publish(message)
        frame = await Line(socket).frame()
    url = f"/2/events/{event_id}" if door == "own port" else f"/6/events/{event_id}"
    assert frame == {
        "cursor": frame["cursor"],
        "event_type": "face",
        "handler_id": message.body["handler_id"],
        "account_id": account,
        "event_create_time": "2024-05-04T09:30:10.000Z",
        "event_end_time": None,
        "event": {"event_id": event_id, "url": url, "source": None, "tags": ["known"]},
    }


async def test_frames_are_flat_where_the_operator_wants_them_so(open_sender: Open) -> None:
    account, event_id = new_id(), new_id()
    async with open_sender(SenderSettings(frame="flat")) as sender, aiohttp.ClientSession() as session:
        line = await subscribed(session, DOORS["gateway inside"](sender), account)
        await sender.bus.publish(telling(account, told(event_id, source="gate-1")))
        frame = await line.frame()
        assert (frame["event_id"], frame["url"], frame["source"]) == (event_id, f"/6/events/{event_id}", "gate-1")
        assert {"cursor", "event_type", "handler_id", "account_id", "event_create_time"} < set(frame)
        assert "event" not in frame
        async with (
            MienClient(sender.inside, account=account) as client,
            aclosing(client.subscribe(cursor=frame["cursor"])) as notices,
        ):
            await sender.bus.publish(telling(account, told(event_id := new_id())))
            assert (await anext(notices)).event.event_id == event_id


async def cursor_now(session: aiohttp.ClientSession, sender: Sender, account: Id) -> str:
    """The cursor of now."""
    url, headers = DOORS["own port"](sender), {ACCOUNT_HEADER: account}
    async with session.ws_connect(url, headers=headers, params={"positions": "1"}) as socket:
        return (await Line(socket).frame())["cursor"]


async def test_only_what_passes_the_filters_is_told(sender: Sender, session: aiohttp.ClientSession) -> None:
    account = new_id()
    url = DOORS["gateway outside"](sender)
    gates = await subscribed(session, url, account, sources="gate-1,null")
    vips = await subscribed(session, url, account, tags="vip")
    events = [told(source=source, tags=tags) for source in ("gate-1", "gate-2", None) for tags in ([], ["vip"])]
    await sender.bus.publish(telling(account, *events))
    wanted = [event["event_id"] for event in events if event["source"] in ("gate-1", None)]
    assert await gates.event_ids(4) == wanted
    assert await vips.event_ids(3) == [event["event_id"] for event in events if "vip" in event["tags"]]


@pytest.mark.parametrize("door", DOORS)
async def test_what_is_wrong_is_refused_before_the_upgrade(
    sender: Sender, session: aiohttp.ClientSession, door: str
) -> None:
    url, account = DOORS[door](sender), new_id()
    assert await refused(session, url, None) == (403, 29001)
    assert await refused(session, url, "me") == (400, 12016)
    for wrong in ({"age__gte": "x"}, {"gender": "2"}, {"color": "red"}, {"page": "1"}, {"create_time__gte": "soon"}):
        assert await refused(session, url, account, **wrong) == (400, 12012), wrong
    assert await refused(session, url, account, cursor="1") == (400, 12012)
    assert await refused(session, url, account, external_ids=",".join(map(str, range(1001)))) == (400, 12042)
    foreign = await cursor_now(session, sender, new_id())
    assert await refused(session, url, account, cursor=foreign) == (410, 29002)
    async with session.get(url, headers={ACCOUNT_HEADER: account}) as answer:
        assert (answer.status, (await answer.json())["error_code"]) == (400, 12016)


async def test_subscribers_are_counted_for_each_account_and_in_all(open_sender: Open) -> None:
    mine, yours, theirs = new_id(), new_id(), new_id()
    settings = SenderSettings(max_per_account=2, max_subscribers=3)
    async with open_sender(settings) as sender, aiohttp.ClientSession() as session:
        url = DOORS["gateway outside"](sender)
        lines = [await subscribed(session, url, account) for account in (mine, mine, yours)]
        assert await refused(session, url, mine) == (503, 12033)
        await lines[2].socket.close()
        async with asyncio.timeout(PATIENCE_S):
            while await refused(session, url, mine) != (429, 29003):
                pass  # the sender has yet to notice that one has left
        await subscribed(session, url, theirs)


async def test_a_message_that_arrives_twice_is_told_once(sender: Sender, session: aiohttp.ClientSession) -> None:
    account = new_id()
    line = await subscribed(session, DOORS["own port"](sender), account)
    events = [told() for _ in range(3)]
    for message in (telling(account, *events[:2]), telling(account, *events[:2]), telling(account, *events)):
        await sender.bus.publish(message)
    last = told()
    await sender.bus.publish(telling(account, last))
    seen = await line.event_ids(4)
    assert sorted(seen) == sorted(event["event_id"] for event in [*events, last])


async def test_who_resumes_with_a_cursor_misses_nothing(sender: Sender, session: aiohttp.ClientSession) -> None:
    account, url = new_id(), DOORS["gateway outside"](sender)
    line = await subscribed(session, url, account)
    events = [told() for _ in range(250)]
    await sender.bus.publish(telling(account, *events[:100]))
    frames = [await line.frame() for _ in range(60)]
    await line.socket.close()
    await sender.bus.publish(telling(account, *events[100:]))
    again = await resumed(session, url, account, line.cursor)
    seen = [frame["event"]["event_id"] for frame in frames] + await again.event_ids(190)
    assert seen == [event["event_id"] for event in events]


def dropped(reason: str) -> float:
    """How many subscribers this process has dropped for it."""
    return REGISTRY.get_sample_value("mien_sender_dropped_total", {"reason": reason}) or 0.0


@pytest.mark.parametrize("door", DOORS)
async def test_a_subscriber_that_does_not_read_is_dropped_and_told_why(
    open_sender: Open, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    monkeypatch.setattr(gateway_sockets, "SLOW_S", 0.5)
    account, before = new_id(), dropped("slow")
    async with open_sender(SenderSettings(slow_s=0.5)) as sender, aiohttp.ClientSession() as session:
        url = DOORS[door](sender)
        slow, quick = await subscribed(session, url, account), await subscribed(session, url, account)
        slow.own_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
        events = [told(meta={"big": "x" * 1_000_000}) for _ in range(16)]  # more than the kernel's buffers
        for event in events:
            await sender.bus.publish(telling(account, event))
            assert await quick.event_ids(1) == [event["event_id"]]
        if door != "gateway outside":
            async with asyncio.timeout(PATIENCE_S):
                while dropped("slow") == before:  # noqa: ASYNC110 (a drop is not announced)
                    await asyncio.sleep(0.01)
        else:
            await asyncio.sleep(1.0)  # the gateway's patience, and some
        frames, (code, reason) = await slow.rest()
        assert (code, "slow" in reason) == (1008, True)
        assert frames == [event["event_id"] for event in events[: len(frames)]]
        assert len(frames) < len(events)
        again = await resumed(session, url, account, slow.cursor)
        assert await again.event_ids(16 - len(frames)) == [event["event_id"] for event in events[len(frames) :]]


@pytest.mark.parametrize("door", DOORS)
async def test_a_sender_that_stops_says_so_to_its_subscribers(
    open_sender: Open, session: aiohttp.ClientSession, door: str
) -> None:
    account = new_id()
    async with open_sender() as sender:
        line = await subscribed(session, DOORS[door](sender), account)
        await sender.part.turn_away()
        frames, (code, reason) = await line.rest()
        assert (frames, code, "resume" in reason) == ([], 1001, True)
        assert await refused(session, DOORS[door](sender), account) == (503, 12033)


async def test_subscribers_stay_while_redis_is_away_and_miss_nothing(
    redis_server: RedisServer, redis_url: str, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    account, events = new_id(), [told() for _ in range(4)]
    async with senders.running(tmp_path, redis_url=redis_url) as sender:
        url = DOORS["gateway outside"](sender)
        line = await subscribed(session, url, account)
        await sender.bus.publish(telling(account, events[0]))
        assert await line.event_ids(1) == [events[0]["event_id"]]
        redis_server.stop()
        for event in events[1:]:
            await sender.bus.publish(telling(account, event))
        assert await refused(session, url, account) == (503, 12037)
        redis_server.start()
        assert sorted(await line.event_ids(3)) == sorted(event["event_id"] for event in events[1:])
        assert not line.socket.closed


async def test_the_client_goes_on_where_it_was_when_its_connection_breaks(sender: Sender) -> None:
    account, events = new_id(), [told(source="gate-1", gender=None) for _ in range(6)]
    async with (
        MienClient(sender.outside, account=account) as client,
        aclosing(client.subscribe(sources=["gate-1"])) as notices,
    ):
        begun = asyncio.ensure_future(anext(notices))
        await subscribers(sender, account, 1)
        await sender.bus.publish(telling(account, events[0], told(source="gate-2")))
        seen = [(await begun).event.event_id]
        for event in events[1:]:
            for subscription in sender.part.service._open:
                subscription.leaving.set()  # its connection ends, as when a process is replaced
            await sender.bus.publish(telling(account, event))
            notice = await asyncio.wait_for(anext(notices), PATIENCE_S)
            assert notice.account_id == account
            seen.append(notice.event.event_id)
    assert seen == [event["event_id"] for event in events]


async def subscribers(sender: Sender, account: Id, count: int) -> None:
    """Wait until the account has so many."""
    async with asyncio.timeout(PATIENCE_S):
        while sender.part.service._of_account[account] != count:  # noqa: ASYNC110 (nobody announces a subscriber)
            await asyncio.sleep(0.01)


async def test_the_client_says_what_it_was_refused_for(sender: Sender) -> None:
    async with MienClient(sender.outside, account=new_id()) as client:
        with pytest.raises(MienApiError) as wrong:
            await anext(client.subscribe(age__gte=-1))
        assert (wrong.value.status, wrong.value.error_code) == (400, 12012)
        with pytest.raises(MienApiError) as gone:
            await anext(client.subscribe(cursor=await foreign_cursor(sender)))
        assert (gone.value.status, gone.value.error_code) == (410, 29002)
    async with MienClient("http://127.0.0.1:9", account=new_id()) as client:
        with pytest.raises(MienUnreachable):
            await anext(client.subscribe())


async def foreign_cursor(sender: Sender) -> str:
    async with aiohttp.ClientSession() as session:
        return await cursor_now(session, sender, new_id())


async def test_the_blocking_client_is_told_too(sender: Sender) -> None:
    account, events = new_id(), [told() for _ in range(3)]

    def follow() -> list[Id]:
        with BlockingMienClient(sender.outside, account=account) as client:
            notices = client.subscribe()
            return [notice.event.event_id for notice, _ in zip(notices, range(3), strict=False)]

    following = asyncio.create_task(asyncio.to_thread(follow))
    await subscribers(sender, account, 1)
    await sender.bus.publish(telling(account, *events, told()))
    assert await asyncio.wait_for(following, PATIENCE_S) == [event["event_id"] for event in events]


async def test_subscribers_are_told_what_the_emission_answered(client: MienClient) -> None:
    handler_id = await client.handlers.create({"conditional_tags_policy": [{"tag": "seen", "filters": {}}]})
    other = await client.handlers.create({})
    async with aclosing(client.subscribe(handler_ids=[handler_id], tags=["seen"])) as notices:
        begun = asyncio.ensure_future(anext(notices))
        await hears(client, handler_id, begun)
        first = (await begun).event.event_id
        await client.handlers.emit(other, photos.astronaut_jpeg(), source="gate-2")
        [event] = (await client.handlers.emit(handler_id, photos.astronaut_jpeg(), source="gate-1")).events
        async with asyncio.timeout(PATIENCE_S):
            while (notice := await anext(notices)).event.source != "gate-1":
                assert notice.event.event_id != first
    assert notice.event == event
    assert (notice.event_type, notice.handler_id) == ("face", handler_id)
    stored = await client.events.get(event.event_id)
    assert (notice.event_create_time, notice.account_id) == (stored.create_time, stored.account_id)


async def hears(client: MienClient, handler_id: Id, begun: asyncio.Future[Notice]) -> None:
    """Save events until the subscriber is there to be told of one."""
    async with asyncio.timeout(PATIENCE_S):
        while not begun.done():
            await client.handlers.save_event(handler_id, {"tags": ["seen"]})
            await asyncio.wait({begun}, timeout=0.2)
