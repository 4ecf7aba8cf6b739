"""The filters of GET /events, asked of a notice instead of a stored event; a property test keeps both meanings equal.

A further filter of the contract is one row of ROWS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from libs.common import clock
from libs.common.errors import Code, MienError
from libs.common.wire.estimations import DEEPFAKE, EMOTIONS, ETHNICITIES, LIVENESS, MASKS, id_of
from libs.common.wire.events import EventFilter, GeoBox, NoticeFilter

MAX_VALUES = 1000
"""Values that all the lists of one subscription may hold together."""

Told = Mapping[str, Any]
"""The decoded content of a notice."""
Read = Callable[[Told], Iterable[Any]]
Test = Callable[[Iterable[Any], Any], bool]


# What a notice has in a column: nothing when that is empty


def _beside(name: str) -> Read:
    return lambda told: _present(told.get(name))


def _time(name: str) -> Read:
    return lambda told: [clock.parse(text) for text in _present(told.get(name))]


def _in_event(*path: str) -> Read:
    return lambda told: _present(_at(told["event"], *path))


def _tags(told: Told) -> Iterable[Any]:
    return told["event"].get("tags") or ()


def _basic(name: str) -> Read:
    return lambda told: _present(_at(_basic_attributes(told["event"]), name))


def _ethnicity(told: Told) -> Iterable[Any]:
    word = _at(_basic_attributes(told["event"]), "ethnicities", "predominant_ethnicity")
    return _present(id_of(ETHNICITIES, word))


def _estimated(names: dict[int, str], *path: str) -> Read:
    """The contract's id of a word among the estimations of the face."""
    return lambda told: _present(id_of(names, _at(_face_attributes(told["event"]), *path)))


def _body(*path: str) -> Read:
    """Of the body over all pictures, or of its only detection; of several colours each."""

    def read(told: Told) -> Iterable[Any]:
        found = _at(_attributes(told["event"], "body"), *path)
        return found if isinstance(found, list) else _present(found)

    return read


def _top(name: str) -> Read:
    return lambda told: _present(_top_match(told["event"]).get(name))


def _at(found: Any, *path: str) -> Any:
    for step in path:
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _present(value: Any) -> Iterable[Any]:
    return () if value is None else (value,)


def _face_attributes(event: Told) -> Any:
    return _attributes(event, "face")


def _attributes(event: Told, kind: str) -> Any:
    """Of the face, or body, over all pictures; without that, of its only detection (an event made elsewhere)."""
    aggregate = _at(event, "aggregate_estimations", kind, "attributes")
    detections = event.get("detections") or ()
    if aggregate is None and len(detections) == 1:
        return _at(detections[0], "samples", kind, "detection", "attributes")
    return aggregate


def _basic_attributes(event: Told) -> Any:
    own = _at(event, "face_attributes", "basic_attributes")
    return own if own is not None else _at(_face_attributes(event), "basic_attributes")


def _top_match(event: Told) -> Told:
    """The best candidate over all searches; on a tie the first search's."""
    tops = [
        (match["label"], max(match["candidates"], key=lambda one: one["similarity"]))
        for match in event.get("matches") or ()
        if match["candidates"]
    ]
    if not tops:
        return {}
    label, best = max(tops, key=lambda top: top[1]["similarity"])
    kind, keys = next(((kind, best[kind]) for kind in ("face", "event", "attribute") if best.get(kind)), ("", {}))
    return {
        "label": label,
        "similarity": best["similarity"],
        "object_id": keys.get(f"{kind}_id"),
        "external_id": keys.get("external_id"),
    }


# What a filter asks of it


def _among(found: Iterable[Any], given: Any) -> bool:
    return any(one in given for one in found)


def _among_or_null(found: Iterable[Any], given: Any) -> bool:
    """As :func:`_among`; the word ``null`` stands for "there is nothing" (contract 2.8)."""
    given = given if isinstance(given, list) else [given]
    present = list(found)
    return any(one in given for one in present if one != "null") or (not present and "null" in given)


def _equals(found: Iterable[Any], given: Any) -> bool:
    return given in found


def _at_least(found: Iterable[Any], given: Any) -> bool:
    return any(one >= given for one in found)


def _below(found: Iterable[Any], given: Any) -> bool:
    return any(one < given for one in found)


def _not_before(found: Iterable[Any], given: str) -> bool:
    return _at_least(found, clock.parse(given))  # read at each call: now-1h moves on


def _before(found: Iterable[Any], given: str) -> bool:
    return _below(found, clock.parse(given))


def _contains(found: Iterable[Any], given: str) -> bool:
    return any(given.casefold() in one.casefold() for one in found)


def _inside(found: Iterable[Any], given: GeoBox | Literal["null"]) -> bool:
    if given == "null":
        return not list(found)
    return any(
        (one["longitude"] - given.west) % 360 <= given.east - given.west
        and given.south <= one["latitude"] <= given.north
        for one in found
    )


@dataclass(frozen=True)
class Row:
    """One filter: its name on the wire, where a notice has what it looks at, and how it looks."""

    name: str
    read: Read
    test: Test


ROWS = (
    Row("create_time__gte", _time("event_create_time"), _not_before),
    Row("create_time__lt", _time("event_create_time"), _before),
    Row("end_time__gte", _time("event_end_time"), _not_before),
    Row("end_time__lt", _time("event_end_time"), _before),
    Row("event_ids", _in_event("event_id"), _among),
    Row("event_id__gte", _in_event("event_id"), _at_least),
    Row("event_id__lt", _in_event("event_id"), _below),
    Row("handler_ids", _beside("handler_id"), _among),
    Row("face_ids", _in_event("face", "face_id"), _among),
    Row("external_ids", _in_event("external_id"), _among),
    Row("user_data", _in_event("user_data"), _contains),
    Row("sources", _in_event("source"), _among_or_null),
    Row("track_ids", _in_event("track_id"), _among_or_null),
    Row("stream_ids", _in_event("stream_id"), _among_or_null),
    Row("tags", _tags, _among),
    Row("top_matching_candidates_label", _top("label"), _equals),
    Row("top_similar_object_ids", _top("object_id"), _among),
    Row("top_similar_external_ids", _top("external_id"), _among),
    Row("top_similar_object_similarity__gte", _top("similarity"), _at_least),
    Row("top_similar_object_similarity__lt", _top("similarity"), _below),
    Row("gender", _basic("gender"), _among_or_null),
    Row("age__gte", _basic("age"), _at_least),
    Row("age__lt", _basic("age"), _below),
    Row("emotions", _estimated(EMOTIONS, "emotions", "predominant_emotion"), _among_or_null),
    Row("masks", _estimated(MASKS, "mask", "predominant_mask"), _among_or_null),
    Row("ethnic_groups", _ethnicity, _among_or_null),
    Row("liveness", _estimated(LIVENESS, "liveness", "prediction"), _among_or_null),
    Row("cities", _in_event("location", "city"), _among_or_null),
    Row("areas", _in_event("location", "area"), _among_or_null),
    Row("districts", _in_event("location", "district"), _among_or_null),
    Row("streets", _in_event("location", "street"), _among_or_null),
    Row("house_numbers", _in_event("location", "house_number"), _among_or_null),
    Row("deepfake", _estimated(DEEPFAKE, "deepfake", "prediction"), _among),
)

OF_NOTICES = (
    Row("apparent_gender", _body("basic_attributes", "apparent_gender"), _among_or_null),
    Row("apparent_age__gte", _body("basic_attributes", "apparent_age"), _at_least),
    Row("apparent_age__lt", _body("basic_attributes", "apparent_age"), _below),
    Row("headwear_states", _body("upper_body", "headwear", "state"), _among_or_null),
    Row("backpack_states", _body("accessories", "backpack", "state"), _among_or_null),
    Row("sleeve_lengths", _body("upper_body", "sleeve", "length"), _among_or_null),
    Row("lower_garment_types", _body("lower_body", "lower_garment", "type"), _among_or_null),
    Row("headwear_apparent_colors", _body("upper_body", "headwear", "apparent_color"), _among_or_null),
    Row("upper_clothing_colors", _body("upper_body", "upper_clothing", "colors"), _among_or_null),
    Row("lower_garment_colors", _body("lower_body", "lower_garment", "colors"), _among_or_null),
    Row("shoes_apparent_colors", _body("lower_body", "shoes", "apparent_color"), _among_or_null),
    Row("geo", _in_event("location", "geo_position"), _inside),
)
"""What only subscribers can ask for."""


class Filter:
    """Which notices pass: all conditions hold, lists are ORed; without conditions all do. Raises TOO_MANY."""

    def __init__(self, where: EventFilter) -> None:
        rows = (*ROWS, *OF_NOTICES) if isinstance(where, NoticeFilter) else ROWS
        given = ((row, getattr(where, row.name)) for row in rows)
        self._conditions = [(row, value) for row, value in given if value is not None]
        count = sum(len(value) if isinstance(value, list | GeoBox) else 1 for _, value in self._conditions)
        if count > MAX_VALUES:
            raise MienError(Code.TOO_MANY, f"the filters hold {count} values; {MAX_VALUES} are allowed")

    def passes(self, told: Told) -> bool:
        return all(row.test(row.read(told), value) for row, value in self._conditions)
