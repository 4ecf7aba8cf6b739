"""Who is in a photo: emissions, read the way a person asks."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from libs.client import MienApiError, MienClient
from libs.common.wire.estimations import Rect
from libs.common.wire.handlers import EmittedEvent
from mien.lists import handler_described

THRESHOLD = 0.5
"""Similarity from which a face is called by a name: the middle of the calibrated scale."""

PHOTO_FAULTS = frozenset({400, 413, 415})
"""Refusals that one photo can cause alone."""


@dataclass(frozen=True)
class SeenFace:
    """One face: the best candidate's name and similarity (0..1), both None when there was no candidate."""

    rect: Rect
    person: str | None
    similarity: float | None
    event_id: str


@dataclass(frozen=True)
class Sighting:
    """One photo: its faces, largest first, or why it failed; ``ms`` is the round trip of the emission.

    ``rejected`` counts faces that the handler's filters turned away.
    """

    photo: str
    faces: list[SeenFace]
    ms: float
    rejected: int = 0
    error: str | None = None

    @property
    def people(self) -> list[str]:
        return [face.person for face in self.faces if face.person is not None]


async def handler_for(client: MienClient, list_id: str, threshold: float = THRESHOLD) -> str:
    """The id of a handler that looks for every face on one list, made when it is not there."""
    return await handler_described(client, f"mien emit {list_id}", policies(list_id, threshold))


def policies(list_id: str, threshold: float) -> dict[str, Any]:
    return {
        "detect_policy": {"multiface_policy": 1},
        "extract_policy": {"extract_face_descriptor": 1},
        "match_policy": [
            {
                "label": "people",
                "candidates": {"origin": "faces", "list_id": list_id},
                "limit": 1,
                "threshold": threshold,
                "targets": ["face_id", "user_data", "similarity"],
            }
        ],
    }


async def look_at_file(client: MienClient, handler_id: str, photo: Path, *, source: str | None = None) -> Sighting:
    """As :func:`look_at`; a file that cannot be read is reported as well."""
    try:
        data = await asyncio.to_thread(photo.read_bytes)
    except OSError as failure:
        return Sighting(str(photo), [], 0.0, error=str(failure))
    return await look_at(client, handler_id, str(photo), data, source=source)


async def look_at(
    client: MienClient, handler_id: str, photo: str, data: bytes, *, source: str | None = None
) -> Sighting:
    """Emit one photo. What is wrong with the photo is reported, not raised.

    Raises MienUnreachable, and MienApiError for what is not this photo's fault.
    """
    started = time.perf_counter()
    try:
        emission = await client.handlers.emit(handler_id, (PurePath(photo).name, data), source=source)
    except MienApiError as refusal:
        if refusal.status not in PHOTO_FAULTS:
            raise
        return Sighting(photo, [], _ms_since(started), error=str(refusal))
    report = emission.images[0]
    return Sighting(
        photo,
        [face for event in emission.events if (face := _face(event))],
        _ms_since(started),
        rejected=len(emission.filtered_detections.face_detections),
        error=None if report.status else report.error.detail or report.error.desc,
    )


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000


def _face(event: EmittedEvent) -> SeenFace | None:
    """The face of an event and the best of what its searches found; None for an event of a body alone."""
    sample = event.detections[0].samples.face if event.detections else None
    if sample is None:
        return None
    candidates = [candidate for match in event.matches or () for candidate in match.candidates]
    best = max(candidates, key=lambda candidate: candidate["similarity"], default=None)
    if best is None:
        return SeenFace(sample.detection.rect, None, None, event.event_id)
    return SeenFace(sample.detection.rect, _name(best), best["similarity"], event.event_id)


def _name(candidate: dict[str, Any]) -> str:
    """What a candidate is called: its user data, else its external id, else its id."""
    kind = next(kind for kind in ("face", "event", "attribute") if candidate.get(kind))
    keys = candidate[kind]
    return keys.get("user_data") or keys.get("external_id") or str(keys.get(f"{kind}_id"))
