"""Whether a process can do its work now, and what is missing if it cannot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from libs.common.errors import Code, MienError

OWN_S = 2.0
"""In which what is a process's own must answer, so that those who ask the process hear the reason."""
CHECK_S = 4.0
"""In which everything that is needed must answer, services in other processes too."""

Check = Callable[[], Awaitable[Any]]
"""Returns when what it asks is well, with anything it wants to tell; raises the reason when it is not."""

log = logging.getLogger("mien.readiness")


class Readiness:
    """What a process needs of its own (stores, the bus, warmed models), and the services it calls, each by name. What
    only a part of its work needs counts as called: without it the process is still of use."""

    def __init__(self) -> None:
        self._own: dict[str, Check] = {}
        self._called: dict[str, Check] = {}
        self._draining = False

    def needs(self, name: str, check: Check) -> None:
        self._own[name] = check

    def calls(self, service: str, check: Check) -> None:
        self._called[service] = check

    def drain(self) -> None:
        """From now on nothing new should come here."""
        self._draining = True

    async def missing(self, *, own: bool = False) -> dict[str, str]:
        """What is not there, and why; nothing when the process is ready. ``own`` leaves out the services it calls."""
        if self._draining:
            return {"process": "is stopping"}
        checks = self._own if own else self._own | self._called
        reasons = await asyncio.gather(*(_reason(name, check) for name, check in checks.items()))
        return {name: reason for name, reason in zip(checks, reasons, strict=True) if reason is not None}

    async def of_called(self) -> dict[str, Any]:
        """What each service that is called says of itself. Raises MienError of the first that is not well."""
        return await all_of(self._called)


def within(check: Check, seconds: float = OWN_S) -> Check:
    """``check``, given up after ``seconds`` with STORE_UNAVAILABLE: drivers try for longer than anybody asks."""

    async def checked() -> Any:
        try:
            async with asyncio.timeout(seconds):
                return await check()
        except TimeoutError:
            raise MienError(Code.STORE_UNAVAILABLE, f"did not answer within {seconds:g} s", retry_after_s=1) from None

    return checked


async def all_of(checks: Mapping[str, Check]) -> dict[str, Any]:
    """What every check tells, asked at the same time. Raises what the first one that fails raises."""
    return dict(zip(checks, await asyncio.gather(*(check() for check in checks.values())), strict=True))


async def _reason(name: str, check: Check) -> str | None:
    try:
        async with asyncio.timeout(CHECK_S):
            await check()
    except TimeoutError:
        return f"did not answer within {CHECK_S:g} s"
    except MienError as error:
        return error.detail or error.code.desc
    except Exception as failure:  # whatever it is, it is not ready; the caller hears no more than the kind
        log.warning("%s is not well", name, exc_info=failure)
        return type(failure).__name__
    return None
