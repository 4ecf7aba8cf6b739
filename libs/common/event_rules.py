"""What an event and its notices must keep to beyond their types, or the events service will not store them.

Shared, because whoever puts events on the bus answers its caller before they are stored: an event that will be
refused later must be refused now.

A document of MongoDB and a message of RabbitMQ 4 hold 16 MiB. The limits here leave room in both for one event of any
size together with its notices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from libs.common import descriptors
from libs.common.bus.topics import CALLBACKS, EVENTS_NOTIFY
from libs.common.errors import Code, MienError
from libs.common.ids import Id
from libs.common.wire.estimations import Descriptor
from libs.common.wire.events import Event
from libs.common.wire.notices import Notice

MAX_META_BYTES = 2 * 1024 * 1024
"""The contract's limit."""
MAX_MATCHES_BYTES = 4 * 1024 * 1024
"""Ten searches with a thousand candidates each, every one with the usual targets."""
MAX_EVENT_BYTES = 13 * 512 * 1024
"""Of the whole event without its descriptors: what meta and matches may have, and half a MiB."""
MAX_NOTICES_BYTES = 8 * 1024 * 1024
"""Of all the notices that are saved together."""
PORTION_BYTES = 12 * 1024 * 1024
"""Of the events that travel in one message, with their notices, as JSON; one that is larger travels alone."""
TOLD_ON = (EVENTS_NOTIFY, CALLBACKS)
"""Topics that a notice may have."""


def check(account: Id, event: Event, where: str = "") -> None:
    """Raises BAD_BODY (another account; data that is no JSON or too large), BAD_DESCRIPTOR,
    DESCRIPTOR_VERSION_UNKNOWN; ``where`` is the event's path in the request, with its dot."""
    if event.account_id != account:
        raise MienError(Code.BAD_BODY, f"{where}account_id: is not the account of the request")
    _check_json(event.meta, f"{where}meta", MAX_META_BYTES)
    _check_json(event.match_result, f"{where}match_result", MAX_MATCHES_BYTES)
    _check_size(event, where)
    _check_descriptor(event.face_descriptor, f"{where}face_descriptor", "face")
    _check_descriptor(event.body_descriptor, f"{where}body_descriptor", "body")


def check_notices(notices: Sequence[Notice]) -> None:
    """Raises BAD_BODY: another topic; data that is no JSON or too large."""
    for place, notice in enumerate(notices):
        if notice.topic not in TOLD_ON:
            raise MienError(Code.BAD_BODY, f"notices.{place}.topic: {notice.topic} is not one of {', '.join(TOLD_ON)}")
    sizes = [_json_bytes(notice.body, f"notices.{place}.body") for place, notice in enumerate(notices)]
    if sum(sizes) > MAX_NOTICES_BYTES:
        raise MienError(
            Code.BAD_BODY, f"notices: have {sum(sizes)} bytes as JSON; {MAX_NOTICES_BYTES} are allowed for one save"
        )


def _check_json(content: Any, where: str, limit: int) -> None:
    if (size := _json_bytes(content, where)) > limit:
        raise MienError(Code.BAD_BODY, f"{where}: has {size} bytes as JSON; {limit} are allowed")


def _check_size(event: Event, where: str) -> None:
    if _is_small(event):
        return
    size = len(event.model_dump_json(exclude={"face_descriptor", "body_descriptor"}))
    if size > MAX_EVENT_BYTES:
        raise MienError(Code.BAD_BODY, f"{where}event: has {size} bytes as JSON; {MAX_EVENT_BYTES} are allowed")


def _is_small(event: Event) -> bool:
    """Whether all but meta and matches is far below half a MiB: then nobody need measure it."""
    detections = [*event.face_detections, *event.body_detections]
    origins = sum(len(one.image_origin or "") for one in detections)
    return len(detections) + len(event.attach_result) <= 100 and origins <= 50_000


def _json_bytes(content: Any, where: str) -> int:
    """msgpack can carry what JSON, and so the store, cannot: bytes, keys that are no text."""
    try:
        return len(orjson.dumps(content))
    except TypeError as wrong:
        raise MienError(Code.BAD_BODY, f"{where}: {wrong}") from None


def _check_descriptor(descriptor: Descriptor | None, where: str, kind: str) -> None:
    if descriptor is None:
        return
    try:
        descriptors.vector(descriptor.version, descriptor.data)
    except MienError as wrong:
        raise MienError(wrong.code, f"{where}: {wrong.detail}") from None
    if (found := descriptors.version_of(descriptor.version).kind) != kind:
        raise MienError(Code.BAD_DESCRIPTOR, f"{where}: version {descriptor.version} is of a {found}")
