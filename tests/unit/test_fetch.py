"""The guarded fetcher against real servers on this machine."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
from collections.abc import AsyncIterator
from ipaddress import ip_address

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from libs.common.errors import Code, MienError
from libs.common.http.fetch import Fetcher, Guard, unwrapped
from libs.common.settings import FetchSettings

LOOPBACK = ["127.0.0.0/8"]
MAX_BYTES = 100_000


class Camera:
    """A web server that misbehaves on request, and remembers who called."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.never = asyncio.Event()
        self.address = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        return await getattr(self, "_" + request.path.strip("/"))(request)

    async def _picture(self, request: web.Request) -> web.Response:
        assert "Cookie" not in request.headers
        answer = web.Response(body=b"bytes", content_type="image/png")
        answer.set_cookie("session", "1")
        return answer

    async def _here(self, _: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/picture"})

    async def _private(self, _: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": "http://10.1.2.3/picture"})

    async def _file(self, _: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "file:///etc/passwd"})

    async def _loop(self, _: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/loop"})

    async def _missing(self, _: web.Request) -> web.Response:
        return web.Response(status=404)

    async def _large(self, _: web.Request) -> web.Response:
        return web.Response(body=bytes(MAX_BYTES + 1))

    async def _endless(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(bytes(10_000))

    async def _compressed(self, _: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(bytes(50_000_000)), headers={"Content-Encoding": "gzip"})

    async def _slow(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"a")
        await self.never.wait()
        return answer

    async def _callback(self, request: web.Request) -> web.Response:
        assert await request.read() == b"{}"
        return web.Response(status=int(request.headers["X-Answer"]), headers={"Location": "/picture"})


class Names(AbstractResolver):
    """A name server under the attacker's hand."""

    def __init__(self, **addresses: list[str]) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self.addresses[host.split(".")[0]]
        ]

    async def close(self) -> None:
        return None


@pytest.fixture
async def camera() -> AsyncIterator[Camera]:
    camera = Camera()
    app = web.Application()
    app.router.add_route("*", "/{what}", camera.answer)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    camera.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield camera
    camera.never.set()
    await runner.cleanup()


def settings(allow_networks: list[str] = LOOPBACK, timeout_s: float = 10.0) -> FetchSettings:
    return FetchSettings(
        allow_urls=True, allow_networks=allow_networks, max_bytes=MAX_BYTES, max_redirects=3, timeout_s=timeout_s
    )


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(settings())
    yield fetcher
    await fetcher.close()


async def refusal(fetcher: Fetcher, url: str) -> Code:
    with pytest.raises(MienError) as refused:
        await fetcher.get(url)
    await fetcher.close()
    return refused.value.code


async def test_a_picture_is_fetched_through_redirects_and_without_cookies(camera: Camera, fetcher: Fetcher) -> None:
    assert await fetcher.get(f"{camera.address}/picture") == (b"bytes", "image/png")
    assert await fetcher.get(f"{camera.address}/here") == (b"bytes", "image/png")
    assert camera.asked == ["/picture", "/here", "/picture"]


async def test_nothing_is_fetched_unless_the_operator_says_so(camera: Camera) -> None:
    assert not FetchSettings().allow_urls
    assert await refusal(Fetcher(FetchSettings()), f"{camera.address}/picture") is Code.FETCH_REFUSED
    assert camera.asked == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1.",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "0",
        "①②⑦.⓪.⓪.①",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[2002:7f00:1::]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b:1::1]",
        "[fe80::1%25lo]",
        "[fec0::1]",
        "[ff02::1]",
        "10.0.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
async def test_no_spelling_of_a_private_address_is_called(camera: Camera, host: str) -> None:
    port = camera.address.rsplit(":")[-1]

    assert await refusal(Fetcher(settings(allow_networks=[])), f"http://{host}:{port}/picture") is Code.FETCH_REFUSED
    assert camera.asked == []


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.215.14", "127.0.0.1"], ["::ffff:10.0.0.1"]])
async def test_a_name_with_any_private_address_is_refused(camera: Camera, addresses: list[str]) -> None:
    fetcher = Fetcher(settings(allow_networks=[]), Names(camera=addresses))

    assert await refusal(fetcher, camera.address.replace("127.0.0.1", "camera.test") + "/picture") is Code.FETCH_REFUSED
    assert camera.asked == []


async def test_a_name_is_resolved_and_checked_again_for_every_connection(camera: Camera) -> None:
    names = Names(camera=["127.0.0.1"])
    fetcher = Fetcher(settings(), names)
    url = camera.address.replace("127.0.0.1", "camera.test")

    assert (await fetcher.get(f"{url}/picture")).data == b"bytes"
    names.addresses["camera"] = ["10.0.0.1"]
    # the trailing dot makes it another host, so that the open connection is not used again
    assert await refusal(fetcher, url.replace("camera.test", "camera.test.") + "/picture") is Code.FETCH_REFUSED


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("private", Code.FETCH_REFUSED),
        ("file", Code.FETCH_REFUSED),
        ("loop", Code.FETCH_FAILED),
        ("missing", Code.FETCH_FAILED),
        ("compressed", Code.FETCH_FAILED),
        ("large", Code.IMAGE_TOO_LARGE),
        ("endless", Code.IMAGE_TOO_LARGE),
    ],
)
async def test_an_answer_that_leads_astray_or_swells_is_refused(camera: Camera, path: str, code: Code) -> None:
    assert await refusal(Fetcher(settings()), f"{camera.address}/{path}") is code
    assert len(camera.asked) == (4 if path == "loop" else 1)


async def test_a_slow_answer_is_given_up_in_time(camera: Camera) -> None:
    assert await refusal(Fetcher(settings(timeout_s=0.2)), f"{camera.address}/slow") is Code.REQUEST_TIMEOUT


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://127.0.0.1/a", Code.FETCH_REFUSED),
        ("file:///etc/passwd", Code.FETCH_REFUSED),
        ("picture.jpg", Code.FETCH_REFUSED),
        ("http://user:pass@127.0.0.1/a", Code.FETCH_REFUSED),
        ("http://:pass@127.0.0.1/a", Code.FETCH_REFUSED),
        ("http:///a", Code.BAD_URL),
        ("http://127.0.0.1:99999/a", Code.BAD_URL),
        (f"http://{'a' * 64}.test/a", Code.BAD_URL),
        ("http://127.0.0.1:1/a", Code.CONNECTION),
    ],
)
async def test_a_url_that_cannot_or_may_not_be_called_says_so(url: str, code: Code) -> None:
    assert await refusal(Fetcher(settings()), url) is code


async def test_a_callback_answers_its_status_and_never_follows_a_redirect(camera: Camera, fetcher: Fetcher) -> None:
    url = f"{camera.address}/callback"

    assert [await fetcher.post(url, b"{}", {"X-Answer": status}, 5.0) for status in ("204", "500", "307")] == [
        204,
        500,
        307,
    ]
    assert camera.asked == ["/callback"] * 3
    with pytest.raises(MienError, match="host may not be set"):
        await fetcher.post(url, b"{}", {"Host": "intranet"}, 5.0)
    with pytest.raises(MienError) as refused:
        await fetcher.post("http://192.168.0.1/", b"{}", {}, 5.0)
    assert refused.value.code is Code.FETCH_REFUSED
    with pytest.raises(MienError) as split:
        await fetcher.post(url, b"{}", {"X-Answer": "204\r\nX-More: 1"}, 5.0)
    assert split.value.code is Code.FETCH_REFUSED


async def test_secrets_of_a_url_stay_out_of_errors_and_logs(
    camera: Camera, fetcher: Fetcher, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for path in ("missing", "loop", "large"):
        with pytest.raises(MienError) as failed:
            await fetcher.get(f"{camera.address}/{path}?key=secret#secret")
        assert "secret" not in str(failed.value)
    assert "secret" not in caplog.text


def test_an_address_inside_another_is_the_one_that_counts() -> None:
    guard = Guard(["192.168.7.0/24"])
    guard.check(ip_address("::ffff:192.168.7.3"), "camera")
    guard.check(ip_address("2606:4700::1111"), "camera")

    assert unwrapped(ip_address("64:ff9b::8.8.8.8")) == ip_address("8.8.8.8")
    with pytest.raises(MienError):
        guard.check(ip_address("192.168.8.1"), "camera")


async def test_a_malformed_network_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        Fetcher(settings(allow_networks=["home"]))
