"""One HTTP call to the gateway: account and request id in, models and errors out, patience with an overload."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

import aiohttp
import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError
from yarl import URL

from libs.client.errors import MienApiError, MienUnreachable
from libs.client.pictures import Content
from libs.common.clock import render
from libs.common.errors import Code
from libs.common.http.routes import ACCOUNT_HEADER, JSON, REQUEST_ID_HEADER
from libs.common.ids import new_request_id, parse_id
from libs.common.wire.base import fault

T = TypeVar("T")

PREFIX = "/6"
MAX_WAIT_S = 10
"""Longest pause before a refused call is sent again, whatever ``Retry-After`` asks for."""


@dataclass(frozen=True)
class Answer:
    """What came back with a status below 400."""

    status: int
    headers: Mapping[str, str]
    data: bytes

    def read(self, shape: type[T]) -> T:
        """The JSON body as ``shape``; fields this client does not know yet are passed over."""
        try:
            return _adapter(shape).validate_json(self.data, extra="ignore")
        except ValidationError as wrong:
            raise self._misfit(fault(wrong)) from None

    def json(self) -> Any:
        try:
            return orjson.loads(self.data)
        except orjson.JSONDecodeError as wrong:
            raise self._misfit(str(wrong)) from None

    def items(self, name: str, shape: type[T]) -> list[T]:
        """One field of a JSON object that is a list of ``shape``."""
        try:
            return _adapter(list[shape]).validate_python(self.field(name), extra="ignore")
        except ValidationError as wrong:
            raise self._misfit(fault(wrong, name)) from None

    def field(self, name: str) -> Any:
        """One field of a JSON object."""
        content = self.json()
        if not isinstance(content, dict) or name not in content:
            raise self._misfit(f"{name}: is missing")
        return content[name]

    def _misfit(self, detail: str) -> MienApiError:
        request_id = self.headers.get(REQUEST_ID_HEADER, "")
        return MienApiError(self.status, Code.INTERNAL.number, "Answer does not fit the contract", detail, request_id)


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


class Calls:
    """Sends what the client's parts ask for. Belongs to the event loop of its first call.

    Raises ValueError for a ``url`` without http(s) and host, and for an ``account`` that is no UUID.
    """

    def __init__(self, url: str, account: str, timeout_s: float, retries: int) -> None:
        if URL(url).scheme not in ("http", "https") or not URL(url).host:
            raise ValueError(f"{url!r} is not the address of a platform, such as http://127.0.0.1:5000")
        self._url = url.rstrip("/")
        self._account = _account(account)
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._retries = retries
        self._session: aiohttp.ClientSession | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has been used, and not closed since."""
        return self._session is not None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        content: Content | None = None,
        headers: Mapping[str, str] | None = None,
        prefix: str = PREFIX,
    ) -> Answer:
        """Call the gateway. Raises MienApiError, MienUnreachable.

        A 503 that says when to come back means that nothing was done, so any call may be sent again; nothing
        else is ever repeated, because an emission that was cut off may have been stored.
        """
        url = URL(self._url + prefix + path).with_query(query_of(query or {}))
        sent = {ACCOUNT_HEADER: self._account, REQUEST_ID_HEADER: new_request_id(), "Accept": "*/*", **(headers or {})}
        answer = await self._once(method, url, content, sent)
        for _ in range(self._retries):
            wait_s = _retry_after_s(answer)
            if wait_s is None:
                break
            await asyncio.sleep(min(wait_s, MAX_WAIT_S))
            answer = await self._once(method, url, content, sent)
        if answer.status >= 400:
            raise _refusal(answer, sent[REQUEST_ID_HEADER])
        return answer

    async def socket(self, path: str, query: Mapping[str, Any]) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket. Raises MienApiError when it is refused, MienUnreachable."""
        url = URL(self._url + PREFIX + path).with_query(query_of(query))
        sent = {ACCOUNT_HEADER: self._account, REQUEST_ID_HEADER: new_request_id()}
        try:
            return await self._open().ws_connect(url, headers=sent, max_msg_size=0)
        except aiohttp.WSServerHandshakeError:
            # asked again as a plain call, the platform says why
            answer = await self._once("GET", url, None, sent)
            raise _refusal(answer, sent[REQUEST_ID_HEADER]) from None
        except TimeoutError:
            raise MienUnreachable(f"{url.path} took over {self._timeout.total:g} s") from None
        except (aiohttp.ClientError, OSError) as failure:
            raise MienUnreachable(f"{self._url} does not answer: {failure or type(failure).__name__}") from None

    async def exists(self, path: str) -> bool:
        """HEAD: whether there is such an object."""
        try:
            await self.send("HEAD", path)
        except MienApiError as refusal:
            if refusal.status == 404:
                return False
            raise
        return True

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self._session

    async def _once(self, method: str, url: URL, content: Content | None, headers: Mapping[str, str]) -> Answer:
        own = {"Content-Type": content.content_type} if content and content.content_type else {}
        data = content.payload() if content else None
        try:
            async with self._open().request(method, url, data=data, headers={**headers, **own}) as answer:
                return Answer(answer.status, answer.headers, await answer.read())
        except TimeoutError:
            raise MienUnreachable(f"{method} {url.path} took over {self._timeout.total:g} s") from None
        except (aiohttp.ClientError, OSError) as failure:
            raise MienUnreachable(f"{self._url} does not answer: {failure or type(failure).__name__}") from None


def _account(text: str) -> str:
    try:
        return parse_id(text)
    except ValueError:
        raise ValueError(f"account {text!r} is not a UUID") from None


def _retry_after_s(answer: Answer) -> int | None:
    text = answer.headers.get("Retry-After", "")
    return int(text) if answer.status == 503 and text.isdecimal() else None


def _refusal(answer: Answer, request_id: str) -> MienApiError:
    request_id = answer.headers.get(REQUEST_ID_HEADER, request_id)
    try:
        body = orjson.loads(answer.data)
        return MienApiError(answer.status, int(body["error_code"]), body["desc"], body.get("detail", ""), request_id)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        text = answer.data[:200].decode(errors="replace")
        return MienApiError(answer.status, Code.INTERNAL.number, "Answer is not the platform's", text, request_id)


def query_of(values: Mapping[str, Any]) -> dict[str, str]:
    """A query string's values: None left out, lists joined by commas, times in RFC 3339.

    Raises ValueError for a list item that holds a comma, which the contract cannot carry.
    """
    return {name: _query_text(name, value) for name, value in values.items() if value is not None}


def _query_text(name: str, value: Any) -> str:
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [_query_text(name, item) for item in value]
        if broken := next((item for item in items if "," in item), None):
            raise ValueError(f"{name}: {broken!r} holds a comma, which a query list cannot carry")
        return ",".join(items)
    if isinstance(value, datetime):
        return render(value)
    return str(int(value)) if isinstance(value, bool) else str(value)


def json_content(value: Any) -> Content:
    """A JSON body of models and plain data; bytes travel as base64, model fields that were never set stay out."""
    return Content(orjson.dumps(value, default=_jsonable), JSON)


def _jsonable(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON")


def given(**fields: Any) -> dict[str, Any]:
    """The fields that were given, that is, are not None."""
    return {name: value for name, value in fields.items() if value is not None}
