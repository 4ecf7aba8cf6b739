"""Which face belongs to which body: the best of all ways to pair them, and on real photos."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from services.remote_sdk.detectors.fastestdet import FastestDet
from services.remote_sdk.detectors.yunet import YuNet
from services.remote_sdk.stages.bodies import edges, persons
from services.remote_sdk.stages.crops import Box
from services.remote_sdk.stages.pairing import best_assignment, paired
from tests.photos import shared
from tests.unit.remote_sdk.looking import photo
from tests.unit.remote_sdk.models import opened


def standing(x: float, y: float = 0.0, height: float = 700.0) -> tuple[Box, Box]:
    """A face and its body; x is the middle of both, y the top of the head."""
    size = height / 7
    return Box(x - size / 2, y + 10, x + size / 2, y + size), Box(x - size, y, x + size, y + height)


@given(arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=5), elements=st.integers(0, 20)))
@settings(max_examples=150, deadline=None)
def test_no_other_assignment_has_a_larger_sum(gain: np.ndarray) -> None:
    found = best_assignment(gain)
    rows, columns = [row for row, _ in found], [column for _, column in found]
    assert len(found) == min(gain.shape) == len(set(rows)) == len(set(columns))
    table = gain if gain.shape[0] <= gain.shape[1] else gain.T
    best = max(
        sum(table[row, column] for row, column in enumerate(chosen))
        for chosen in permutations(range(table.shape[1]), table.shape[0])
    )
    assert sum(gain[row, column] for row, column in found) == best


@given(st.lists(st.integers(0, 8), min_size=1, max_size=8, unique=True), st.randoms())
def test_people_side_by_side_keep_their_own_heads(places: list[int], random) -> None:
    pairs = [standing(place * 150.0) for place in places]  # bodies overlap by a quarter
    order = list(range(len(pairs)))
    random.shuffle(order)
    owned = paired([face for face, _ in pairs], [pairs[number][1] for number in order])
    assert {face: order[body] for face, body in owned.items()} == {number: number for number in order}


def test_of_one_before_another_each_has_the_head_at_the_top_of_his_own_body() -> None:
    (tall_face, tall), (small_face, small) = standing(300, 0, 700), standing(320, 200, 500)
    assert paired([small_face, tall_face], [tall, small]) == {0: 1, 1: 0}


def test_what_cannot_belong_together_stays_alone() -> None:
    face, body = standing(300)
    assert paired([face], []) == paired([], [body]) == {}
    at_the_feet = Box(250, 600, 350, 690)
    beside, wider = Box(480, 10, 580, 100), Box(100, 0, 500, 400)
    assert paired([at_the_feet, beside, wider], [body]) == {}
    assert paired([at_the_feet, face], [body]) == {1: 0}


@pytest.mark.parametrize(
    ("path", "people"),
    [
        ("compreface/000_5.jpg", 5),
        ("compreface/012_4.jpg", 4),
        ("compreface/015_6.jpg", 6),
        ("dlib_faces/2007_007763.jpg", 7),
        ("dlib_faces/2008_002470.jpg", 6),
        ("face_recognition/test/kit_with_rose.jpg", 2),
    ],
)
def test_everybody_in_a_group_has_a_body(path: str, people: int) -> None:
    picture = photo(shared(path))
    [faces] = YuNet(opened("yunet")).detect([picture])
    [found] = FastestDet(opened("fastestdet")).detect([picture])
    bodies = persons(found)
    owned = paired([edges(face) for face in faces], [edges(body) for body in bodies])
    assert (len(faces), len(owned)) == (people, people)
    for face, body in owned.items():
        assert bodies[body].left < faces[face].centre[0] < bodies[body].right
        assert faces[face].centre[1] < bodies[body].centre[1]
