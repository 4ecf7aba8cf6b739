"""What is found of the eyes and mouths of the labelled faces (`tests/labels.py`)."""

from __future__ import annotations

import io
from functools import cache

from PIL import Image as Pillow
from PIL import ImageOps

from libs.common.wire.estimations import Rect
from services.remote_sdk.estimators.port import Findings
from tests.labels import FACES, Labelled
from tests.photos import shared
from tests.unit.remote_sdk.finding import findings_of, look

POSE, GAZE = "head-pose-estimation-adas-0001", "gaze-estimation-adas-0002"
EYES, MOUTH = "open-closed-eye-0001", "face-api-landmarks68"
MODELS = (POSE, GAZE, EYES, MOUTH)


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
    upright, mirrored = (look(_bmp(each), *MODELS)[:1] for each in (picture, ImageOps.mirror(picture)))
    return findings_of(upright, *MODELS)[0], findings_of(mirrored, *MODELS)[0]


def _bmp(picture: Pillow.Image) -> bytes:
    encoded = io.BytesIO()
    picture.save(encoded, "BMP")
    return encoded.getvalue()
