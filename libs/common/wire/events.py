"""Events: the stored record, its filters, statistics. Sections 14 and 15 of the wire contract."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from libs.common.clock import Time, TimeText
from libs.common.ids import Id
from libs.common.wire.base import Commas, Flag, Page, Unit, Wire
from libs.common.wire.estimations import (
    Accessories,
    BodyBasicAttributes,
    Descriptor,
    LowerBody,
    Rect,
    UpperBody,
)

Tag = Annotated[str, Field(min_length=1, max_length=36)]
Word = Annotated[str, Field(max_length=36)]


class GeoPosition(Wire):
    longitude: float = Field(ge=-180, le=180)
    latitude: float = Field(ge=-90, le=90)


class Location(Wire):
    city: Word | None = None
    area: Word | None = None
    district: Word | None = None
    street: Word | None = None
    house_number: Word | None = None
    geo_position: GeoPosition | None = None


class DetectionBox(Wire):
    rect: Rect


class EventDetection(Wire):
    """Where and when the face (or body) of an event was seen."""

    sample_id: Id | None = None
    detect_time: Time | None = None
    detect_ts: float | None = None
    image_origin: str | None = None
    detection: DetectionBox | None = None


class TopMatch(Wire):
    label: Annotated[str, Field(max_length=128)]
    similarity: Unit
    object_type: Literal["face", "event", "attribute"]
    object_id: Id
    external_id: Annotated[str, Field(max_length=128)] | None = None


class Event(Wire):
    """The full stored record; its keys are the allowed targets, but for the descriptors."""

    event_id: Id
    account_id: Id
    handler_id: Id
    create_time: Time
    end_time: Time | None = None
    external_id: Word | None = None
    user_data: Annotated[str, Field(max_length=128)] | None = None
    source: Annotated[str, Field(max_length=128)] | None = None
    stream_id: Word | None = None
    track_id: Word | None = None
    tags: Annotated[list[Tag], Field(max_length=100)] = []
    location: Location = Location()
    meta: dict[str, Any] | None = None
    face_id: Id | None = None
    attach_result: list[Id] = []
    face_detections: list[EventDetection] = []
    body_detections: list[EventDetection] = []
    gender: Literal[0, 1] | None = None
    age: Annotated[int, Field(ge=0, le=150)] | None = None
    ethnic_group: Annotated[int, Field(ge=1, le=4)] | None = None
    emotion: Annotated[int, Field(ge=1, le=7)] | None = None
    mask: Annotated[int, Field(ge=1, le=3)] | None = None
    liveness: Annotated[int, Field(ge=0, le=2)] | None = None
    deepfake: Annotated[int, Field(ge=0, le=1)] | None = None
    body_basic_attributes: BodyBasicAttributes | None = None
    upper_body: UpperBody | None = None
    lower_body: LowerBody | None = None
    accessories: Accessories | None = None
    match_result: list[dict[str, Any]] | None = None
    top_match: TopMatch | None = None
    insert_time: Time | None = None
    face_descriptor: Descriptor | None = Field(default=None, description="stored; read by the descriptor route only")
    body_descriptor: Descriptor | None = Field(default=None, description="stored; read by the descriptor route only")


EVENT_TARGETS = tuple(name for name in Event.model_fields if name not in ("face_descriptor", "body_descriptor"))

Null = Literal["null"]
AgeBound = Annotated[int, Field(ge=0, le=1000)]


class EventFilter(Wire):
    """Which events; conditions are ANDed, lists are ORed, ``null`` stands for "column is empty".

    Also the candidate filter of origin ``events``. Times may be relative (``now-7d``), read at each call.
    """

    create_time__gte: TimeText | None = None
    create_time__lt: TimeText | None = None
    end_time__gte: TimeText | None = None
    end_time__lt: TimeText | None = None
    event_ids: Annotated[list[Id], Commas] | None = None
    event_id__gte: Id | None = None
    event_id__lt: Id | None = None
    handler_ids: Annotated[list[Id], Commas] | None = None
    face_ids: Annotated[list[Id], Commas] | None = None
    external_ids: Annotated[list[str], Commas] | None = None
    user_data: str | None = Field(default=None, description="substring, case-insensitive")
    sources: Annotated[list[str], Commas] | None = None
    track_ids: Annotated[list[str], Commas] | None = None
    stream_ids: Annotated[list[str], Commas] | None = None
    tags: Annotated[list[str], Commas] | None = None
    top_matching_candidates_label: str | None = None
    top_similar_object_ids: Annotated[list[Id], Commas] | None = None
    top_similar_external_ids: Annotated[list[str], Commas] | None = None
    top_similar_object_similarity__gte: Unit | None = None
    top_similar_object_similarity__lt: Unit | None = None
    gender: Flag | Null | None = None
    age__gte: AgeBound | None = None
    age__lt: AgeBound | None = None
    emotions: Annotated[list[Annotated[int, Field(ge=1, le=7)] | Null], Commas] | None = None
    masks: Annotated[list[Annotated[int, Field(ge=1, le=3)] | Null], Commas] | None = None
    ethnic_groups: Annotated[list[Annotated[int, Field(ge=1, le=4)] | Null], Commas] | None = None
    liveness: Annotated[list[Annotated[int, Field(ge=0, le=2)] | Null], Commas] | None = None
    cities: Annotated[list[str], Commas] | None = None
    areas: Annotated[list[str], Commas] | None = None
    districts: Annotated[list[str], Commas] | None = None
    streets: Annotated[list[str], Commas] | None = None
    house_numbers: Annotated[list[str], Commas] | None = None
    deepfake: Annotated[list[Annotated[int, Field(ge=0, le=1)]], Commas] | None = None


State = Annotated[int, Field(ge=0, le=2)]
"""0 absent (of gender: female), 1 present (male), 2 undefined."""
Colours = Annotated[list[str], Commas]
Degrees = Annotated[float, Field(ge=0, le=180, allow_inf_nan=False)]

GEO_DELTA = 0.01
"""Half the side of a box on the map, in degrees, when nothing else is said. Section 15.1 of the contract."""


class NoticeFilter(EventFilter):
    """Which events a subscriber is told of: the filters of stored events, and those by body and by place on the map."""

    apparent_gender: State | Null | None = None
    apparent_age__gte: AgeBound | None = None
    apparent_age__lt: AgeBound | None = None
    headwear_states: Annotated[list[State | Null], Commas] | None = None
    backpack_states: Annotated[list[State | Null], Commas] | None = None
    sleeve_lengths: Annotated[list[str], Commas] | None = None
    lower_garment_types: Annotated[list[str], Commas] | None = None
    headwear_apparent_colors: Colours | None = None
    upper_clothing_colors: Colours | None = None
    lower_garment_colors: Colours | None = None
    shoes_apparent_colors: Colours | None = None
    origin_longitude: Annotated[float, Field(ge=-180, le=180)] | Null | None = Field(
        default=None, description="middle of a box, with origin_latitude; both `null`: events without a position"
    )
    origin_latitude: Annotated[float, Field(ge=-90, le=90)] | Null | None = None
    longitude_delta: Degrees | None = Field(
        default=None, description=f"half of the box's width; {GEO_DELTA} unless set"
    )
    latitude_delta: Degrees | None = Field(default=None, description=f"half of its height; {GEO_DELTA} unless set")

    @model_validator(mode="after")
    def _box_is_whole(self) -> Self:
        origins, deltas = (self.origin_longitude, self.origin_latitude), (self.longitude_delta, self.latitude_delta)
        if (origins[0] is None) != (origins[1] is None) or (origins[0] == "null") != (origins[1] == "null"):
            raise ValueError("origin_longitude and origin_latitude go together")
        if any(delta is not None for delta in deltas) and not isinstance(origins[0], float):
            raise ValueError("longitude_delta and latitude_delta go with an origin")
        return self

    @property
    def geo(self) -> GeoBox | Null | None:
        """The box that a position must lie in; ``null`` for events without a position."""
        longitude, latitude = self.origin_longitude, self.origin_latitude
        if longitude is None or latitude is None:
            return None
        if longitude == "null" or latitude == "null":
            return "null"
        wide = GEO_DELTA if self.longitude_delta is None else self.longitude_delta
        high = GEO_DELTA if self.latitude_delta is None else self.latitude_delta
        return GeoBox(longitude - wide, latitude - high, longitude + wide, latitude + high)


class GeoBox(NamedTuple):
    """On the map, in degrees, its edges included. It may reach over the date line: ``west`` is -360 to 180, ``east``
    -180 to 360."""

    west: float
    south: float
    east: float
    north: float


class EventPage(Page):
    """Paging of events: newest first unless ``order`` is ``asc``."""

    order: Literal["asc", "desc"] = "desc"


class StatsTarget(Wire):
    column: str
    aggregator: Literal["count"] = "count"


class StatsFilter(Wire):
    column: str
    operator: Literal["eq", "neq", "in", "nin", "gt", "gte", "lt", "lte"] = "eq"
    value: Any


class StatsGroup(Wire):
    column: str


class StatsRequest(Wire):
    """Statistics: targets, filters, groups. One row without groups."""

    targets: Annotated[list[StatsTarget], Field(min_length=1, max_length=10)]
    filters: Annotated[list[StatsFilter], Field(max_length=50)] = []
    group_by: Annotated[list[StatsGroup], Field(max_length=5)] = []


class StatsResult(Wire):
    columns: list[str]
    event_stats: list[list[Any]]
