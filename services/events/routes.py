"""HTTP of the events service: parse, call, answer."""

from __future__ import annotations

from aiohttp import web

from libs.common.http.routes import JSON, MSGPACK, Call, Reply, Routes
from libs.common.wire.events import Event, StatsRequest, StatsResult
from services.events.queries import (
    DescriptorAnswer,
    DescriptorQuery,
    EventBatch,
    EventQuery,
    EventsFound,
    EventsSaved,
    SavedEvent,
    SaveQuery,
    Targets,
    check_targets,
    event_answer,
)
from services.events.service import Events

PREFIX = "/2"
OCTETS = "application/octet-stream"

routes = Routes("events", PREFIX)
EVENTS = web.AppKey("events", Events)


@routes.post("/events", status=201)
async def save_events(call: Call, query: SaveQuery, body: EventBatch) -> EventsSaved:
    """Save ready events, all or none. One whose id is stored already is left as it is."""
    saved = await call.service(EVENTS).submit(call.account, body.events, wait=bool(query.wait_events_saving))
    return EventsSaved(events=[SavedEvent(event_id=event.event_id, url=_url(event)) for event in saved])


@routes.get("/events", answer=EventsFound)
async def find_events(call: Call, query: EventQuery) -> object:
    """Events that pass every filter: newest first, or in order of ids when an id is bounded."""
    check_targets(query.targets)
    found = await call.service(EVENTS).find(call.account, query, query)
    return {"events": [event_answer(event, query.targets) for event in found]}


@routes.post("/events/stats")
async def count_events(call: Call, body: StatsRequest) -> StatsResult:
    """Count events by group."""
    return await call.service(EVENTS).stats(call.account, body)


@routes.get("/events/{event_id}", answer=Event)
async def get_event(call: Call, query: Targets) -> object:
    """One event."""
    check_targets(query.targets)
    event = await call.service(EVENTS).get(call.account, call.path("event_id"))
    return event_answer(event, query.targets)


@routes.head("/events/{event_id}")
async def check_event(call: Call) -> Reply:
    """Whether there is such an event."""
    await call.service(EVENTS).get(call.account, call.path("event_id"))
    return Reply()


@routes.get("/events/{event_id}/descriptor", answer=DescriptorAnswer)
async def get_descriptor(call: Call, query: DescriptorQuery) -> Reply:
    """The face or body descriptor of an event: bare bytes, or JSON or msgpack for those who accept that."""
    found = await call.service(EVENTS).descriptor(
        call.account, call.path("event_id"), query.descriptor_type, query.descriptor_version
    )
    if _takes_octets(call.request.headers.get("Accept", "*/*")):
        return Reply(found.data, content_type=OCTETS)
    return Reply(DescriptorAnswer(descriptor=found.data, version=found.version))


def _takes_octets(accept: str) -> bool:
    """Whether bare bytes will do: they are named, or anything will do and nothing else is named."""
    kinds = {part.split(";")[0].strip() for part in accept.split(",")}
    return OCTETS in kinds or (bool(kinds & {"*/*", "application/*", ""}) and not kinds & {JSON, MSGPACK})


def _url(event: Event) -> str:
    return f"{PREFIX}/events/{event.event_id}"
