"""Mouths of real photos, and the geometry by which they are judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.remote_sdk.estimators.mouth import mouth_attributes
from tests.labels import APART, FACES, SHUT, SMILE, TEETH, UNKNOWN
from tests.unit.remote_sdk.estimators.expressions import findings, in_the_mirror

LABELLED = [face for face in FACES if face.mouth != UNKNOWN]


def mouth(face: Any) -> dict[str, Any]:
    return findings()[face]["mouth_attributes"]


def test_smiles_and_open_lips_are_told_from_others() -> None:
    assert len(LABELLED) >= 55
    smiles = [(mouth(face)["smile"] >= 0.5) == (face.mouth in (SMILE, TEETH)) for face in LABELLED]
    parted = [(mouth(face)["opened"] >= 0.5) == (face.mouth in (APART, TEETH)) for face in LABELLED]
    assert sum(smiles) >= len(LABELLED) - 5
    assert sum(parted) >= len(LABELLED) - 2


def test_the_type_of_a_smile_is_named() -> None:
    types = [(face.mouth, mouth(face)["properties"]["smile_type"]["predominant_type"]) for face in LABELLED]
    toothy = [found for label, found in types if label == TEETH]
    shut = [found for label, found in types if label in (SHUT, APART)]
    assert toothy.count("with_teeth") >= 0.9 * len(toothy)
    assert shut.count("none") >= 0.9 * len(shut)


def test_nobody_knows_whether_a_mouth_is_hidden() -> None:
    assert {mouth(face)["occluded"] for face in FACES} == {None}


def test_a_mouth_does_the_same_in_the_mirror() -> None:
    both = [[each["mouth_attributes"] for each in pair] for pair in in_the_mirror()]
    assert len(both) >= 20
    for score in ("smile", "opened"):
        assert np.median([abs(one[score] - other[score]) for one, other in both]) < 0.05
        assert sum((one[score] >= 0.5) == (other[score] >= 0.5) for one, other in both) >= len(both) - 3


def face68(width: float = 0.75, gap: float = 0.0, rise: float = 0.0) -> np.ndarray:
    """A face with eyes 1 apart: the mouth of some width, its inner lips and its corners so far apart and up."""
    points = np.zeros((68, 2))
    points[36:42], points[42:48] = (-0.5, 0), (0.5, 0)
    points[33] = (0, 0.6)
    points[[48, 60]] = (-width / 2, 1 - rise)
    points[[54, 64]] = (width / 2, 1 - rise)
    points[[61, 62, 63]] = (0, 1 - gap / 2)
    points[[65, 66, 67]] = (0, 1 + gap / 2)
    return points


def test_corners_drawn_back_and_up_are_a_smile_and_a_gap_is_none() -> None:
    serious = mouth_attributes(face68())
    assert serious["smile"] < 0.3
    assert serious["opened"] < 0.1
    assert serious["properties"]["smile_type"]["predominant_type"] == "none"
    assert mouth_attributes(face68(width=1.0))["smile"] > 0.7
    assert mouth_attributes(face68(width=0.85, rise=0.15))["smile"] > mouth_attributes(face68(width=0.85))["smile"]
    speaking = mouth_attributes(face68(gap=0.3))
    assert speaking["opened"] > 0.9
    assert speaking["smile"] == serious["smile"]


@given(
    scale=st.floats(1, 1000),
    angle=st.floats(-3, 3),
    at=st.floats(-1000, 1000),
    gap=st.floats(0, 0.5),
    up=st.floats(0, 0.2),
)
def test_neither_size_nor_place_nor_roll_matters(scale: float, angle: float, at: float, gap: float, up: float) -> None:
    points = face68(width=0.85, gap=gap, rise=up)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    moved, still = mouth_attributes(points @ turn * scale + at), mouth_attributes(points)
    for score in ("smile", "opened"):
        assert moved[score] == pytest.approx(still[score], abs=2e-4)


def test_points_that_fall_together_are_no_error() -> None:
    found = mouth_attributes(np.zeros((68, 2)))
    assert 0 <= found["smile"] <= 1
    assert 0 <= found["opened"] <= 1
