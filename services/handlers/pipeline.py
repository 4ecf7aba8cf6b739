"""One emission: the steps, in the order of section 10 of the wire contract.

Every step works on the whole emission, so that each service is called once per step and call, not per face. The first
steps look and choose, and leave nothing. Then all that is to be stored is written into the journal, and only then
stored; an emission that fails is taken back, now or out of the journal. The last steps settle the emission: what they
did others may know already.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from libs.common.errors import OPEN, Code, MienError, said_once
from services.handlers.emission import Emission
from services.handlers.journal import Traces
from services.handlers.ports import Journal, Services
from services.handlers.steps.choosing import choose_attributes, choose_faces, choose_origins, choose_samples, traces_of
from services.handlers.steps.matching import match, tag
from services.handlers.steps.seeing import check_faces, detect
from services.handlers.steps.storing import store_attributes, store_events, store_faces, store_images
from services.handlers.steps.telling import tell
from services.handlers.unfinished import take_back

log = logging.getLogger("mien.handlers")

Step = Callable[[Emission, Services], Awaitable[None]]

LOOKING: tuple[Step, ...] = (detect, check_faces, match, tag)
CHOOSING = (choose_samples, choose_origins, choose_attributes, choose_faces)
STORING: tuple[Step, ...] = (store_images, store_attributes, store_faces)
LAST: tuple[Step, ...] = (store_events, tell)
STORING_S = 60.0
"""In which everything but the events must be stored; journal.OVERDUE_S is longer."""


async def run(emission: Emission, services: Services, journal: Journal) -> None:
    """All steps in order. Returns once nothing of the emission is left to be taken back.

    What a failing or cancelled call had stored is taken back, unless the events it belongs to are saved or may be: that
    is found out later. Raises what the steps raise, REQUEST_TIMEOUT when storing takes too long.
    """
    await _each(LOOKING, emission, services)
    for choose in CHOOSING:
        choose(emission)
    traces = traces_of(emission)
    if traces.are_none:
        await _to_its_end(_each(LAST, emission, services))
        return
    await journal.begin(traces)
    try:
        await _store(emission, services)
    except (Exception, asyncio.CancelledError) as failure:
        await _take_back(traces, services, journal, failure)
        raise
    await _to_its_end(_finish(emission, traces, services, journal))


async def _each(steps: tuple[Step, ...], emission: Emission, services: Services) -> None:
    for step in steps:
        await step(emission, services)


async def _store(emission: Emission, services: Services) -> None:
    limit = asyncio.timeout(STORING_S)
    try:
        async with limit:
            await _each(STORING, emission, services)
    except TimeoutError:
        if not limit.expired():
            raise
        detail = f"pictures and faces were not stored within {STORING_S:g} s, and are taken back"
        raise MienError(Code.REQUEST_TIMEOUT, detail) from None


async def _finish(emission: Emission, traces: Traces, services: Services, journal: Journal) -> None:
    try:
        await _each(LAST, emission, services)
    except Exception as failure:
        if not emission.is_settled:
            await _take_back(traces, services, journal, failure)
        raise
    with said_once(by_id=False):
        is_ours = await journal.end(traces.account, traces.emission_id)
    if not is_ours:
        await take_back(traces, services)
        raise MienError(Code.REQUEST_TIMEOUT, "the emission took so long that it was taken for dead")


async def _to_its_end(last: Coroutine[Any, Any, None]) -> None:
    """A caller that hangs up while events are saved would leave open what became of them."""
    task = asyncio.create_task(last)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def _take_back(traces: Traces, services: Services, journal: Journal, failure: BaseException) -> None:
    """Now, as far as possible. The entry stays for what cannot be deleted now, and for what a call whose end is not
    known may still store."""
    is_over = isinstance(failure, MienError) and failure.code not in OPEN
    if not await take_back(traces, services) or not is_over:
        return
    try:
        await journal.end(traces.account, traces.emission_id)
    except MienError as trouble:  # the caller is to learn the first failure
        log.warning("emission %s stays in the journal: %s", traces.emission_id, trouble)
