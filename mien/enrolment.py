"""Making people known: one face per photo, on a list, under the person's name."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from libs.client import MienClient
from libs.common.errors import Code
from mien.lists import handler_described

DESCRIPTION = "mien enroll"
EXTERNAL_ID_LENGTH = 32
"""Hex digits of the photo's SHA-256; the contract has room for 36."""


@dataclass(frozen=True)
class Enrolled:
    """How one photo fared: ``face_id`` when its face is known now, else ``reason`` says why it is not.

    ``already`` is true when the photo had been enrolled before.
    """

    photo: str
    person: str
    face_id: str | None = None
    already: bool = False
    reason: str | None = None


class Enrolment:
    """Enrols photos onto one list. Doing it again changes nothing: a photo is known by the hash of its bytes."""

    def __init__(self, client: MienClient, list_id: str, handler_id: str) -> None:
        """``handler_id`` names a dynamic handler; see :meth:`onto`."""
        self._client = client
        self._list_id = list_id
        self._handler_id = handler_id
        self._policies = policies(list_id)
        self._one_by_one: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @classmethod
    async def onto(cls, client: MienClient, list_id: str) -> Enrolment:
        """With the account's own handler for this, made when it is not there."""
        return cls(client, list_id, await handler_described(client, DESCRIPTION, None))

    async def add_file(self, person: str, photo: Path) -> Enrolled:
        """As :meth:`add`; a file that cannot be read is reported as well."""
        try:
            data = await asyncio.to_thread(photo.read_bytes)
        except OSError as failure:
            return Enrolled(str(photo), person, reason=str(failure))
        return await self.add(person, str(photo), data)

    async def add(self, person: str, photo: str, data: bytes) -> Enrolled:
        """Enrol one photo. One with no face or several is reported, not raised.

        Raises MienUnreachable, and MienApiError for what is not this photo's fault.
        """
        external_id = hashlib.sha256(data).hexdigest()[:EXTERNAL_ID_LENGTH]
        async with self._one_by_one[external_id]:
            return await self._known(external_id, person, photo) or await self._store(external_id, person, photo, data)

    async def _known(self, external_id: str, person: str, photo: str) -> Enrolled | None:
        found = await self._client.faces.find(external_ids=[external_id], page_size=1)
        if not found:
            return None
        [face] = found
        if face.user_data != person:
            return Enrolled(photo, person, reason=f"the same photo is enrolled as {face.user_data!r}")
        if self._list_id not in face.lists:
            await self._client.lists.attach(self._list_id, [face.face_id])
        return Enrolled(photo, person, face.face_id, already=True)

    async def _store(self, external_id: str, person: str, photo: str, data: bytes) -> Enrolled:
        emission = await self._client.handlers.emit(
            self._handler_id,
            (PurePath(photo).name, data),
            policies=self._policies,
            user_data=person,
            external_id=external_id,
        )
        report = emission.images[0]
        if not report.status:
            return Enrolled(photo, person, reason=_reason(report.error.error_code, report.error.detail))
        if not emission.events or emission.events[0].face is None:
            return Enrolled(photo, person, reason="no face was found")
        return Enrolled(photo, person, emission.events[0].face.face_id)


def policies(list_id: str) -> dict[str, Any]:
    """One face or none; the face and its sample are kept, the face on the list. Enrolling is no event."""
    return {
        "detect_policy": {"multiface_policy": 0},
        "extract_policy": {"extract_face_descriptor": 1},
        "storage_policy": {
            "face_policy": {
                "store_face": 1,
                "set_sample_as_avatar": 1,
                "link_to_lists_policy": [{"list_id": list_id}],
            },
            "event_policy": {"store_event": 0},
            "notification_policy": {"send_notification": 0},
        },
    }


def _reason(code: int, detail: str) -> str:
    if code == Code.SEVERAL_FACES.number:
        return "several faces are visible, one is needed"
    return detail or f"error {code}"
