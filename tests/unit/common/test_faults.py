"""What is said of a value that does not fit its model."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from libs.common.ids import new_id
from libs.common.wire.base import Wire, fault
from libs.common.wire.events import EventFilter
from libs.common.wire.matcher import MatchRequest

FACE = {"type": "face", "id": new_id()}
FACES = {"filters": {"origin": "faces"}}


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        (EventFilter, {"gender": "7"}, "at.gender: Input should be 0 or 1, or Input should be 'null'"),
        (
            EventFilter,
            {"emotions": "1,9"},
            "at.emotions.1: Input should be less than or equal to 7, or Input should be 'null'",
        ),
        (
            MatchRequest,
            {"references": [FACE], "candidates": [{"filters": {"origin": "moon"}}]},
            "at.candidates.0.filters.origin: should be one of 'faces', 'events', 'attributes'",
        ),
        (
            MatchRequest,
            {"references": [{"id": "a"}], "candidates": [FACES]},
            "at.references.0.type: Field required",
        ),
    ],
)
def test_a_value_that_is_of_none_of_several_kinds_is_named_once_and_by_the_words_of_the_contract(
    model: type[Wire], given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError) as wrong:
        model.model_validate(given)
    assert fault(wrong.value, "at") == said
