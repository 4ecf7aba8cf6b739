"""The chain of stages over real models, for tests that look at real photos."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from libs.common.wire.sdk import Image, SdkParams
from services.remote_sdk.decoding.port import Inside
from services.remote_sdk.detectors.mmod import Mmod
from services.remote_sdk.networks.landmarks import Landmarks5
from services.remote_sdk.networks.mmod import FaceDetector
from services.remote_sdk.networks.precision import choose
from services.remote_sdk.stages.chain import Chain, Face, Job, Seen
from services.remote_sdk.stages.decode import Limits, Pixels, encode_jpeg


@cache
def chain() -> Chain:
    """With the default search, in fp32, so that results do not depend on the machine."""
    detector, limits = Mmod(FaceDetector(choose("cpu", "float32"))), Limits(10_000_000, 10_000_000)
    return Chain(detector, Landmarks5(), Inside(limits), {"chip": lambda view: view.chip})


def picture(data: bytes) -> Pillow.Image:
    return Pillow.open(io.BytesIO(data)).convert("RGB")


@cache
def look(data: bytes) -> Seen:
    """What one picture gave; searched for once per picture. Raises what the stages raise."""
    [outcome] = chain().run([Job(Image(filename="photo", data=data), SdkParams(), ("chip",))])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def face_of(photo: bytes | Pillow.Image) -> Face:
    """The largest face of a picture that has one."""
    return look(photo if isinstance(photo, bytes) else encode_jpeg(np.asarray(photo))).faces[0]


def photo(path: Path) -> Pixels:
    """The pixels of a file, uint8 (h, w, 3), RGB."""
    with Pillow.open(path) as opened:
        return np.asarray(opened.convert("RGB"))
