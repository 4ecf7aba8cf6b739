"""Open and closed eyes of real photos."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image as Pillow

from services.remote_sdk.stages.chain import warp_view
from services.remote_sdk.stages.decode import encode_jpeg
from tests.labels import FACES
from tests.photos import shared
from tests.unit.remote_sdk.estimators.expressions import EYES, findings, in_the_mirror
from tests.unit.remote_sdk.finding import estimated, estimator

SIDES = ("left_eye", "right_eye")


def states(found: dict[str, Any]) -> list[str]:
    return [found["eyes_attributes"][side]["state"] for side in SIDES]


def test_open_eyes_are_open_and_closed_ones_are_closed() -> None:
    told = [
        (label, state)
        for face in FACES
        for label, state in zip(face.eyes, states(findings()[face]), strict=True)
        if label in "oc"
    ]
    opened = [state for label, state in told if label == "o"]
    closed = [state for label, state in told if label == "c"]
    assert (len(opened), len(closed)) == (115, 7)
    assert opened.count("open") >= 114
    assert closed.count("closed") == 7


def test_left_is_left_in_the_picture_and_the_sides_change_in_the_mirror() -> None:
    [squinting] = [face for face in FACES if face.eyes == "co"]
    assert states(findings()[squinting]) == ["closed", "open"]
    both = in_the_mirror()
    same = [states(upright) == states(mirrored)[::-1] for upright, mirrored in both]
    assert len(both) >= 20
    assert sum(same) >= len(both) - 1


def test_what_nobody_knows_is_left_empty() -> None:
    for found in findings().values():
        for side in SIDES:
            eye = found["eyes_attributes"][side]
            assert (eye["iris_landmarks"], eye["eyelid_landmarks"]) == ([], [])


def test_an_eye_beyond_the_edge_of_the_picture_is_occluded() -> None:
    half = shared("face_recognition/misc/obama_partial_face.jpg").read_bytes()
    whole = shared("face_recognition/misc/obama-480p.jpg").read_bytes()
    assert states(estimated(whole, EYES)[0]) == ["open", "open"]
    assert set(states(estimated(half, EYES)[0])) <= {"open", "occluded"}
    corners = warp_view(np.zeros((250, 250, 3), np.uint8)).corners
    warp = warp_view(np.full((250, 250, 3), 128, np.uint8))
    moved = type(warp)(**{**vars(warp), "corners": corners - np.array([100, 0], np.float32)})
    [cut] = estimator(EYES).run([estimator(EYES).crop(moved)])
    assert states(cut)[0] == "occluded"


def test_eyes_of_a_turned_picture_are_as_open() -> None:
    picture = Pillow.open(shared("face_recognition/misc/obama-480p.jpg")).convert("RGB")
    turned = np.asarray(picture.rotate(25, Pillow.Resampling.BICUBIC))
    assert states(estimated(encode_jpeg(turned), EYES)[0]) == ["open", "open"]
