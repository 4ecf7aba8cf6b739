"""Emitters that never rest: raw events, photos through inference, enrolments with lists, deletions."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from skimage import data

from deploy.chaos.ledger import Ledger, Sighting
from libs.client import MienApiError, MienClient, MienUnreachable
from libs.common.descriptors import DEFAULT_FACE, DLIB_RESNET
from libs.common.ids import new_id

T = TypeVar("T")

AGAIN_S = 0.3
"""Before the same thing is asked once more."""
SIDE = 256
"""Pixels of the photo: one face, found within a few tens of milliseconds."""


class Load:
    """One account's clients. ``prepare`` makes handlers and lists; ``run`` goes on until it is cancelled."""

    def __init__(self, client: MienClient, ledger: Ledger, callback_url: str, seed: int) -> None:
        self._client = client
        self._ledger = ledger
        self._callback_url = callback_url
        self._random = random.Random(seed)
        self._vectors = np.random.default_rng(seed)
        self._photo = portrait()
        self.enrolled_list = ""
        self.seen_list = ""
        self._handlers: dict[bool, str] = {}
        self.surprises: Counter[str] = Counter()

    async def prepare(self) -> None:
        self.enrolled_list = await self._client.lists.create("enrolled")
        self.seen_list = await self._client.lists.create("seen")
        for wait in (True, False):
            policies = photo_policies(self.enrolled_list, self.seen_list, self._callback_url, wait)
            self._handlers[wait] = await self._client.handlers.create(policies)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as emitters:
            emitters.create_task(self._repeat(lambda: self.raw_event(wait=True), pause_s=0.2))
            emitters.create_task(self._repeat(lambda: self.raw_event(wait=False), pause_s=0.2))
            emitters.create_task(self._repeat(lambda: self.photo(wait=True), pause_s=0.5))
            emitters.create_task(self._repeat(lambda: self.photo(wait=False), pause_s=0.5))
            emitters.create_task(self._repeat(self.enrolment, pause_s=0.4))
            emitters.create_task(self._repeat(self.deletion, pause_s=1.5))

    async def _repeat(self, once: Callable[[], Awaitable[None]], pause_s: float) -> None:
        while True:
            await once()
            await asyncio.sleep(pause_s * self._random.uniform(0.5, 1.5))

    async def raw_event(self, *, wait: bool) -> None:
        """Sent with an id of ours until it is acknowledged: however often that takes, it is one event."""
        event = {"event_id": new_id(), "user_data": new_id(), "source": "chaos"}
        handler = self._handlers[wait]
        await self._insist("raw", lambda: self._client.handlers.save_event(handler, event, wait_saving=wait))
        self._ledger.saw(Sighting(event["event_id"], event["user_data"]))

    async def photo(self, *, wait: bool) -> None:
        """Sent once: an emission that was cut off may have been made, and must not have been made twice."""
        key = new_id()
        picture = with_comment(self._photo, key)
        try:
            answer = await self._ask("photo", self._client.handlers.emit(self._handlers[wait], picture, user_data=key))
        except (MienApiError, MienUnreachable):
            return
        for event in answer.events:
            origin = event.detections[0].image_origin
            if event.face is None or origin is None:
                self.surprises["photo: an event was acknowledged without its face or picture"] += 1
                continue
            digest = hashlib.sha256(picture).hexdigest()
            image_id = origin.rsplit("/", 1)[-1]
            self._ledger.saw(Sighting(event.event_id, key, image_id, digest, event.face.face_id))
        if len(answer.events) != 1:
            self.surprises[f"photo: {len(answer.events)} events of a photo with one face"] += 1

    async def enrolment(self) -> None:
        face_id, vector = new_id(), self._descriptor()
        attribute = {"descriptors": [{"descriptor": vector, "version": DEFAULT_FACE}]}
        await self._insist(
            "enrol",
            lambda: self._client.faces.create(face_id=face_id, lists=[self.enrolled_list], attribute=attribute),
        )
        self._ledger.enrolled[face_id] = vector

    async def deletion(self) -> None:
        if not self._ledger.enrolled:
            return
        face_id = self._random.choice(list(self._ledger.enrolled))
        vector = self._ledger.enrolled.pop(face_id)
        await self._insist("delete", lambda: self._gone(face_id))
        self._ledger.deleted[face_id] = vector

    async def probe(self, client: MienClient) -> None:
        """One event stored and read back, and one photo through all steps. Raises what is refused."""
        event_id = await client.handlers.save_event(self._handlers[True], {"user_data": new_id()})
        await client.events.get(event_id)
        await client.handlers.emit(self._handlers[True], self._photo, user_data=new_id())

    async def _gone(self, face_id: str) -> None:
        """404 is the answer when an earlier try was carried out and its answer lost."""
        try:
            await self._client.faces.delete(face_id)
        except MienApiError as refusal:
            if refusal.status != 404:
                raise

    def _descriptor(self) -> bytes:
        """Of nobody: a random direction, as far from all others as strangers are."""
        vector = self._vectors.normal(size=DLIB_RESNET.length)
        return (vector / np.linalg.norm(vector)).astype("<f4").tobytes()

    async def _insist(self, kind: str, call: Callable[[], Awaitable[T]]) -> T:
        """Ask until it is acknowledged: it has an id of ours, so that is harmless."""
        while True:
            try:
                return await self._ask(kind, call())
            except (MienApiError, MienUnreachable):
                await asyncio.sleep(AGAIN_S)

    async def _ask(self, kind: str, call: Awaitable[T]) -> T:
        try:
            answer = await call
        except MienUnreachable:
            self._ledger.refused[kind] += 1
            raise
        except MienApiError as refusal:
            self._ledger.refused[kind] += 1
            if refusal.status not in EXPECTED:
                self.surprises[f"{kind}: {refusal.status} / {refusal.error_code} {refusal.desc}"] += 1
            raise
        self._ledger.acknowledged[kind] += 1
        return answer


EXPECTED = frozenset({502, 503, 504, 507})
"""What may be answered while something is away; anything else is a surprise to be explained."""


def photo_policies(known: str, seen: str, callback_url: str, wait: bool) -> dict[str, Any]:
    """Every step of an emission: describe, match, store picture, face, link and event, tell both ways."""
    return {
        "extract_policy": {"extract_face_descriptor": 1},
        "match_policy": [{"label": "known", "candidates": {"origin": "faces", "list_id": known}, "threshold": 0.5}],
        "storage_policy": {
            "image_origin_policy": {"store_image": 1},
            "face_policy": {"store_face": 1, "link_to_lists_policy": [{"list_id": seen}]},
            "event_policy": {"store_event": 1, "wait_saving": int(wait)},
            "notification_policy": {"send_notification": 1},
            "callbacks": [{"type": "http", "url": callback_url}],
        },
    }


def portrait() -> bytes:
    """Eileen Collins (NASA, public domain) as a JPEG of ``SIDE`` pixels."""
    encoded = io.BytesIO()
    Image.fromarray(data.astronaut()).crop((100, 0, 356, 256)).resize((SIDE, SIDE)).save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


def with_comment(jpeg: bytes, text: str) -> bytes:
    """The same picture as other bytes: a comment segment (ITU T.81, B.2.4.5) after the start of the image."""
    comment = text.encode()
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]
