"""What faces of the shared photos do with their eyes and mouths, written down by looking at each of them."""

from __future__ import annotations

import io
from functools import cache
from typing import NamedTuple

from PIL import Image as Pillow
from PIL import ImageOps

from libs.common.wire.estimations import Rect
from services.remote_sdk.estimators.port import Findings
from tests.photos import shared
from tests.unit.remote_sdk.finding import findings_of, look

POSE, GAZE = "head-pose-estimation-adas-0001", "gaze-estimation-adas-0002"
EYES, MOUTH = "open-closed-eye-0001", "face-api-landmarks68"
MODELS = (POSE, GAZE, EYES, MOUTH)
SHUT, SMILE, TEETH, APART, UNKNOWN = "shut", "smile", "smile with teeth", "apart, no smile", "unknown"
CAMERA, LEFT, RIGHT = "into the camera", "to the left of the picture", "to the right of the picture"


class Labelled(NamedTuple):
    """``x``, ``y``: the middle of the face in parts of the picture. ``eyes``: of the one on the left of the picture,
    then the other: "o" open, "c" closed (or a slit that shows no iris), "?" hidden, in the dark or behind glare."""

    path: str
    x: float
    y: float
    eyes: str
    mouth: str
    looks: str


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


@cache
def findings() -> dict[Labelled, Findings]:
    """What gaze, eyes, mouth and head pose were found to be of each labelled face."""
    found: dict[Labelled, Findings] = {}
    for path in dict.fromkeys(face.path for face in FACES):
        data = shared(path).read_bytes()
        size, faces = ImageOps.exif_transpose(Pillow.open(io.BytesIO(data))).size, look(data, *MODELS)
        everything = findings_of(faces, *MODELS)
        for face in (each for each in FACES if each.path == path):
            away = [_away(face, each.rect, size) for each in faces]
            assert min(away) < 0.03, face
            found[face] = everything[away.index(min(away))]
    return found


def _away(face: Labelled, rect: Rect, size: tuple[int, int]) -> float:
    """In parts of the picture."""
    x, y = (rect.x + rect.width / 2) / size[0], (rect.y + rect.height / 2) / size[1]
    return max(abs(x - face.x), abs(y - face.y))


@cache
def in_the_mirror() -> list[tuple[Findings, Findings]]:
    """The largest face of each photo as it is and mirrored, both from the same pixels."""
    return [_both_ways(path) for path in dict.fromkeys(face.path for face in FACES)]


def _both_ways(path: str) -> tuple[Findings, Findings]:
    picture = ImageOps.exif_transpose(Pillow.open(shared(path))).convert("RGB")
    picture.thumbnail((800, 800))
    upright, mirrored = (look(_png(each), *MODELS)[:1] for each in (picture, ImageOps.mirror(picture)))
    return findings_of(upright, *MODELS)[0], findings_of(mirrored, *MODELS)[0]


def _png(picture: Pillow.Image) -> bytes:
    encoded = io.BytesIO()
    picture.save(encoded, "PNG", compress_level=1)
    return encoded.getvalue()
