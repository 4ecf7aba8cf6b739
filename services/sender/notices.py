"""Messages of the bus as notices of an account, one for each event; and notices as frames."""

from __future__ import annotations

from typing import Any, Literal

import orjson
from pydantic import BaseModel

from libs.common.bus.port import Message
from libs.common.errors import Code, MienError
from libs.common.ids import Id
from services.sender.model import Entry, Notice

MAX_NOTICE_BYTES = 8 * 1024 * 1024
"""Of one event as JSON; its ``meta`` alone may have 2 MB."""
_BESIDE = ("handler_id", "account_id", "event_create_time", "event_end_time")
"""What a subscriber is told beside the event. Section 20.3 of the wire contract."""

Frame = Literal["wrapped", "flat"]


class _Event(BaseModel, extra="allow"):
    event_id: Id


class Told(BaseModel):
    """Body of a message on EVENTS_NOTIFY: events as an emission answers them; each may carry what is beside it."""

    handler_id: Id | None = None
    events: list[_Event]


def notices_of(message: Message) -> list[Notice]:
    """Raises ValidationError for a body that is none, BODY_TOO_LARGE."""
    told = Told.model_validate(message.body)
    return [_notice(message.account, told.handler_id, event.model_dump()) for event in told.events]


def _notice(account: Id, handler_id: Id | None, event: dict[str, Any]) -> Notice:
    beside = {name: event.pop(name, None) for name in _BESIDE}
    beside["handler_id"] = beside["handler_id"] or handler_id
    content = orjson.dumps({"event_type": _kind(event), **beside, "account_id": account, "event": event})
    if len(content) > MAX_NOTICE_BYTES:
        detail = f"event {event['event_id']}: {len(content)} bytes; subscribers are told of {MAX_NOTICE_BYTES}"
        raise MienError(Code.BODY_TOO_LARGE, detail)
    return Notice(event["event_id"], content)


def _kind(event: dict[str, Any]) -> str:
    """``body`` when only bodies were seen, else ``face``."""
    samples = [detection.get("samples") or {} for detection in event.get("detections") or ()]
    has_body_only = any(one.get("body") for one in samples) and not any(one.get("face") for one in samples)
    return "body" if has_body_only else "face"


def frame_of(entry: Entry, form: Frame) -> bytes:
    """The JSON text of one frame: the notice with its cursor, the event under ``event`` or, ``flat``, beside it."""
    content = entry.told
    if form == "flat":
        content = {**content["event"], **{name: value for name, value in content.items() if name != "event"}}
    return orjson.dumps({"cursor": entry.cursor, **content})


def position_frame(cursor: str) -> bytes:
    """The frame that says where a subscriber stands, and nothing else."""
    return orjson.dumps({"cursor": cursor})
