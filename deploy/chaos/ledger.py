"""What the platform acknowledged: the debt that is called in after every fault."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sighting:
    """An acknowledged event. ``key`` is its ``user_data``, another one for each request.

    Of a photo there are also its stored picture, by id and SHA-256, and the face that was linked to a list.
    """

    event_id: str
    key: str
    image_id: str | None = None
    digest: str | None = None
    face_id: str | None = None

    @property
    def is_photo(self) -> bool:
        """Photos go through all steps, with their notifications; raw events are only stored."""
        return self.image_id is not None


@dataclass
class Ledger:
    """``sightings`` by event id; ``enrolled`` and ``deleted`` faces by id, with their descriptors.

    A face whose deletion was asked for and not yet acknowledged is in neither.
    """

    sightings: dict[str, Sighting] = field(default_factory=dict)
    enrolled: dict[str, bytes] = field(default_factory=dict)
    deleted: dict[str, bytes] = field(default_factory=dict)
    acknowledged: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    unaudited: set[str] = field(default_factory=set)

    def saw(self, sighting: Sighting) -> None:
        self.sightings[sighting.event_id] = sighting
        self.unaudited.add(sighting.event_id)
