"""Real photos for every test. The two public-domain ones come with PyPI packages; the others may be absent.

``shared("face_recognition/test/obama1.jpg")`` looks in the folder that MIEN_SHARED names, else in
``../shared/images`` beside the repository, and skips the test that asks when there is no such picture.
"""

from __future__ import annotations

import io
import os
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

SHARED = Path(os.environ.get("MIEN_SHARED") or Path(__file__).resolve().parents[2] / "shared" / "images")


@cache
def astronaut_jpeg() -> bytes:
    """Eileen Collins, NASA, public domain: 512 x 512 pixels, one frontal face and a helmet."""
    skimage_data = pytest.importorskip("skimage.data", reason="scikit-image brings the astronaut")
    return _jpeg(Image.fromarray(skimage_data.astronaut()))


@cache
def grace_hopper_jpeg() -> bytes:
    """Grace Hopper, US Navy, public domain: 512 x 600 pixels, one face."""
    cbook = pytest.importorskip("matplotlib.cbook", reason="matplotlib brings Grace Hopper")
    with cbook.get_sample_data("grace_hopper.jpg") as stream:
        return stream.read()


@cache
def nobody_jpeg() -> bytes:
    """A cup of coffee, CC0: 600 x 400 pixels, nobody in it."""
    skimage_data = pytest.importorskip("skimage.data", reason="scikit-image brings the coffee")
    return _jpeg(Image.fromarray(skimage_data.coffee()))


def shared(path: str) -> Path:
    """A picture (or a folder) of the shared set, by its path inside it. Skips the test when it is not there."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"no {path} in {SHARED}: set MIEN_SHARED to the folder of shared test pictures")
    return found


def _jpeg(picture: Image.Image) -> bytes:
    encoded = io.BytesIO()
    picture.convert("RGB").save(encoded, "JPEG", quality=95)
    return encoded.getvalue()
