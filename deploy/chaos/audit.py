"""Whether the platform has what it acknowledged, once, and has told whom it had to tell."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from deploy.chaos.ledger import Ledger, Sighting
from deploy.chaos.load import Load
from deploy.chaos.witnesses import CallbackReceiver, Subscriber
from deploy.local.suite import ScaledSuite
from libs.client import MienApiError, MienClient, MienUnreachable
from libs.common.descriptors import DEFAULT_FACE
from libs.common.wire.base import chunks

STORED_S = 60.0
"""In which an acknowledged event has to be found once the suite serves again."""
TOLD_S = 120.0
"""In which its notifications have to come: a receiver that failed is asked again after up to a minute."""
POLL_S = 0.3
PAGE = 100
LARGEST_PAGE = 1000
SAME = 0.9
"""Similarity of a descriptor to itself; strangers are near 0."""


@dataclass
class Findings:
    """What was looked at and what was wrong with it, in words that name ids."""

    found: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __add__(self, other: Findings) -> Findings:
        return Findings(
            self.found + other.found, self.lost + other.lost, self.doubled + other.doubled, self.wrong + other.wrong
        )

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.wrong)


class Audit:
    """Reads through the gateway, and asks every matcher process by itself."""

    def __init__(
        self,
        suite: ScaledSuite,
        account: str,
        ledger: Ledger,
        load: Load,
        receiver: CallbackReceiver,
        subscriber: Subscriber,
    ) -> None:
        self._suite = suite
        self._account = account
        self._ledger = ledger
        self._load = load
        self._receiver = receiver
        self._subscriber = subscriber
        self._client = MienClient(suite.url, account=account, retries=10)
        self._session = aiohttp.ClientSession(headers={"Luna-Account-Id": account})

    async def close(self) -> None:
        await self._client.close()
        await self._session.close()

    async def recent(self) -> Findings:
        """What was acknowledged since the last time: stored, with its picture, told; faces matched where they are."""
        sightings = [self._ledger.sightings[event_id] for event_id in self._ledger.unaudited]
        self._ledger.unaudited -= {sighting.event_id for sighting in sightings}
        stored = await self._stored(sightings)
        told = await self._told([sighting for sighting in sightings if sighting.is_photo])
        return stored + told + await self._matched()

    async def everything(self) -> Findings:
        """The whole account from beginning to end, when nothing is sent any more."""
        events = await _pages(self._client.events.find, "event_id", "user_data")
        faces = await _pages(self._client.faces.find, "face_id", "lists")
        ids = Counter(event["event_id"] for event in events)
        keys = Counter(event["user_data"] for event in events)
        seen = {sighting.face_id for sighting in self._ledger.sightings.values() if sighting.face_id}
        lists = {face["face_id"]: face["lists"] for face in faces}
        findings = Findings(found=len(self._ledger.sightings.keys() & ids.keys()))
        findings.lost += [f"event {each} is gone" for each in self._ledger.sightings.keys() - ids.keys()]
        findings.lost += [f"face {each} is gone" for each in (seen | self._ledger.enrolled.keys()) - lists.keys()]
        findings.doubled += [f"event {each} is there {count} times" for each, count in ids.items() if count > 1]
        findings.doubled += [f"request {key} made {count} events" for key, count in keys.items() if count > 1]
        findings.wrong += [f"face {each} is half-linked: {some}" for each, some in lists.items() if len(some) != 1]
        findings.wrong += [f"face {each} is there again" for each in self._ledger.deleted.keys() & lists.keys()]
        return findings + await self._matched()

    async def _stored(self, sightings: Sequence[Sighting]) -> Findings:
        missing = {sighting.event_id for sighting in sightings}

        async def look() -> bool:
            for some in chunks(sorted(missing), PAGE):
                found = await self._client.events.find(targets=["event_id"], event_ids=some, page_size=PAGE)
                missing.difference_update(event["event_id"] for event in found)
            return not missing

        await _poll(look, STORED_S)
        findings = Findings(
            found=len(sightings) - len(missing), lost=[f"event {each} is not there" for each in missing]
        )
        photos = [sighting for sighting in sightings if sighting.is_photo]
        for wrong in await asyncio.gather(*(self._picture(photo) for photo in photos)):
            findings.lost += wrong
        return findings

    async def _picture(self, photo: Sighting) -> list[str]:
        """What is wrong with the stored picture of a photo."""
        assert photo.image_id
        try:
            picture = await self._client.images.get(photo.image_id)
        except (MienApiError, MienUnreachable) as refusal:
            return [f"picture {photo.image_id} of event {photo.event_id}: {refusal}"]
        if hashlib.sha256(picture.data).hexdigest() != photo.digest:
            return [f"picture {photo.image_id} of event {photo.event_id} has other bytes"]
        return []

    async def _told(self, photos: Sequence[Sighting]) -> Findings:
        ids = {photo.event_id for photo in photos}

        async def heard() -> bool:
            return ids <= self._receiver.told.keys() and ids <= self._subscriber.told.keys()

        await _poll(heard, TOLD_S)
        by_http, by_socket = ids - self._receiver.told.keys(), ids - self._subscriber.told.keys()
        return Findings(
            lost=[f"event {each} was not told by callback" for each in by_http]
            + [f"event {each} was not told by WebSocket" for each in by_socket]
        )

    async def _matched(self) -> Findings:
        """Every process of the matcher finds everybody who is enrolled and nobody who was deleted."""
        findings = Findings()
        for process in self._suite.of("matcher"):
            enrolled, deleted = dict(self._ledger.enrolled), dict(self._ledger.deleted)
            here = await self._who(process.url, enrolled)
            gone = [each for each in enrolled if not here[each] and each in self._ledger.enrolled]
            back = [each for each, found in (await self._who(process.url, deleted)).items() if found]
            name = process.child.name
            findings.wrong += [f"enrolled face {each} is not matched by {name}" for each in gone]
            findings.wrong += [f"deleted face {each} is still matched by {name}" for each in back]
        return findings

    async def _who(self, matcher: str, faces: dict[str, bytes]) -> dict[str, bool]:
        """For each descriptor whether the matcher at this address finds the face it is of."""
        answers: dict[str, bool] = {}
        block = {"filters": {"origin": "faces", "list_id": self._load.enrolled_list}, "limit": 1, "threshold": SAME}
        for some in chunks(sorted(faces), PAGE):
            references = [_reference(faces[each]) for each in some]
            for each, found in zip(some, await self._match(matcher, references, block), strict=True):
                result = found["matches"][0]["result"]
                answers[each] = bool(result) and result[0]["face"]["face_id"] == each
        return answers

    async def _match(self, matcher: str, references: list[Any], block: Any) -> list[Any]:
        """Again while it is not there: only its answers are judged here, not that it was killed a moment ago."""
        body = {"references": references, "candidates": [block]}
        deadline = time.monotonic() + STORED_S
        while True:
            try:
                async with self._session.post(f"{matcher}/1/matcher/faces", json=body) as answer:
                    answer.raise_for_status()
                    return await answer.json()
            except (aiohttp.ClientError, OSError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(POLL_S)


async def _pages(find: Callable[..., Awaitable[list[dict[str, Any]]]], *targets: str) -> list[dict[str, Any]]:
    """These keys of everything there is of a kind."""
    everything: list[dict[str, Any]] = []
    while found := await find(targets=targets, page=len(everything) // LARGEST_PAGE + 1, page_size=LARGEST_PAGE):
        everything += found
        if len(found) < LARGEST_PAGE:
            break
    return everything


def _reference(descriptor: bytes) -> dict[str, Any]:
    data = {"descriptor": base64.b64encode(descriptor).decode(), "version": DEFAULT_FACE}
    return {"type": "raw_descriptor", "data": data}


async def _poll(done: Callable[[], Awaitable[bool]], within_s: float) -> None:
    """Until it is done or the time is over; refusals count as not yet."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if await done():
                return
        except (MienApiError, MienUnreachable):
            pass
        await asyncio.sleep(POLL_S)
