"""One emission: the steps, in the order of section 10 of the wire contract.

Every step works on the whole emission, so that each service is called once per step and call, not per face.
A step that stores something also says how to undo it; when a later step fails, what was stored is undone. The last
steps settle the emission: what they did others may know already.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from services.handlers.emission import Emission
from services.handlers.ports import Services
from services.handlers.steps.matching import match, tag
from services.handlers.steps.seeing import check_faces, detect
from services.handlers.steps.storing import (
    store_attributes,
    store_events,
    store_faces,
    store_origins,
    store_samples,
)
from services.handlers.steps.telling import tell

log = logging.getLogger("mien.handlers")

Step = Callable[[Emission, Services], Awaitable[None]]

STEPS: tuple[Step, ...] = (
    detect,
    check_faces,
    match,
    tag,
    store_samples,
    store_origins,
    store_attributes,
    store_faces,
)
LAST: tuple[Step, ...] = (store_events, tell)


async def run(emission: Emission, services: Services) -> None:
    """All steps in order. What a failing or cancelled call had stored is undone before the error leaves, unless the
    events it belongs to are saved or may be."""
    await _run(STEPS, emission, services)
    await _to_its_end(_run(LAST, emission, services))


async def _run(steps: tuple[Step, ...], emission: Emission, services: Services) -> None:
    try:
        for step in steps:
            await step(emission, services)
    except (Exception, asyncio.CancelledError):
        await _undo(emission)
        raise


async def _to_its_end(last: Coroutine[Any, Any, None]) -> None:
    """A caller that hangs up while events are saved would leave open what became of them."""
    task = asyncio.create_task(last)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def _undo(emission: Emission) -> None:
    for undo in reversed(emission.undo):
        try:
            await undo()
        except Exception:  # the others are to be undone all the same, and the caller is to learn the first failure
            log.exception("could not undo a part of a failed emission")
