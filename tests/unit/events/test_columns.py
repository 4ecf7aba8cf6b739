"""What an event has in each of its columns."""

from __future__ import annotations

from datetime import timedelta

from libs.common import clock
from libs.common.ids import new_id
from libs.common.wire.events import Location, TopMatch
from services.events.columns import COLUMNS
from tests.contract.event_stores import NOON, event

ACCOUNT = new_id()


def test_each_column_holds_its_part_of_the_event() -> None:
    best = TopMatch(label="staff", similarity=0.96, object_type="face", object_id=new_id(), external_id="e-12")
    plain = {
        "event_id": new_id(),
        "handler_id": new_id(),
        "external_id": "e-1",
        "user_data": "Ada",
        "source": "gate-1",
        "stream_id": "s-1",
        "track_id": "t-1",
        "face_id": new_id(),
        "gender": 0,
        "age": 41,
        "ethnic_group": 2,
        "emotion": 5,
        "mask": 1,
        "liveness": 2,
        "deepfake": 0,
    }
    places = {"city": "Graz", "area": "Styria", "district": "IV", "street": "Annenstraße", "house_number": "7"}
    saved = event(
        ACCOUNT,
        **plain,
        create_time=NOON,
        end_time=NOON + timedelta(milliseconds=1),
        tags=["b", "a", "b"],
        location=Location(**places),
        top_match=best,
    )
    noon_ms = clock.to_ms(NOON)
    assert {name: column.values(saved) for name, column in COLUMNS.items()} == {
        **{name: (value,) for name, value in (plain | places).items()},
        "account_id": (ACCOUNT,),
        "create_time": (noon_ms,),
        "end_time": (noon_ms + 1,),
        "tags": ("b", "a"),
        "top_matching_candidates_label": ("staff",),
        "top_similar_object_id": (best.object_id,),
        "top_similar_external_id": ("e-12",),
        "top_similar_object_similarity": (0.96,),
    }


def test_a_column_of_which_the_event_has_nothing_is_empty() -> None:
    bare = event(ACCOUNT, user_data="")
    filled = {name for name, column in COLUMNS.items() if column.values(bare)}
    assert filled == {"event_id", "account_id", "handler_id", "create_time", "user_data"}
