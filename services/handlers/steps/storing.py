"""Steps that store what was chosen; a failure is the pipeline's to take back."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from libs.common import event_rules
from libs.common.bus.port import Message
from libs.common.bus.topics import EVENTS_SAVE
from libs.common.errors import OPEN, Code, MienError
from libs.common.ids import Id
from libs.common.wire.base import portions
from libs.common.wire.events import Event
from libs.common.wire.notices import Notice, Save
from services.handlers.emission import Draft, Emission
from services.handlers.ports import Services
from services.handlers.records import stored_event, told
from services.handlers.steps.telling import Told, notices_about


async def store_images(emission: Emission, services: Services) -> None:
    """Samples and source pictures."""
    if images := emission.keeping.images:
        await services.images.put(emission.account, images)


async def store_attributes(emission: Emission, services: Services) -> None:
    """Temporary attributes."""
    if attributes := emission.keeping.attributes:
        await services.faces.create_attributes(emission.account, attributes)


async def store_faces(emission: Emission, services: Services) -> None:
    """Faces with their links. Raises LIST_MISSING (400)."""
    chosen = emission.keeping.faces
    if not chosen:
        return
    try:
        faces = await services.faces.create_faces(emission.account, [face for _, face in chosen])
    except MienError as failure:
        if failure.code is Code.LISTS_MISSING:
            raise MienError(Code.LIST_MISSING, failure.detail, status=400) from None
        raise
    for (draft, _), face in zip(chosen, faces, strict=True):
        draft.face = face


async def store_events(emission: Emission, services: Services) -> None:
    """The events, and in one step with them what is to be told of them: in the store before the answer, or on the bus
    when nobody waits. Nothing is taken back afterwards."""
    policy = emission.policies.storage_policy.event_policy
    drafts = emission.passing(policy.store_event, policy.filters)
    for draft in drafts:
        draft.stored = True
    for about in _portions(emission, drafts):
        events = [stored_event(emission, draft) for draft in drafts if draft.event_id in about]
        notices = notices_about(emission, about)
        try:
            await save(services, emission.account, events, notices, wait=bool(policy.wait_saving))
        except MienError as failure:
            if failure.code in OPEN:  # the events may be saved, and what they rest on must stay
                emission.settle()
            if emission.is_settled:
                failure.retry_after_s = None  # sent again, the pictures would become other events beside these
            raise
        emission.settle()


def _portions(emission: Emission, drafts: list[Draft]) -> Iterator[Told]:
    """Nearly always one. Of several, each is saved and told of by itself."""
    about = {draft.event_id: told(emission, draft) for draft in drafts}
    copies = 1 + len(notices_about(emission, about))
    limit = event_rules.PORTION_BYTES
    return map(dict, portions(about.items(), lambda item: copies * len(orjson.dumps(item[1])), limit))


async def save(services: Services, account: Id, events: list[Event], notices: list[Notice], *, wait: bool) -> None:
    """Have events saved, with what is to be told of them.

    Returns after the store's commit when ``wait``, else once the bus has them. Raises BAD_BODY, BAD_DESCRIPTOR,
    DESCRIPTOR_VERSION_UNKNOWN naming the event's or notice's place, REQUEST_CONFLICT, OVERLOADED, STORE_UNAVAILABLE.
    """
    if wait:
        await services.events.save(account, events, notices)
        return
    for place, event in enumerate(events):
        event_rules.check(account, event, f"events.{place}.")
    event_rules.check_notices(notices)
    body = Save(events=events, notices=notices).model_dump()
    await services.bus.publish(Message(EVENTS_SAVE, account, body))
