"""The one door through which Mien calls addresses that users give: pictures by URL, callbacks.

Closed unless the operator opens it. An address is checked after its name was resolved and the connection goes
to the very address that was checked, so that neither a name nor a redirect leads into the private network.
"""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from libs.common.addresses import check_headers, read_address, shown
from libs.common.errors import Code, MienError
from libs.common.settings import FetchSettings

Address = IPv4Address | IPv6Address

REDIRECTS = (301, 302, 303, 307, 308)
CHUNK_BYTES = 64 * 1024

_NAT64 = ip_network("64:ff9b::/96")
_COMPATIBLE = ip_network("::/96")


class Fetched(NamedTuple):
    """``content_type`` is the answer's header, if it had one."""

    data: bytes
    content_type: str | None


class Fetcher:
    """Guarded HTTP calls. Create it inside a running event loop; raises ValueError for a malformed network."""

    def __init__(self, settings: FetchSettings, resolver: AbstractResolver | None = None) -> None:
        self._settings = settings
        self._guard = Guard(settings.allow_networks)
        # No DNS cache: what is connected to is what has just been checked. No cookies: callers share the session.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=_Resolver(resolver or aiohttp.ThreadedResolver(), self._guard),
                use_dns_cache=False,
                limit_per_host=16,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            headers={"User-Agent": "mien", "Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        await self._session.close()

    async def get(self, url: str) -> Fetched:
        """The body behind ``url``, redirects followed.

        Raises BAD_URL, FETCH_REFUSED (closed, scheme, credentials, private address), FETCH_FAILED (status,
        redirects, content encoding), IMAGE_TOO_LARGE, REQUEST_TIMEOUT, CONNECTION.
        """
        target = self._checked(url)
        async with _translated(target, self._settings.timeout_s):
            for _ in range(self._settings.max_redirects + 1):
                async with self._session.get(target, allow_redirects=False) as answer:
                    if answer.status not in REDIRECTS:
                        return await self._read(answer)
                    target = self._checked(str(target.join(URL(answer.headers.get("Location", "")))))
        raise MienError(Code.FETCH_FAILED, f"{shown(target)}: over {self._settings.max_redirects} redirects")

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> int:
        """Send ``body`` and return the status of the answer, whatever it is; redirects are not followed.

        Raises BAD_URL, FETCH_REFUSED (as :meth:`get`, and for headers that may not be set), REQUEST_TIMEOUT,
        CONNECTION.
        """
        target = self._checked(url)
        check_headers(headers)
        async with (
            _translated(target, timeout_s),
            self._session.post(target, data=io.BytesIO(body), headers=headers, allow_redirects=False) as answer,
        ):
            return answer.status

    def _checked(self, text: str) -> URL:
        """The URL, as far as it can be judged before its name is resolved."""
        if not self._settings.allow_urls:
            raise MienError(Code.FETCH_REFUSED, "this deployment fetches no URLs (MIEN_FETCH_ALLOW_URLS)")
        url = read_address(text)
        assert url.host is not None
        self._guard.check_literal(url.host)
        return url

    async def _read(self, answer: aiohttp.ClientResponse) -> Fetched:
        where = shown(answer.url)
        if answer.status != 200:
            raise MienError(Code.FETCH_FAILED, f"{where}: answered {answer.status}")
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            # it was not asked for, and unpacking is how a small answer becomes a huge one
            raise MienError(Code.FETCH_FAILED, f"{where}: the answer is compressed")
        limit = self._settings.max_bytes
        data = bytearray()
        async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
            data += chunk
            if len(data) > limit:
                raise MienError(Code.IMAGE_TOO_LARGE, f"{where}: over {limit} bytes")
        return Fetched(bytes(data), answer.headers.get("Content-Type"))


class Guard:
    """Which addresses may be called: the public ones, and those inside the operator's networks."""

    def __init__(self, allow_networks: list[str]) -> None:
        self._networks = [ip_network(text, strict=False) for text in allow_networks]

    def check(self, address: Address, host: str) -> None:
        """Raises FETCH_REFUSED, without telling what a private name resolves to."""
        inner = unwrapped(address)
        if any(inner in network for network in self._networks):
            return
        if not inner.is_global or inner.is_multicast or inner.is_reserved or getattr(inner, "is_site_local", False):
            raise MienError(Code.FETCH_REFUSED, f"{host}: not a public address")

    def check_literal(self, host: str) -> None:
        """Check a host that is an address itself; aiohttp does not ask the resolver about those."""
        if ":" not in host and not host.replace(".", "").isdigit():
            return
        try:
            address = ip_address(host)
        except ValueError:
            # 2130706433, 127.1 and 127.0.0.1. are what the C library takes for 127.0.0.1
            raise MienError(Code.FETCH_REFUSED, f"{host}: not a canonical address") from None
        self.check(address, host)


def unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for (mapped, compatible, 6to4, NAT64), else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


class _Resolver(AbstractResolver):
    """Resolves names, and refuses one as soon as any of its addresses is refused."""

    def __init__(self, inner: AbstractResolver, guard: Guard) -> None:
        self._inner = inner
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for result in found:
            self._guard.check(ip_address(result["host"]), host)
        return found

    async def close(self) -> None:
        await self._inner.close()


@asynccontextmanager
async def _translated(url: URL, timeout_s: float) -> AsyncIterator[None]:
    """Bound the time, and turn failures of the transport into the contract's."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise MienError(Code.REQUEST_TIMEOUT, f"{shown(url)}: took over {timeout_s:g} s") from None
    except (aiohttp.InvalidURL, ValueError):
        raise MienError(Code.BAD_URL, f"{shown(url)}: cannot be called") from None
    except (aiohttp.ClientError, OSError) as failure:
        raise MienError(Code.CONNECTION, f"{shown(url)}: {type(failure).__name__}") from None
