"""What an event must keep to beyond its types, or the events service will not store it.

Shared, because whoever puts events on the bus answers its caller before they are stored: an event that will be
refused later must be refused now.
"""

from __future__ import annotations

from typing import Any

import orjson

from libs.common import descriptors
from libs.common.errors import Code, MienError
from libs.common.ids import Id
from libs.common.wire.estimations import Descriptor
from libs.common.wire.events import Event

MAX_META_BYTES = 2 * 1024 * 1024
"""The contract's limit."""
MAX_MATCHES_BYTES = 16 * 1024 * 1024
"""Thirty searches with a thousand candidates each, every one with the usual targets."""


def check(account: Id, event: Event, where: str = "") -> None:
    """Raises BAD_BODY (another account; data that is no JSON or too large), BAD_DESCRIPTOR,
    DESCRIPTOR_VERSION_UNKNOWN; ``where`` is the event's path in the request, with its dot."""
    if event.account_id != account:
        raise MienError(Code.BAD_BODY, f"{where}account_id: is not the account of the request")
    _check_json(event.meta, f"{where}meta", MAX_META_BYTES)
    _check_json(event.match_result, f"{where}match_result", MAX_MATCHES_BYTES)
    _check_descriptor(event.face_descriptor, f"{where}face_descriptor", "face")
    _check_descriptor(event.body_descriptor, f"{where}body_descriptor", "body")


def _check_json(content: Any, where: str, limit: int) -> None:
    """msgpack can carry what JSON, and so the store, cannot: bytes, keys that are no text."""
    try:
        size = len(orjson.dumps(content))
    except TypeError as wrong:
        raise MienError(Code.BAD_BODY, f"{where}: {wrong}") from None
    if size > limit:
        raise MienError(Code.BAD_BODY, f"{where}: has {size} bytes as JSON; {limit} are allowed")


def _check_descriptor(descriptor: Descriptor | None, where: str, kind: str) -> None:
    if descriptor is None:
        return
    try:
        descriptors.vector(descriptor.version, descriptor.data)
    except MienError as wrong:
        raise MienError(wrong.code, f"{where}: {wrong.detail}") from None
    if (found := descriptors.version_of(descriptor.version).kind) != kind:
        raise MienError(Code.BAD_DESCRIPTOR, f"{where}: version {descriptor.version} is of a {found}")
