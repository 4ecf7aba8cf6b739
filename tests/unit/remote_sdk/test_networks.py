"""The default networks against dlib itself, on real photos."""

import importlib.util
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from services.remote_sdk.models.files import ModelCorrupt, ModelMissing
from services.remote_sdk.models.library import Library, builtin
from services.remote_sdk.networks.chip import face_chips, template
from services.remote_sdk.networks.dlib_format import FormatError
from services.remote_sdk.networks.landmarks import Landmarks5
from services.remote_sdk.networks.mmod import Face, FaceDetector
from services.remote_sdk.networks.precision import DeviceMissing, choose
from services.remote_sdk.networks.pyramid import layout
from services.remote_sdk.networks.resnet import FaceDescriber
from tests.photos import SHARED as PHOTOS

dlib = pytest.importorskip("dlib", reason="dlib-bin is the oracle of these tests")

needs_photos = pytest.mark.skipif(not PHOTOS.is_dir(), reason=f"no test photos at {PHOTOS} (set MIEN_SHARED)")
EXACT = choose("cpu", "float32")
SHORT = choose("cpu", "bfloat16")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def detector():
    return FaceDetector(EXACT)


@pytest.fixture(scope="module")
def describer():
    return FaceDescriber(EXACT)


@pytest.fixture(scope="module")
def landmarks():
    return Landmarks5()


@pytest.fixture(scope="module")
def dlib_detector():
    return dlib.cnn_face_detection_model_v1(str(builtin("dlib-mmod").path))


@pytest.fixture(scope="module")
def dlib_describer():
    return dlib.face_recognition_model_v1(str(builtin("dlib-resnet").path))


@pytest.fixture(scope="module")
def dlib_landmarks():
    return dlib.shape_predictor(str(builtin("dlib-sp5").path))


@pytest.fixture(scope="module")
def astronaut():
    return pytest.importorskip("skimage.data").astronaut()


def photo(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def whole_boxes(faces):
    return np.round([[face.left, face.top, face.right, face.bottom] for face in faces]).reshape(-1, 4)


def dlib_points(predictor, image, box):
    parts = predictor(image, dlib.rectangle(*(int(edge) for edge in box))).parts()
    return np.array([(part.x, part.y) for part in parts])


@pytest.fixture(scope="module")
def faces(astronaut, detector):
    """(image, box (4,)) of every face found in the astronaut and the shared photos."""
    paths = [*sorted(PHOTOS.glob("dlib_faces/2008*.jpg"))[:4], *sorted(PHOTOS.glob("compreface/00[089]*.jpg"))]
    paths += sorted(PHOTOS.glob("face_recognition/train/[bor]*/*.jp*"))
    images = [astronaut, *map(photo, paths)]
    return [(image, box) for image in images for box in whole_boxes(detector.detect([image])[0])]


@pytest.fixture(scope="module")
def dlib_chips(faces, dlib_landmarks):
    """dlib's own chips of `faces`, and the landmarks they were cut by."""
    points = np.array([dlib_points(dlib_landmarks, image, box) for image, box in faces])
    chips = []
    for (image, box), five in zip(faces, points, strict=True):
        parts = dlib.points([dlib.point(int(x), int(y)) for x, y in five])
        face = dlib.full_object_detection(dlib.rectangle(*(int(edge) for edge in box)), parts)
        chips.append(dlib.get_face_chip(image, face, 150, 0.25))
    return np.array(chips), points


def drift(first, second):
    return np.linalg.norm(first - second, axis=1)


# Descriptors


def test_descriptors_are_those_of_dlib(describer, dlib_describer, dlib_chips):
    chips = dlib_chips[0][:20]
    expected = np.array(dlib_describer.compute_face_descriptor(list(chips)))
    assert np.abs(describer.describe(chips) - expected).max() < 1e-5


def test_bf16_moves_a_descriptor_far_less_than_a_person_differs(describer, dlib_chips):
    moved = drift(FaceDescriber(SHORT).describe(dlib_chips[0]), describer.describe(dlib_chips[0]))
    assert moved.mean() < 0.012
    assert moved.max() < 0.025  # one person is below 0.6


@pytest.mark.parametrize("count", [0, 1, 31, 33, 65])
def test_a_chip_is_described_alike_alone_and_in_any_batch(describer, dlib_chips, count):
    chips = np.resize(dlib_chips[0], (count, 150, 150, 3))
    alone = describer.describe(dlib_chips[0][:1])
    descriptors = describer.describe(chips)
    assert descriptors.shape == (count, 128)
    assert descriptors.dtype == np.float32
    assert np.allclose(descriptors[:1], alone[:count], atol=1e-5)


def test_tensors_and_read_only_arrays_are_described(describer, dlib_chips):
    chips = dlib_chips[0][:2].copy()
    expected = describer.describe(chips)
    chips.flags.writeable = False
    assert np.array_equal(describer.describe(chips), expected)
    assert np.array_equal(describer.describe(torch.tensor(dlib_chips[0][:2])), expected)


@pytest.mark.parametrize(
    "chips",
    [np.zeros((1, 160, 160, 3), np.uint8), np.zeros((150, 150, 3), np.uint8), np.zeros((1, 150, 150, 3), np.float32)],
)
def test_other_shapes_than_chips_are_refused(describer, chips):
    with pytest.raises(ValueError, match="chips are uint8"):
        describer.describe(chips)


def test_threads_share_a_network(describer, dlib_chips):
    chips = dlib_chips[0][:4]
    expected = describer.describe(chips)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(describer.describe, [chips] * 8))
    assert all(np.allclose(result, expected, atol=1e-5) for result in results)


# Detection


def dlib_detections(detector, image):
    return [
        (found.rect.left(), found.rect.top(), found.rect.right(), found.rect.bottom(), found.confidence)
        for found in detector(image, 0)
    ]


def assert_same_faces(ours, expected):
    assert [(f.left, f.top, f.right, f.bottom) for f in ours] == [found[:4] for found in expected]
    assert np.allclose([face.score for face in ours], [found[4] for found in expected], atol=1e-4)


def test_boxes_and_scores_are_those_of_dlib(detector, dlib_detector, astronaut):
    image = np.asarray(Image.fromarray(astronaut).resize((640, 480)))
    expected = dlib_detections(dlib_detector, image)
    assert len(expected) == 1
    assert_same_faces(detector.detect([image], None, 5 / 6)[0], expected)


@needs_photos
@pytest.mark.parametrize("name", ["dlib_faces/2008_002506.jpg", "compreface/013_4.jpg"])
def test_group_photos_give_the_boxes_of_dlib(detector, dlib_detector, name):
    image = photo(PHOTOS / name)
    expected = dlib_detections(dlib_detector, image)
    assert len(expected) >= 3
    assert_same_faces(detector.detect([image], None, 5 / 6)[0], expected)


@pytest.mark.parametrize("shape", [(80, 80), (30, 30), (40, 200), (200, 40)])
def test_small_crops_give_the_boxes_of_dlib(detector, dlib_detector, astronaut, shape):
    """Not smaller: on 7x7 pixels dlib-bin 20.0.1 writes beyond its canvas and takes the process with it."""
    crop = np.ascontiguousarray(astronaut[60 : 60 + shape[0], 150 : 150 + shape[1]])
    assert_same_faces(detector.detect([crop], None, 5 / 6)[0], dlib_detections(dlib_detector, crop))


@pytest.mark.parametrize("shape", [(1, 1), (1, 30000), (30000, 1), (7, 7), (6, 300), (79, 20), (0, 5)])
@pytest.mark.parametrize("long_side", [None, 1600])
def test_a_picture_without_room_for_a_face_has_none(detector, shape, long_side):
    assert detector.detect([np.zeros((*shape, 3), np.uint8)], long_side) == [[]]


def test_no_pictures_have_no_faces(detector):
    assert detector.detect([]) == []


def test_pictures_of_mixed_shapes_keep_their_order(detector, astronaut):
    small = astronaut[:256, 64:320]
    tiny = astronaut[:5, :5]
    alone = [detector.detect([image], 600)[0] for image in (small, tiny, astronaut, small)]
    together = detector.detect([small, tiny, astronaut, small], 600)
    assert [len(found) for found in together] == [1, 0, 1, 1]
    for ours, expected in zip(together, alone, strict=True):
        assert np.allclose(
            [[f.left, f.top, f.right, f.bottom, f.score] for f in ours],
            [[f.left, f.top, f.right, f.bottom, f.score] for f in expected],
            atol=1e-4,
        )


def test_boxes_come_back_in_pixels_of_the_picture_given(detector, astronaut):
    """dlib finds the astronaut at x 168..263, y 69..164; windows move in steps of a tenth of the face."""
    for long_side in (None, 400, 800, 1600):
        (face,) = detector.detect([astronaut], long_side)[0]
        assert (face.left + face.right) / 2 == pytest.approx(216, abs=12)
        assert (face.top + face.bottom) / 2 == pytest.approx(117, abs=12)
        assert face.right - face.left == pytest.approx(96, abs=20)


def test_a_threshold_at_which_everything_is_a_face_is_refused(detector, astronaut):
    with pytest.raises(ValueError, match="threshold"):
        detector.detect([astronaut], threshold=-1.5)


def found_and_false(faces_of, annotations, contains):
    """How many annotated faces were found, each by a box of its own, and how many boxes found none."""
    found = false = 0
    for name, marks in annotations.items():
        boxes = faces_of(name)
        for mark in marks:
            hit = next((box for box in boxes if contains(box, mark)), None)
            if hit:
                boxes.remove(hit)
                found += 1
        false += len(boxes)
    return found, false


def covers(face: Face, x: float, y: float) -> bool:
    return face.left <= x <= face.right and face.top <= y <= face.bottom


@needs_photos
def test_default_setting_finds_what_the_study_found():
    detector = FaceDetector(choose("cpu"))
    noses = json.loads((PHOTOS / "compreface/annotations.json").read_text())["nose_points_px"]
    boxes = json.loads((PHOTOS / "dlib_faces/annotations.json").read_text())["boxes_left_top_width_height"]
    people = found_and_false(
        lambda name: detector.detect([photo(PHOTOS / "compreface" / name)])[0],
        noses,
        lambda face, nose: covers(face, *nose),
    )
    groups = found_and_false(
        lambda name: detector.detect([photo(PHOTOS / "dlib_faces" / name)])[0],
        boxes,
        lambda face, box: covers(face, box[0] + box[2] / 2, box[1] + box[3] / 2),
    )
    assert (people, groups) == ((40, 0), (43, 0))  # of 42 and 43: see models.md section 3


@needs_photos
@pytest.mark.parametrize("name", ["dlib_faces/2008_004176.jpg", "compreface/016_8.jpg"])
def test_bf16_finds_the_same_faces(detector, name):
    image = photo(PHOTOS / name)
    exact, short = detector.detect([image])[0], FaceDetector(SHORT).detect([image])[0]
    assert len(exact) >= 6
    assert len(short) == len(exact)
    for face in exact:
        assert any(covers(other, (face.left + face.right) / 2, (face.top + face.bottom) / 2) for other in short)


@pytest.mark.parametrize("image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3))])
def test_other_than_rgb_bytes_is_refused(detector, image):
    with pytest.raises(ValueError, match="an image is uint8"):
        detector.detect([image])


@given(st.integers(80, 3000), st.integers(80, 3000), st.sampled_from([5 / 6, 3 / 4, 2 / 3, 1 / 2]))
@settings(max_examples=200, deadline=None)
def test_pyramid_levels_lie_apart_within_the_canvas(height, width, ratio):
    canvas = layout(height, width, ratio)
    taken = [(t.left, t.top, t.left + t.width, t.top + t.height) for t in canvas.tiles]
    assert canvas.tiles[0][2:] == (width, height)
    assert all(left >= 11 and top >= 11 for left, top, _, _ in taken)
    assert all(right <= canvas.width - 11 and bottom <= canvas.height - 11 for _, _, right, bottom in taken)
    for index, (left, top, right, bottom) in enumerate(taken):
        for other in taken[:index]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top


@pytest.mark.parametrize("ratio", [0, 1, -0.5, 1.5])
def test_a_pyramid_that_does_not_shrink_is_refused(ratio):
    with pytest.raises(ValueError, match="ratio"):
        layout(100, 100, ratio)


# Landmarks


def test_points_round_to_those_of_dlib(landmarks, dlib_landmarks, faces):
    ours = landmarks.locate([image for image, _ in faces], [box[None] for _, box in faces])
    expected = np.array([dlib_points(dlib_landmarks, image, box) for image, box in faces])
    away = np.abs(np.floor(ours + 0.5) - expected).max((1, 2))
    assert ours.shape == (len(faces), 5, 2)
    assert ours.dtype == np.float32
    assert away.max() <= 1
    assert (away > 0).mean() <= 0.07  # at most a face in fifteen lies on a border of rounding


@pytest.mark.parametrize("box", [(-60, -40, 90, 110), (450, 440, 620, 610), (-900, -900, -800, -800)])
def test_a_box_beyond_the_picture_gives_the_points_of_dlib(landmarks, dlib_landmarks, astronaut, box):
    ours = landmarks.locate([astronaut], [np.array([box])])
    assert np.abs(ours[0] - dlib_points(dlib_landmarks, astronaut, box)).max() <= 1


def test_faces_of_several_pictures_come_in_order(landmarks, astronaut):
    mirrored = np.ascontiguousarray(astronaut[:, ::-1])
    first, second = np.array([[172.0, 70, 275, 173]]), np.array([[236.0, 70, 339, 173], [240, 74, 343, 177]])
    together = landmarks.locate([astronaut, mirrored, astronaut], [first, second, np.empty((0, 4))])
    alone = [landmarks.locate([astronaut], [first]), landmarks.locate([mirrored], [second])]
    assert np.array_equal(together, np.concatenate(alone))


def test_no_faces_have_no_points(landmarks, astronaut):
    assert landmarks.locate([], []).shape == (0, 5, 2)
    assert landmarks.locate([astronaut], [np.empty((0, 4))]).shape == (0, 5, 2)


def test_pictures_without_boxes_are_refused(landmarks, astronaut):
    with pytest.raises(ValueError, match="boxes for 0"):
        landmarks.locate([astronaut], [])


# Chips


def test_chips_describe_as_those_of_dlib(describer, faces, dlib_chips):
    chips, points = dlib_chips
    ours = np.concatenate([face_chips(image, five[None]) for (image, _), five in zip(faces, points, strict=True)])
    assert np.abs(ours.astype(int) - chips).max() <= 1
    moved = drift(describer.describe(ours), describer.describe(chips))
    assert moved.mean() < 0.001
    assert moved.max() < 0.005


def test_the_middle_of_a_warp_describes_as_the_chip(describer, faces, dlib_chips):
    chips, points = dlib_chips
    warps = np.concatenate(
        [face_chips(image, five[None], 250, 0.75) for (image, _), five in zip(faces, points, strict=True)]
    )
    moved = drift(describer.describe(np.ascontiguousarray(warps[:, 50:200, 50:200])), describer.describe(chips))
    assert moved.mean() < 0.02
    assert moved.max() < 0.08


def test_the_five_points_lie_in_the_chip_as_in_the_template():
    """Brightness as a map: red rises with x, green with y, so a chip's colours tell where they come from."""
    y, x = np.mgrid[0:256, 0:256]
    image = np.stack([x, y, 0 * x], axis=-1).astype(np.uint8)
    five = np.array([[160.0, 110], [140, 112], [90, 100], [110, 103], [120, 140]])
    chip = face_chips(image, five[None])[0]
    columns, rows = template().round().astype(int).T
    shown = chip[rows, columns, :2] + 0.5
    assert np.abs(shown.mean(0) - five.mean(0)).max() < 1
    assert np.abs(shown - five).max() < 12, "faces differ from the mean one"


def test_a_chip_outside_the_picture_is_black(astronaut):
    away = np.array([[[160.0, 110], [140, 112], [90, 100], [110, 103], [120, 140]]]) + 5000
    assert not face_chips(astronaut, away).any()
    assert face_chips(astronaut, np.empty((0, 5, 2))).shape == (0, 150, 150, 3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (9, 9)])
def test_a_chip_of_a_tiny_picture_is_cut(shape):
    points = np.array([[[300.0, 110], [140, 112], [-90, 100], [110, 103], [120, 240]]])
    assert face_chips(np.full((*shape, 3), 255, np.uint8), points).shape == (1, 150, 150, 3)


# Files and precision


def test_the_default_models_are_installed_and_intact():
    for name in ("dlib-resnet", "dlib-mmod", "dlib-sp5"):
        assert builtin(name).read()


def test_a_file_with_another_digest_is_refused(tmp_path):
    original = builtin("dlib-mmod")
    tampered = tmp_path / "mmod.dat"
    tampered.write_bytes(original.path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(ModelCorrupt, match=r"mmod\.dat has sha256"):
        FaceDetector(EXACT, replace(original, path=tampered))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelMissing, match=r"dlib-sp5 .* pip install face_recognition_models"):
        Landmarks5(replace(builtin("dlib-sp5"), path=tmp_path / "gone.dat"))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelMissing, match="pip install face_recognition_models"):
        builtin("dlib-resnet").read()
    assert [model.name for model in Library(None).installed() if model.files] == []


@pytest.mark.parametrize(("network", "name"), [(FaceDetector, "dlib-resnet"), (FaceDescriber, "dlib-mmod")])
def test_a_file_of_another_network_is_refused(network, name):
    with pytest.raises(FormatError):
        network(EXACT, builtin(name))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_that_is_absent_is_refused():
    with pytest.raises(DeviceMissing, match="cuda"):
        choose("cuda")


def test_automatic_precision_is_one_of_the_two():
    assert choose("cpu").dtype in (torch.float32, torch.bfloat16)
    assert choose("cpu", "float32").dtype == torch.float32
