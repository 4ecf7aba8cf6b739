"""The state of one emission while the steps of the pipeline work on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from libs.common.ids import Id
from libs.common.wire.estimations import BodyAttributes, Descriptor, FaceAttributes
from libs.common.wire.events import Location, TopMatch
from libs.common.wire.faces import Face, FaceDraft, TemporaryAttributeDraft
from libs.common.wire.handlers import EmitQuery, FilteredDetection, ImageReport, WholePicture
from libs.common.wire.images import ImageDraft
from libs.common.wire.matcher import Match
from libs.common.wire.policies import Filters, Policies
from libs.common.wire.sdk import ErrorBody, Image, ImageResult, Person
from services.handlers.filters import Facts, facts_of, passes


@dataclass
class Picture:
    """One picture of the call. ``image`` is None when it could not be had; then ``error`` says why."""

    filename: str
    image: Image | None = None
    error: ErrorBody | None = None
    detect_time: datetime | None = None
    detect_ts: float | None = None
    image_origin: str | None = None
    sample_id: Id | None = None


@dataclass
class Seen:
    """One detection: a person in one picture, and what was stored of it."""

    picture: Picture
    person: Person
    face_sample: Id | None = None
    body_sample: Id | None = None


@dataclass
class Draft:
    """An event in the making. ``matches`` keeps the order of the executed searches; None before any."""

    event_id: Id
    seen: list[Seen]
    attributes: FaceAttributes
    descriptor: Descriptor | None
    body_descriptor: Descriptor | None
    tags: list[str]
    body_attributes: BodyAttributes | None = None
    matches: dict[str, list[Match]] = field(default_factory=dict)
    attribute_id: Id | None = None
    face: Face | None = None
    stored: bool = False

    @property
    def has_face(self) -> bool:
        return any(seen.person.face for seen in self.seen)

    @property
    def has_body(self) -> bool:
        return any(seen.person.body for seen in self.seen)

    @property
    def face_samples(self) -> list[Id]:
        return [seen.face_sample for seen in self.seen if seen.face_sample]

    @property
    def body_samples(self) -> list[Id]:
        return [seen.body_sample for seen in self.seen if seen.body_sample]

    def facts(self) -> Facts:
        """What the filters of policies may look at, now."""
        tops = {label: found[0].similarity if found else 0.0 for label, found in self.matches.items()}
        return facts_of(self.attributes, tops)

    def top_match(self) -> TopMatch | None:
        """The best candidate over all searches; on a tie the first search's."""
        tops = [(label, found[0]) for label, found in self.matches.items() if found]
        if not tops:
            return None
        label, best = max(tops, key=lambda top: top[1].similarity)
        kind = "face" if best.face is not None else "event" if best.event is not None else "attribute"
        keys: dict[str, Any] = getattr(best, kind)
        return TopMatch(
            label=label,
            similarity=best.similarity,
            object_type=kind,
            object_id=keys[f"{kind}_id"],
            external_id=keys.get("external_id"),
        )


@dataclass
class Keeping:
    """What an emission stores beside its events, each under an id of its own; ``faces`` belong to their drafts."""

    images: list[ImageDraft] = field(default_factory=list)
    attributes: list[TemporaryAttributeDraft] = field(default_factory=list)
    faces: list[tuple[Draft, FaceDraft]] = field(default_factory=list)


@dataclass
class Emission:
    """One call of generate-events: what was asked, and what has come of it so far."""

    account: Id
    handler_id: Id
    policies: Policies
    query: EmitQuery
    meta: dict[str, Any] | None
    created: datetime
    ended: datetime | None
    pictures: list[Picture]
    results: dict[int, ImageResult] = field(default_factory=dict)
    drafts: list[Draft] = field(default_factory=list)
    filtered: list[FilteredDetection] = field(default_factory=list)
    filtered_bodies: list[FilteredDetection] = field(default_factory=list)
    keeping: Keeping = field(default_factory=Keeping)
    is_settled: bool = False

    @property
    def location(self) -> Location:
        query = self.query
        position = None
        if query.longitude is not None:
            position = {"longitude": query.longitude, "latitude": query.latitude}
        return Location.model_validate(
            {
                "city": query.city,
                "area": query.area,
                "district": query.district,
                "street": query.street,
                "house_number": query.house_number,
                "geo_position": position,
            }
        )

    def settle(self) -> None:
        """From here on nothing is taken back: others may know of it."""
        self.is_settled = True

    def passing(self, switch: int, filters: Filters) -> list[Draft]:
        """The drafts that a policy with this switch (0 off, 1 on) and these filters applies to."""
        return [draft for draft in self.drafts if passes(filters, draft.facts())] if switch else []

    def reports(self) -> list[ImageReport]:
        """How every picture fared, in the order of the call."""
        return [self._report(index, picture) for index, picture in enumerate(self.pictures)]

    def _report(self, index: int, picture: Picture) -> ImageReport:
        result = self.results.get(index)
        if result is None:
            assert picture.error is not None
            return ImageReport(filename=picture.filename, status=0, error=picture.error)
        whole = result.estimations
        return ImageReport(
            filename=picture.filename,
            status=result.status,
            error=result.error,
            exif=result.exif,
            image_estimations=WholePicture(people=whole.people, image_modification=whole.image_modification),
        )
