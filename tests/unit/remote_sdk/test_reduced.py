"""Large JPEGs are decoded reduced where nobody can tell: what is found stays where it is in the photo."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Pillow

from libs.common.wire.sdk import Image, SdkParams
from services.remote_sdk.decoding.port import Inside
from services.remote_sdk.networks.resnet import FaceDescriber
from services.remote_sdk.stages.chain import Face, Job
from services.remote_sdk.stages.crops import Box
from services.remote_sdk.stages.decode import AS_SHOWN, Limits, Picture, Wish
from services.remote_sdk.stages.view import FaceView
from tests.photos import astronaut_jpeg
from tests.unit.remote_sdk.looking import chain

FACE_PX = 96  # of the astronaut's face, as dlib's detector boxes it, in her photo of 512 pixels


class Noting(Inside):
    """Says by how much each picture was reduced."""

    def __init__(self) -> None:
        super().__init__(Limits(20_000_000, 20_000_000))
        self.reduced: list[int] = []

    def decode(self, data: bytes, content_type: str | None, wish: Wish = AS_SHOWN) -> Picture:
        picture = super().decode(data, content_type, wish)
        self.reduced.append(picture.reduced)
        return picture


def centre_of_crop(view: FaceView) -> np.ndarray:
    return view.cut(Box(view.box.left, view.box.top, view.box.right, view.box.bottom), (64, 64)).in_picture(
        np.array([[0.5, 0.5]])
    )


def found(side: int, reduce_to: int | None, params: SdkParams = SdkParams()) -> tuple[Face, list[int]]:  # noqa: B008
    """The face of the astronaut in a square photo, and how its decodings were reduced."""
    encoded = io.BytesIO()
    Pillow.open(io.BytesIO(astronaut_jpeg())).resize((side, side)).save(encoded, "JPEG", quality=95)
    noting = Noting()
    croppers = {"chip": lambda view: view.chip, "centre": centre_of_crop}
    looking = replace(chain(), decoder=noting, reduce_to=reduce_to, croppers=croppers)
    [seen] = looking.run([Job(Image(filename="photo", data=encoded.getvalue()), params, ("chip", "centre"))])
    assert not isinstance(seen, Exception)
    return seen.faces[0], noting.reduced


@pytest.fixture(scope="module")
def whole() -> Face:
    return found(2048, None)[0]


def test_a_large_face_is_found_described_and_cut_out_of_half_a_picture_as_out_of_the_whole(whole: Face) -> None:
    half, reduced = found(2048, 1000)
    assert reduced == [2]
    assert_same_place(half, whole)
    one, other = FaceDescriber().describe(np.stack([half.crops["chip"], whole.crops["chip"]]))
    assert np.linalg.norm(one - other) < 0.15
    assert abs(half.fitness - whole.fitness) < 0.1


def test_a_face_too_small_for_its_chip_is_cut_out_of_the_whole_picture(whole: Face) -> None:
    again, reduced = found(2048, 500)  # at a quarter it has 96 pixels, and a chip shows 100
    assert reduced == [4, 1]
    assert_same_place(again, whole)


@pytest.mark.parametrize("params", [SdkParams(detect_body=1), SdkParams(estimate_portrait=1)])
def test_what_looks_at_more_than_faces_gets_the_whole_picture(params: SdkParams) -> None:
    assert found(1024, 500, params)[1] == [1]


def test_a_picture_that_is_not_large_stays_whole() -> None:
    assert found(1024, 1000)[1] == [1]


def assert_same_place(face: Face, expected: Face) -> None:
    width = 4 * FACE_PX
    assert face.landmarks is not None
    assert expected.landmarks is not None
    assert np.abs(face.landmarks - expected.landmarks).max() < 0.06 * width
    assert np.abs(face.crops["centre"] - expected.crops["centre"]).max() < 0.06 * width
    box, other = face.rect, expected.rect
    assert max(abs(box.x - other.x), abs(box.y - other.y), abs(box.width - other.width)) < 0.08 * width
