"""Faces in their photos as estimators see them, so that tests may change the photo about a face that is known."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from libs.common.wire.sdk import Image, SdkParams
from services.remote_sdk.decoding.port import Inside
from services.remote_sdk.detectors.yunet import YuNet
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.networks.chip import face_chips
from services.remote_sdk.stages.chain import WARP_PADDING, WARP_SIZE, Chain, Job, warp_view
from services.remote_sdk.stages.decode import encode_jpeg
from services.remote_sdk.stages.view import FaceView
from tests.photos import shared
from tests.unit.remote_sdk.finding import LIMITS, estimator, landmarks
from tests.unit.remote_sdk.models import opened

FOLDERS = ("face_recognition", "compreface", "glasses")


@cache
def chain() -> Chain:
    return Chain(YuNet(opened("yunet")), landmarks(), Inside(LIMITS), {"view": lambda view: view}, reduce_to=1600)


def views(data: bytes) -> list[FaceView]:
    """The faces that YuNet finds, largest first."""
    [seen] = chain().run([Job(Image(filename="photo", data=data), SdkParams(), ("view",))])
    assert not isinstance(seen, Exception)
    return [face.crops["view"] for face in seen.faces]


def face(path: str) -> FaceView:
    """The largest of a shared photo."""
    return views(shared(path).read_bytes())[0]


@cache
def everyone() -> list[tuple[str, list[FaceView]]]:
    """All photos of people without masks who stood before the camera themselves: 82 faces, 26 pixels wide and more."""
    return [(f"{path.parent.name}/{path.name}", views(path.read_bytes())) for path in _photos()]


def _photos() -> list[Path]:
    files = [path for folder in FOLDERS for path in sorted(shared(folder).rglob("*"))]
    return [path for path in files if path.suffix in (".jpg", ".jpeg", ".png")]


def found(model: str, view: FaceView) -> Findings:
    """What a model finds of a face alone."""
    one = estimator(model)
    [findings] = one.run([one.crop(view)])
    return findings


def seen_in(picture: Pillow.Image) -> list[FaceView]:
    """The faces of a picture that a test has made."""
    return views(encode_jpeg(np.asarray(picture)))


def seen_again(picture: Pillow.Image) -> FaceView:
    """The largest of them."""
    return seen_in(picture)[0]


def warp_of(view: FaceView) -> FaceView:
    """The face of its warp."""
    return warp_view(face_chips(view.pixels, view.corners[None], WARP_SIZE, WARP_PADDING)[0])
