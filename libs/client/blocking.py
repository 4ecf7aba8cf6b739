"""The same client for synchronous code: its calls run on one event loop in a thread of its own.

The types that editors and checkers see are in blocking.pyi, which ``python -m libs.client.stub`` writes.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any, Self

from libs.client.client import DEFAULT_URL, MienClient

_END = object()


class BlockingMienClient:
    """As :class:`MienClient`, every method waiting for its answer. May be used by several threads at once."""

    def __init__(self, url: str = DEFAULT_URL, *, account: str, timeout_s: float = 60.0, retries: int = 3) -> None:
        client = MienClient(url, account=account, timeout_s=timeout_s, retries=retries)
        self._close = client.close
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mien-client", daemon=True)
        self._thread.start()
        for name, part in vars(client).items():
            if not name.startswith("_"):
                setattr(self, name, _Part(part, self._run))
        for name in ("sdk", "liveness", "iso", "capabilities", "version", "health"):
            setattr(self, name, _waiting(getattr(client, name), self._run))
        self.subscribe = _iterating(client.subscribe, self._run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread. Calls after that raise RuntimeError."""
        if self._loop.is_closed():
            return
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, call: Coroutine[Any, Any, Any]) -> Any:
        if self._loop.is_closed():
            call.close()
            raise RuntimeError("this client is closed")
        answer = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return answer.result()
        except KeyboardInterrupt:
            answer.cancel()
            raise


class _Part:
    """A part of the client with its coroutine methods turned into waiting ones."""

    def __init__(self, part: object, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        for name, method in inspect.getmembers(part, inspect.iscoroutinefunction):
            if not name.startswith("_"):
                setattr(self, name, _waiting(method, run))


def _waiting(
    method: Callable[..., Coroutine[Any, Any, Any]], run: Callable[[Coroutine[Any, Any, Any]], Any]
) -> Callable[..., Any]:
    @functools.wraps(method)
    def wait(*arguments: Any, **named: Any) -> Any:
        return run(method(*arguments, **named))

    return wait


def _iterating(
    method: Callable[..., Any], run: Callable[[Coroutine[Any, Any, Any]], Any]
) -> Callable[..., Generator[Any, None, None]]:
    @functools.wraps(method)
    def iterate(*arguments: Any, **named: Any) -> Generator[Any, None, None]:
        items = method(*arguments, **named)

        async def following() -> Any:
            return await anext(items, _END)

        try:
            while (item := run(following())) is not _END:
                yield item
        finally:
            with suppress(RuntimeError):  # the client was closed, and with it what this would close
                run(items.aclose())

    return iterate
