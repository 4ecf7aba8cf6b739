"""What is known of the shared test photos: where faces are, who is who, what they wear.

For tests and for ``python -m bench.accuracy``. Photos go by their paths inside the shared folder, which
``tests.photos.shared`` turns into files, or skips the test; annotations are read there, the rest was written down by
looking.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from tests.photos import shared

Point = tuple[float, float]


SHUT, SMILE, TEETH, APART, UNKNOWN = "shut", "smile", "smile with teeth", "apart, no smile", "unknown"
CAMERA, LEFT, RIGHT = "into the camera", "to the left of the picture", "to the right of the picture"


class Person(NamedTuple):
    """``sex``: 0 female, 1 male, as on the wire; ``age``: about, in years, in the photos."""

    sex: int
    age: int
    photos: tuple[str, ...]


class Labelled(NamedTuple):
    """``x``, ``y``: the middle of the face in parts of the picture. ``eyes``: of the one on the left of the picture,
    then the other: "o" open, "c" closed (or a slit that shows no iris), "?" hidden, in the dark or behind glare."""

    path: str
    x: float
    y: float
    eyes: str
    mouth: str
    looks: str


PEOPLE = {
    "obama": Person(
        1,
        50,
        (
            "face_recognition/train/obama/obama.jpg",
            "face_recognition/train/obama/obama2.jpg",
            "face_recognition/test/obama1.jpg",
            "face_recognition/misc/obama3.jpg",
        ),
    ),
    "biden": Person(1, 68, ("face_recognition/train/biden/biden.jpg", "face_recognition/train/biden/biden2.jpg")),
    "alex_lacamoire": Person(
        1, 42, ("face_recognition/train/alex_lacamoire/img1.jpg", "face_recognition/test/alex_lacamoire1.jpg")
    ),
    "kit_harington": Person(
        1,
        28,
        (
            "face_recognition/train/kit_harington/john1.jpeg",
            "face_recognition/train/kit_harington/john2.jpeg",
            "face_recognition/test/johnsnow_test1.jpg",
        ),
    ),
    "rose_leslie": Person(
        0, 27, ("face_recognition/train/rose_leslie/img1.jpg", "face_recognition/train/rose_leslie/img2.jpg")
    ),
    "compreface A": Person(0, 30, ("compreface/002_A.jpg", "compreface/004_A.jpg")),
    "compreface B": Person(0, 25, ("compreface/007_B.jpg", "compreface/008_B.jpg")),
    "compreface C": Person(1, 30, ("compreface/009_C.jpg",)),
}
"""Of whom there are photos with nobody else in them. Those of CompreFace are annotated, the others are known."""


def noses() -> dict[str, list[Point]]:
    """The tip of the nose of every face in CompreFace's photos, pixels."""
    marks = _annotations("compreface")["nose_points_px"]
    return {f"compreface/{name}": [(x, y) for x, y in points] for name, points in marks.items()}


def groups() -> dict[str, list[Point]]:
    """The centre of every annotated face in dlib's group photos, pixels."""
    boxes = _annotations("dlib_faces")["boxes_left_top_width_height"]
    return {f"dlib_faces/{name}": [(x + w / 2, y + h / 2) for x, y, w, h in each] for name, each in boxes.items()}


def glasses() -> dict[str, bool]:
    """Whether the face of a photo wears glasses."""
    others = {path: path == "compreface/009_C.jpg" for path in bare_faces()}
    return others | {path: "/with_" in path for path in _photos("glasses")}


def masks() -> dict[str, bool]:
    """Whether a photo's faces wear masks."""
    bare = [*noses(), *groups(), *bare_faces(), *_photos("glasses")]
    return dict.fromkeys(bare, False) | dict.fromkeys(_photos("mask"), True)


def spoofs() -> dict[str, bool]:
    """Whether a photo shows pictures of people that were held before the camera, not people."""
    real = [*noses(), *groups(), *bare_faces(), *_photos("glasses")]
    return dict.fromkeys(real, False) | {path: "/image_F" in path for path in _photos("liveness")}


def strangers() -> list[str]:
    """Photos of one face each, of people that are in no other photo."""
    return _photos("glasses")


def plates() -> dict[str, str]:
    """What is written on the plate that fills a photo."""
    return {path: Path(path).stem for path in _photos("plates")}


def bare_faces() -> list[str]:
    """Photos of one face each, with nothing before it."""
    return [photo for person in PEOPLE.values() for photo in person.photos]


# Left out: photos that are copies of others, and faces whose eyes are less than 8 pixels wide, but for closed ones.
FACES = (
    Labelled("face_recognition/misc/obama3.jpg", 0.54, 0.19, "oo", SHUT, UNKNOWN),
    Labelled("face_recognition/misc/two_people.jpg", 0.77, 0.23, "oo", SHUT, UNKNOWN),
    Labelled("face_recognition/misc/two_people.jpg", 0.28, 0.19, "oo", SHUT, UNKNOWN),
    Labelled("face_recognition/test/alex_lacamoire1.jpg", 0.51, 0.32, "oo", TEETH, CAMERA),
    Labelled("face_recognition/test/johnsnow_test1.jpg", 0.46, 0.22, "oo", SHUT, UNKNOWN),
    Labelled("face_recognition/test/kit_with_rose.jpg", 0.61, 0.20, "oo", SHUT, CAMERA),
    Labelled("face_recognition/test/kit_with_rose.jpg", 0.23, 0.23, "oo", TEETH, CAMERA),
    Labelled("face_recognition/test/obama1.jpg", 0.48, 0.46, "oo", SHUT, UNKNOWN),
    Labelled("face_recognition/test/obama_and_biden.jpg", 0.62, 0.34, "oo", SHUT, UNKNOWN),
    Labelled("face_recognition/test/obama_and_biden.jpg", 0.42, 0.36, "co", TEETH, UNKNOWN),
    Labelled("face_recognition/train/alex_lacamoire/img1.jpg", 0.50, 0.29, "oo", TEETH, CAMERA),
    Labelled("face_recognition/train/biden/biden.jpg", 0.59, 0.17, "oo", SHUT, UNKNOWN),
    Labelled("face_recognition/train/biden/biden2.jpg", 0.54, 0.39, "oo", TEETH, CAMERA),
    Labelled("face_recognition/train/kit_harington/john1.jpeg", 0.62, 0.26, "oo", SHUT, CAMERA),
    Labelled("face_recognition/train/kit_harington/john2.jpeg", 0.62, 0.46, "oo", SHUT, UNKNOWN),
    Labelled("face_recognition/train/obama/obama.jpg", 0.54, 0.23, "oo", TEETH, CAMERA),
    Labelled("face_recognition/train/obama/obama2.jpg", 0.54, 0.36, "oo", APART, LEFT),
    Labelled("face_recognition/train/rose_leslie/img1.jpg", 0.59, 0.28, "oo", SHUT, CAMERA),
    Labelled("face_recognition/train/rose_leslie/img2.jpg", 0.51, 0.32, "oo", SHUT, CAMERA),
    Labelled("compreface/000_5.jpg", 0.74, 0.53, "oo", TEETH, CAMERA),
    Labelled("compreface/000_5.jpg", 0.58, 0.55, "oo", TEETH, CAMERA),
    Labelled("compreface/000_5.jpg", 0.36, 0.45, "oo", TEETH, CAMERA),
    Labelled("compreface/000_5.jpg", 0.26, 0.18, "??", TEETH, UNKNOWN),
    Labelled("compreface/000_5.jpg", 0.48, 0.40, "oo", SHUT, UNKNOWN),
    Labelled("compreface/002_A.jpg", 0.53, 0.44, "oo", SHUT, CAMERA),
    Labelled("compreface/004_A.jpg", 0.44, 0.47, "oo", SHUT, CAMERA),
    Labelled("compreface/007_B.jpg", 0.52, 0.46, "oo", SHUT, CAMERA),
    Labelled("compreface/009_C.jpg", 0.49, 0.43, "oo", SHUT, CAMERA),
    Labelled("compreface/010_2.jpg", 0.62, 0.45, "cc", TEETH, UNKNOWN),
    Labelled("compreface/011_3.jpg", 0.48, 0.40, "oo", TEETH, UNKNOWN),
    Labelled("compreface/011_3.jpg", 0.59, 0.44, "?c", TEETH, UNKNOWN),
    Labelled("compreface/011_3.jpg", 0.38, 0.48, "oo", TEETH, UNKNOWN),
    Labelled("compreface/012_4.jpg", 0.41, 0.43, "?c", TEETH, UNKNOWN),
    Labelled("compreface/013_4.jpg", 0.52, 0.35, "oo", TEETH, UNKNOWN),
    Labelled("compreface/013_4.jpg", 0.41, 0.34, "oo", TEETH, CAMERA),
    Labelled("compreface/013_4.jpg", 0.64, 0.35, "oo", TEETH, UNKNOWN),
    Labelled("compreface/013_4.jpg", 0.33, 0.35, "oo", TEETH, CAMERA),
    Labelled("compreface/014_5.jpg", 0.10, 0.53, "oo", SHUT, CAMERA),
    Labelled("compreface/014_5.jpg", 0.87, 0.56, "oo", SHUT, CAMERA),
    Labelled("dlib_faces/2008_001009.jpg", 0.48, 0.52, "oo", UNKNOWN, CAMERA),
    Labelled("dlib_faces/2008_001009.jpg", 0.51, 0.24, "??", TEETH, UNKNOWN),
    Labelled("dlib_faces/2008_001322.jpg", 0.80, 0.53, "oo", TEETH, CAMERA),
    Labelled("dlib_faces/2008_001322.jpg", 0.28, 0.51, "oo", SHUT, CAMERA),
    Labelled("dlib_faces/2008_001322.jpg", 0.53, 0.66, "oo", TEETH, CAMERA),
    Labelled("dlib_faces/2008_002506.jpg", 0.78, 0.35, "oo", TEETH, CAMERA),
    Labelled("dlib_faces/2008_002506.jpg", 0.33, 0.28, "oo", TEETH, CAMERA),
    Labelled("dlib_faces/2008_007676.jpg", 0.26, 0.49, "oo", TEETH, CAMERA),
    Labelled("dlib_faces/2008_007676.jpg", 0.43, 0.40, "cc", TEETH, UNKNOWN),
    Labelled("dlib_faces/2009_004587.jpg", 0.47, 0.16, "oo", SMILE, CAMERA),
    Labelled("dlib_faces/2009_004587.jpg", 0.75, 0.62, "oo", TEETH, CAMERA),
    Labelled("glasses/with_12.jpg", 0.47, 0.51, "??", SHUT, UNKNOWN),
    Labelled("glasses/with_13.jpg", 0.48, 0.60, "oo", SHUT, CAMERA),
    Labelled("glasses/with_18.jpg", 0.50, 0.47, "oo", SHUT, UNKNOWN),
    Labelled("glasses/with_2.jpg", 0.52, 0.48, "oo", SMILE, CAMERA),
    Labelled("glasses/with_3.jpg", 0.47, 0.50, "oo", SHUT, CAMERA),
    Labelled("glasses/with_8.jpg", 0.47, 0.46, "oo", SHUT, CAMERA),
    Labelled("glasses/without_0.jpg", 0.50, 0.47, "oo", SHUT, CAMERA),
    Labelled("glasses/without_1.jpg", 0.50, 0.44, "oo", SHUT, CAMERA),
    Labelled("glasses/without_3.jpg", 0.61, 0.33, "oo", SMILE, CAMERA),
    Labelled("glasses/without_4.jpg", 0.44, 0.43, "oo", SHUT, CAMERA),
    Labelled("glasses/without_5.jpg", 0.48, 0.49, "oo", SMILE, CAMERA),
    Labelled("glasses/without_7.jpg", 0.53, 0.46, "oo", SMILE, CAMERA),
    Labelled("liveness/image_F1.jpg", 0.59, 0.36, "oo", SHUT, CAMERA),
    Labelled("liveness/image_F2.jpg", 0.53, 0.57, "oo", SHUT, UNKNOWN),
    Labelled("liveness/image_T1.jpg", 0.43, 0.36, "oo", SHUT, RIGHT),
)
"""What faces do with their eyes and mouths."""

THINGS = {
    "objects/dog_bicycle_car.jpg": ("bicycle", "car", "dog"),
    "objects/cat.bmp": ("cat",),
    "objects/parrot.jpg": ("bird",),
    "compreface/017_0.jpg": (),
}
"""The things that a photo shows, in the words of COCO; those of the streets are too many to be listed."""

CARS = {
    "objects/cars_1.jpg": (
        (734, 263, "white"),
        (186, 279, "green"),
        (374, 252, "green"),
        (501, 229, "green"),
        (591, 223, "yellow"),
        (719, 187, "white"),
    ),
    "objects/cars_2.jpg": (
        (1974, 306, "white"),
        (597, 292, "black"),
        (2294, 368, "gray"),
        (298, 294, "gray"),
        (1065, 235, "gray"),
        (1600, 245, "gray"),
        (1238, 378, "gray"),
    ),
    "objects/dog_bicycle_car.jpg": ((580, 123, "white"),),
}
"""The middle of cars, pixels, and their colour; silver is gray. Those whose colour one cannot see are left out."""

TAGS = {"objects/cat.bmp": "cat", "objects/parrot.jpg": "macaw", "objects/cars_1.jpg": "cab"}
"""A word that is in one of a photo's tags."""


def _photos(folder: str) -> list[str]:
    return sorted(f"{folder}/{path.name}" for path in shared(folder).iterdir())


def _annotations(folder: str) -> Any:
    return json.loads(shared(f"{folder}/annotations.json").read_text())
