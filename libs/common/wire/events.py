"""Events: the stored record, its filters, statistics. Sections 14 and 15 of the wire contract."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

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
