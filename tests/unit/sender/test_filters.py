"""A filter means of a notice what it means of the stored event."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from libs.common import clock
from libs.common.bus.port import Message
from libs.common.bus.topics import EVENTS_NOTIFY
from libs.common.errors import Code, MienError
from libs.common.ids import new_id
from libs.common.wire.estimations import DEEPFAKE, EMOTIONS, ETHNICITIES, LIVENESS, MASKS
from libs.common.wire.events import EventFilter, NoticeFilter
from services.events.filters import evaluate, filtered
from services.handlers.raw import RawEvent, event_of
from services.sender.filters import OF_NOTICES, ROWS, Filter
from services.sender.notices import notices_of

ACCOUNT = new_id()
IDS = [str(UUID(int=number * 2**124 + 7, version=4)) for number in range(4)]
WORDS = ["a", "A", "ab", "null", "ß", "SS", ""]
NOW = clock.now()
MOMENTS = [clock.render(NOW + timedelta(seconds=seconds)) for seconds in (-7200, -1, 0, 1)]
SIMILARITIES = [0.0, 0.25, 1 / 3, 0.9, 1.0]
AGES = [0, 17, 18, 90]


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


def attributes() -> st.SearchStrategy[dict[str, Any]]:
    """Estimations of a face, as an emission answers them."""
    return st.fixed_dictionaries(
        {},
        optional={
            "basic_attributes": maybe(
                st.fixed_dictionaries(
                    {"age": maybe(st.sampled_from(AGES)), "gender": maybe(st.sampled_from([0, 1]))},
                    optional={
                        "ethnicities": maybe(
                            st.sampled_from(list(ETHNICITIES.values())).map(
                                lambda word: {"predominant_ethnicity": word}
                            )
                        )
                    },
                )
            ),
            "emotions": maybe(_word(EMOTIONS, "predominant_emotion")),
            "mask": maybe(_word(MASKS, "predominant_mask")),
            "deepfake": maybe(
                st.sampled_from(list(DEEPFAKE.values())).map(lambda word: {"prediction": word, "score": 1.0})
            ),
            "liveness": maybe(
                st.sampled_from(list(LIVENESS.values())).map(
                    lambda word: {"prediction": word, "estimations": {"quality": 1.0, "probability": 1.0}}
                )
            ),
        },
    )


def _word(names: dict[int, str], key: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(list(names.values())).map(lambda word: {key: word, "estimations": {}})


CANDIDATES = st.lists(
    st.builds(
        lambda kind, object_id, external_id, similarity: {
            kind: {f"{kind}_id": object_id, "external_id": external_id},
            "similarity": similarity,
        },
        st.sampled_from(["face", "event"]),
        st.sampled_from(IDS),
        maybe(st.sampled_from(WORDS)),
        st.sampled_from(SIMILARITIES),
    ),
    max_size=3,
)
DETECTION = attributes().map(
    lambda found: {
        "filename": "a.jpg",
        "samples": {"face": {"detection": {"rect": {"x": 0, "y": 0, "width": 1, "height": 1}, "attributes": found}}},
    }
)
EVENTS = st.fixed_dictionaries(
    {
        "event_id": st.sampled_from(IDS),
        "event_create_time": st.sampled_from(MOMENTS),
        "event_end_time": maybe(st.sampled_from(MOMENTS)),
    },
    optional={
        "external_id": maybe(st.sampled_from(WORDS)),
        "user_data": maybe(st.sampled_from(WORDS)),
        "source": maybe(st.sampled_from(WORDS)),
        "stream_id": maybe(st.sampled_from(WORDS)),
        "track_id": maybe(st.sampled_from(WORDS)),
        "location": st.fixed_dictionaries(
            {},
            optional={
                name: maybe(st.sampled_from(WORDS)) for name in ("city", "area", "district", "street", "house_number")
            },
        ),
        "tags": st.lists(st.sampled_from([word for word in WORDS if word]), max_size=3),
        "face": maybe(st.sampled_from(IDS).map(lambda face_id: {"face_id": face_id})),
        "face_attributes": maybe(
            st.sampled_from(AGES).map(lambda age: {"basic_attributes": {"age": age, "gender": None}})
        ),
        "aggregate_estimations": maybe(attributes()).map(
            lambda found: {"face": None if found is None else {"attributes": found}}
        ),
        "detections": st.lists(DETECTION, max_size=2),
        "matches": maybe(
            st.lists(st.builds(lambda found: {"label": "a", "candidates": found}, CANDIDATES), max_size=1)
            | st.tuples(CANDIDATES, CANDIDATES).map(
                lambda pair: [{"label": label, "candidates": found} for label, found in zip("ab", pair, strict=True)]
            )
        ),
    },
)


def wanted(null: bool, values: list[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from([*values, "null"] if null else values), max_size=3)


VALUES: dict[str, st.SearchStrategy[Any]] = {
    **{
        f"{column}__{bound}": st.sampled_from([*MOMENTS, "now-1h"])
        for column in ("create_time", "end_time")
        for bound in ("gte", "lt")
    },
    "event_ids": wanted(False, IDS),
    "event_id__gte": st.sampled_from(IDS),
    "event_id__lt": st.sampled_from(IDS),
    "handler_ids": wanted(False, IDS),
    "face_ids": wanted(False, IDS),
    "external_ids": wanted(False, WORDS),
    "user_data": st.sampled_from(WORDS),
    "sources": wanted(True, WORDS),
    "track_ids": wanted(True, WORDS),
    "stream_ids": wanted(True, WORDS),
    "tags": wanted(False, WORDS),
    "top_matching_candidates_label": st.sampled_from(["a", "b", "null"]),
    "top_similar_object_ids": wanted(False, IDS),
    "top_similar_external_ids": wanted(False, WORDS),
    "top_similar_object_similarity__gte": st.sampled_from(SIMILARITIES),
    "top_similar_object_similarity__lt": st.sampled_from(SIMILARITIES),
    "gender": st.sampled_from([0, 1, "null"]),
    "age__gte": st.sampled_from(AGES),
    "age__lt": st.sampled_from(AGES),
    "emotions": wanted(True, [1, 5, 7]),
    "masks": wanted(True, [1, 2, 3]),
    "ethnic_groups": wanted(True, [1, 2, 3, 4]),
    "liveness": wanted(True, [0, 1, 2]),
    **{name: wanted(True, WORDS) for name in ("cities", "areas", "districts", "streets", "house_numbers")},
    "deepfake": wanted(False, [0, 1]),
}


def test_every_filter_of_events_is_one_of_subscriptions() -> None:
    assert [row.name for row in ROWS] == list(EventFilter.model_fields) == list(VALUES)


@pytest.mark.parametrize("name", VALUES)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), event=EVENTS, handler_id=st.sampled_from(IDS))
def test_a_notice_passes_exactly_when_its_event_does(
    name: str, data: st.DataObject, event: dict[str, Any], handler_id: str
) -> None:
    where = EventFilter.model_validate({name: data.draw(VALUES[name])})
    [notice] = notices_of(Message(EVENTS_NOTIFY, ACCOUNT, {"handler_id": handler_id, "events": [dict(event)]}))
    stored = event_of(ACCOUNT, handler_id, RawEvent.model_validate(event))
    assert Filter(where).passes(orjson.loads(notice.content)) == evaluate(filtered(where), stored)


BODY = {
    "basic_attributes": {"apparent_gender": 1, "apparent_age": 30},
    "upper_body": {
        "headwear": {"state": 1, "apparent_color": "red"},
        "sleeve": {"length": "short"},
        "upper_clothing": {"colors": ["black", "white"]},
    },
    "lower_body": {
        "lower_garment": {"type": "trousers", "colors": ["blue"]},
        "shoes": {"apparent_color": "brown"},
    },
    "accessories": {"backpack": {"state": 0}},
}
BERLIN = {"geo_position": {"longitude": 13.4, "latitude": 52.5}}


@pytest.mark.parametrize(
    ("passing", "failing"),
    [
        ({"apparent_gender": "1"}, {"apparent_gender": "0"}),
        ({"apparent_age__gte": "30", "apparent_age__lt": "31"}, {"apparent_age__lt": "30"}),
        ({"headwear_states": "1,2"}, {"headwear_states": "0,null"}),
        ({"backpack_states": "0"}, {"backpack_states": "null"}),
        ({"sleeve_lengths": "long,short"}, {"sleeve_lengths": "long"}),
        ({"lower_garment_types": "trousers"}, {"lower_garment_types": "skirt"}),
        ({"headwear_apparent_colors": "red"}, {"headwear_apparent_colors": "black"}),
        ({"upper_clothing_colors": "green,white"}, {"upper_clothing_colors": "green,null"}),
        ({"lower_garment_colors": "blue"}, {"lower_garment_colors": "black"}),
        ({"shoes_apparent_colors": "brown"}, {"shoes_apparent_colors": ""}),
        (
            {"origin_longitude": "13.4", "origin_latitude": "52.51"},
            {"origin_longitude": "13.4", "origin_latitude": "52.52"},
        ),
        (
            {"origin_longitude": "10", "origin_latitude": "50", "longitude_delta": "3.4", "latitude_delta": "2.5"},
            {"origin_longitude": "10", "origin_latitude": "50", "longitude_delta": "3.3", "latitude_delta": "2.5"},
        ),
        ({}, {"origin_longitude": "null", "origin_latitude": "null"}),
    ],
)
@pytest.mark.parametrize("place", ["aggregated", "detected"])
def test_subscribers_can_ask_for_bodies_and_places(
    passing: dict[str, str], failing: dict[str, str], place: str
) -> None:
    sample = {"detection": {"rect": {"x": 0, "y": 0, "width": 1, "height": 1}, "attributes": BODY}}
    seen = {
        "aggregated": {"aggregate_estimations": {"body": {"attributes": BODY}}},
        "detected": {"detections": [{"filename": "a.jpg", "samples": {"body": sample}}]},
    }
    there = told({"event_id": IDS[0], "location": BERLIN, **seen[place]})
    bare = told({"event_id": IDS[0]})
    wanted, unwanted = Filter(NoticeFilter.model_validate(passing)), Filter(NoticeFilter.model_validate(failing))
    assert (wanted.passes(there), unwanted.passes(there)) == (True, False)
    assert wanted.passes(bare) == (not passing)
    assert unwanted.passes(bare) == ("null" in str(failing))


@pytest.mark.parametrize(("longitude", "is_inside"), [(179.95, True), (-179.95, True), (-179.85, False), (0.0, False)])
def test_a_box_may_reach_over_the_date_line(longitude: float, is_inside: bool) -> None:
    where = {"origin_longitude": "179.99", "origin_latitude": "0", "longitude_delta": "0.1"}
    position = {"geo_position": {"longitude": longitude, "latitude": 0.0}}
    event = told({"event_id": IDS[0], "location": position})
    assert Filter(NoticeFilter.model_validate(where)).passes(event) == is_inside


@pytest.mark.parametrize(
    "half",
    [
        {"origin_longitude": "1"},
        {"origin_longitude": "1", "origin_latitude": "null"},
        {"longitude_delta": "1"},
        {"origin_longitude": "null", "origin_latitude": "null", "latitude_delta": "1"},
        {"origin_longitude": "nan", "origin_latitude": "1"},
        {"origin_longitude": "1", "origin_latitude": "91"},
    ],
)
def test_half_a_box_is_refused(half: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        NoticeFilter.model_validate(half)


def test_every_further_filter_of_subscriptions_has_its_row() -> None:
    own = set(NoticeFilter.model_fields) - set(EventFilter.model_fields)
    box = {"origin_longitude", "origin_latitude", "longitude_delta", "latitude_delta"}
    assert {row.name for row in OF_NOTICES} == (own - box) | {"geo"}


def told(event: dict[str, Any]) -> dict[str, Any]:
    [notice] = notices_of(Message(EVENTS_NOTIFY, ACCOUNT, {"events": [event]}))
    return orjson.loads(notice.content)


def test_all_conditions_must_hold() -> None:
    [notice] = notices_of(
        Message(EVENTS_NOTIFY, ACCOUNT, {"events": [{"event_id": IDS[0], "source": "a", "tags": ["b"]}]})
    )
    told = orjson.loads(notice.content)
    assert Filter(EventFilter()).passes(told)
    assert Filter(EventFilter(sources=["a"], tags=["b"])).passes(told)
    assert not Filter(EventFilter(sources=["a"], tags=["c"])).passes(told)


def test_too_many_values_are_refused() -> None:
    with pytest.raises(MienError) as refused:
        Filter(EventFilter(tags=[str(number) for number in range(999)], sources=["a", "b"]))
    assert refused.value.code is Code.TOO_MANY
