"""Detectors on networks: tiny ones for the decoding, the catalogue's on real photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.remote_sdk.detectors.boxes import Found, fitted, strongest
from services.remote_sdk.detectors.port import Detection, Detector
from services.remote_sdk.detectors.scrfd import Scrfd
from services.remote_sdk.detectors.ultraface import UltraFace
from services.remote_sdk.detectors.yolo import Yolo
from services.remote_sdk.detectors.yunet import YuNet
from services.remote_sdk.engines.net import Loaded, load
from services.remote_sdk.engines.openvino_engine import OpenVino
from services.remote_sdk.models.library import Library
from services.remote_sdk.models.manifest import BadManifest
from tests import labels
from tests.photos import shared
from tests.unit.remote_sdk.looking import photo
from tests.unit.remote_sdk.models import always, describe, opened

PICTURE = 'files = ["own.onnx"]\ninputs.x = { width = 64, height = 64 }'


def found_always(folder: Path, kind: str, outputs: dict[str, np.ndarray], options: str) -> Loaded:
    """A detector of 64 x 64 pixels whose outputs do not depend on the picture."""
    weights = always(outputs, 64)
    named = "\n".join(f'"{name}" = "of the test"' for name in outputs)
    tables = {"networks.main": PICTURE, "networks.main.outputs": named, "options": options}
    describe(folder / "own", "own", kind, "face_detection", weights, **tables)
    return load(Library(folder).model("own"), [OpenVino(bf16=False, threads=1)])


def edges(face: Detection) -> list[float]:
    return [face.left, face.top, face.right + 1, face.bottom + 1]


def scrfd(folder: Path, options: str = "") -> Loaded:
    """One face at stride 8 (cell x 3, y 2) and a doubtful one beside it."""
    outputs = {
        f"{part}{stride}": np.zeros((2 * (64 // stride) ** 2, width), np.float32)
        for stride in (8, 16, 32)
        for part, width in (("s", 1), ("b", 4), ("p", 10))
    }
    anchor = 2 * (2 * 8 + 3)
    outputs["s8"][anchor : anchor + 2, 0] = 0.9, 0.6
    outputs["b8"][anchor : anchor + 2] = [1, 2, 2, 1]
    outputs["p8"][anchor] = [-0.5, -1, 0.5, -1, 0, 0, -0.5, 0.5, 0.5, 0.5]
    names = "\n".join(
        f'{part} = ["{part[0]}8", "{part[0]}16", "{part[0]}32"]' for part in ("scores", "boxes", "points")
    )
    return found_always(folder, "scrfd", outputs, names + "\n" + options)


def test_scrfd_is_decoded_by_its_manifest_alone(tmp_path: Path) -> None:
    [faces] = Scrfd(scrfd(tmp_path)).detect([np.zeros((128, 64, 3), np.uint8)])
    [face] = faces  # the second anchor has the same box
    assert edges(face) == [32, 0, 80, 48], "cell (24, 16), 1 and 2 strides away, in a picture twice as large"
    assert face.points is not None
    assert face.points.tolist() == [[40, 16], [56, 16], [48, 32], [40, 40], [56, 40]]
    assert face.score == pytest.approx(1.0)


def test_a_network_of_one_size_gets_that_size_whatever_the_settings_wish(tmp_path: Path) -> None:
    loaded = scrfd(tmp_path)
    picture = [np.zeros((128, 64, 3), np.uint8)]
    [[usual], [same]] = (Scrfd(loaded, long_side=side).detect(picture)[0] for side in (None, 96))
    assert edges(same) == edges(usual)


def test_scrfd_without_names_of_outputs_is_refused(tmp_path: Path) -> None:
    loaded = found_always(tmp_path, "scrfd", {"y": np.zeros((1, 1), np.float32)}, 'scores = ["y"]')
    with pytest.raises(BadManifest, match="one output per stride"):
        Scrfd(loaded)


ROWS = np.array(
    [[32, 32, 20, 40, 0.9, 0.1, 0.95], [33, 32, 20, 40, 0.9, 0.1, 0.7], [10, 10, 8, 8, 0.9, 0.9, 0.1]], np.float32
)
CLASSES = 'classes = ["car", "person"]\nwanted = ["person"]\nthreshold = 0.5\n'


@pytest.mark.parametrize("form", ["v5", "v8"])
def test_yolo_is_decoded_by_its_manifest_alone(tmp_path: Path, form: str) -> None:
    rows = ROWS if form == "v5" else np.delete(ROWS, 4, axis=1).T
    loaded = found_always(tmp_path, "yolo", {"y": rows[None]}, f'form = "{form}"\n{CLASSES}')
    [things] = Yolo(loaded).detect([np.zeros((32, 64, 3), np.uint8)])
    [person] = things
    assert (person.label, edges(person)) == ("person", [22, 12, 42, 52])
    assert (Yolo(loaded).detect([]), Yolo(loaded, threshold=0.99).detect([np.zeros((9, 9, 3), np.uint8)])) == ([], [[]])


def test_an_unknown_form_of_yolo_is_refused(tmp_path: Path) -> None:
    loaded = found_always(tmp_path, "yolo", {"y": ROWS[None]}, 'form = "v4"')
    with pytest.raises(BadManifest, match="v5 or v8"):
        Yolo(loaded)


@given(st.integers(1, 1500), st.integers(1, 1500), st.integers(80, 1000))
@settings(max_examples=30, deadline=None)
def test_a_fitted_picture_keeps_its_shape_and_is_padded_to_the_multiple(height: int, width: int, side: int) -> None:
    ready = fitted(np.broadcast_to(np.uint8(7), (height, width, 3)).copy(), side, 32, 1.0)
    rows, columns = ready.pixels.shape[:2]
    assert (rows % 32, columns % 32) == (0, 0)
    assert max(ready.scale) <= 1
    assert rows - 32 < round(height * ready.scale[1]) <= rows
    assert columns - 32 < round(width * ready.scale[0]) <= columns


def test_a_picture_that_is_a_little_too_high_is_shrunk_instead_of_padded() -> None:
    wide = fitted(np.full((1080, 1920, 3), 7, np.uint8), 800, 32, 1.0)
    assert wide.pixels.shape == (448, 800, 3)
    assert wide.scale == pytest.approx((796 / 1920, 448 / 1080))
    assert fitted(np.full((600, 800, 3), 7, np.uint8), 800, 32, 1.0).pixels.shape == (608, 800, 3), "8 are needed"
    assert fitted(np.full((20, 800, 3), 7, np.uint8), 800, 32, 1.0).pixels.shape == (32, 800, 3)


BOXES = st.lists(st.tuples(*[st.floats(0, 100)] * 2, *[st.floats(1, 50)] * 2, st.floats(0, 1)), max_size=30)


@given(BOXES)
def test_of_boxes_that_overlap_the_best_is_left(boxes: list[tuple[float, ...]]) -> None:
    table = np.array(boxes, np.float64).reshape(-1, 5)
    found = Found(np.hstack([table[:, :2], table[:, :2] + table[:, 2:4]]), table[:, 4])
    kept = strongest(found, 0.5)
    assert list(kept.scores) == sorted(kept.scores, reverse=True)
    assert len(kept.boxes) <= len(boxes)
    if boxes:
        assert kept.scores[0] == found.scores.max()
    again = strongest(kept, 0.5)
    assert np.array_equal(again.boxes, kept.boxes), "what is left overlaps no more"


# The catalogue's, on photos


def faces_found(detector: Detector, marks: dict[str, list[labels.Point]]) -> tuple[int, int]:
    """How many of the marked faces are found, and how many boxes are no face."""
    found = false = 0
    for path, points in marks.items():
        [boxes] = detector.detect([photo(shared(path))])
        for x, y in points:
            hit = next((box for box in boxes if box.left <= x <= box.right and box.top <= y <= box.bottom), None)
            if hit:
                boxes.remove(hit)
                found += 1
        false += len(boxes)
    return found, false


def test_yunet_finds_every_face_of_the_sets_and_nothing_else() -> None:
    detector = YuNet(opened("yunet"))
    assert [faces_found(detector, marks) for marks in (labels.noses(), labels.groups())] == [(42, 0), (43, 0)]


@pytest.mark.parametrize("size", [320, 640])
def test_ultraface_finds_the_faces_of_the_sets(size: int) -> None:
    detector = UltraFace(opened(f"ultraface-{size}"))
    (found, false), (grouped, more) = (faces_found(detector, marks) for marks in (labels.noses(), labels.groups()))
    assert found >= 41
    assert grouped >= 41
    assert false + more <= 2


def test_yunets_points_lie_where_eyes_nose_and_mouth_are() -> None:
    picture = photo(shared("face_recognition/misc/obama-480p.jpg"))
    [[face]] = YuNet(opened("yunet")).detect([picture])
    assert face.points is not None
    left, right, nose, corner, other = face.points
    assert left[0] < nose[0] < right[0]
    assert corner[0] < nose[0] < other[0]
    assert max(left[1], right[1]) < nose[1] < min(corner[1], other[1])
    assert face.left < left[0] < right[0] < face.right


def test_pictures_of_mixed_sizes_keep_their_order_and_pixels() -> None:
    detector = YuNet(opened("yunet"))
    picture = photo(shared("face_recognition/misc/two_people.jpg"))
    small = np.ascontiguousarray(picture[::2, ::2])
    nothing = np.zeros((0, 5, 3), np.uint8)
    tiny = np.zeros((3, 2, 3), np.uint8)
    found = detector.detect([small, nothing, picture, tiny, small])
    assert [len(faces) for faces in found] == [2, 0, 2, 0, 2]
    for half, whole in zip(*(sorted(faces, key=lambda face: face.left) for faces in (found[0], found[2])), strict=True):
        assert np.allclose(np.array(half.centre) * 2, whole.centre, atol=8)
    assert np.allclose([edges(face) for face in found[0]], [edges(face) for face in found[4]], atol=0.01)


@pytest.mark.parametrize("name", ["yunet", "ultraface-320"])
def test_what_shows_nobody_has_no_faces(name: str) -> None:
    detector = YuNet(opened(name)) if name == "yunet" else UltraFace(opened(name))
    for path in ("objects/cat.bmp", "objects/parrot.jpg", "objects/cars_1.jpg"):
        assert detector.detect([photo(shared(path))]) == [[]]
