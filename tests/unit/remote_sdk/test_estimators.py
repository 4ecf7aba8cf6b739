"""Estimators of the catalogue on real photos, from the picture to the wire's values."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageOps

from libs.common.wire.estimations import EMOTIONS, BasicAttributes, HeadPose
from libs.common.wire.sdk import SdkParams
from services.remote_sdk.estimators.descriptor import ArcFace
from services.remote_sdk.stages.chain import warp_view
from services.remote_sdk.stages.decode import decode, encode_jpeg
from tests.labels import PEOPLE
from tests.photos import shared
from tests.unit.remote_sdk.finding import LIMITS, estimated, estimator, look
from tests.unit.remote_sdk.looking import photo
from tests.unit.remote_sdk.models import opened


def attributes(path: str, name: str) -> BasicAttributes:
    return estimated(shared(path).read_bytes(), name)[0]["basic_attributes"]


@pytest.mark.parametrize(("name", "error"), [("face-api-age-gender", 6), ("age-gender-recognition-retail-0013", 12)])
def test_age_and_sex_are_plausible(name: str, error: float) -> None:
    errors, wrong = [], 0
    for person in PEOPLE.values():
        for path in person.photos:
            found = attributes(path, name)
            assert found.age is not None
            errors.append(abs(found.age - person.age))
            wrong += found.gender != person.sex
            assert found.ethnicities is None
    assert wrong == 0
    assert np.mean(errors) < error


@pytest.mark.parametrize("name", ["face-api-expression", "mini-xception"])
def test_a_smile_is_happiness_in_the_words_of_the_wire(name: str) -> None:
    [found] = estimated(shared("face_recognition/misc/obama-480p.jpg").read_bytes(), name)
    emotions = found["emotions"]
    assert emotions.predominant_emotion == "happiness"
    assert set(emotions.estimations) == set(EMOTIONS.values())
    assert sum(emotions.estimations.values()) == pytest.approx(1, abs=0.01)


def test_a_serious_portrait_is_neutral() -> None:
    [found] = estimated(shared("face_recognition/train/kit_harington/john1.jpeg").read_bytes(), "face-api-expression")
    assert found["emotions"].predominant_emotion == "neutral"


def test_68_points_lie_on_the_face_in_pixels_of_the_picture() -> None:
    data = shared("face_recognition/misc/two_people.jpg").read_bytes()
    faces = look(data, "face-api-landmarks68")
    assert len(faces) == 2
    for face, found in zip(faces, estimated(data, "face-api-landmarks68"), strict=True):
        points, five = np.array(found["landmarks68"]), face.landmarks
        assert points.shape == (68, 2)
        assert five is not None
        # Means of the eyes' points (36..41 and 42..47), the tip of the nose, the corners of the mouth.
        own = np.array([points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]])
        size = max(np.linalg.norm(five[1] - five[0]), np.linalg.norm(five[:2].mean(0) - five[3:].mean(0)))
        away = np.linalg.norm(own - five, axis=1) / size
        assert away.max() < 0.2
        assert away.mean() < 0.15


def pose(picture: Pillow.Image) -> tuple[HeadPose, HeadPose]:
    """By the network, and by geometry."""
    data = encode_jpeg(np.asarray(picture))
    [face] = look(data, "head-pose-estimation-adas-0001")
    [found] = estimated(data, "head-pose-estimation-adas-0001")
    return found["head_pose"], face.findings["head_pose"]


@pytest.mark.parametrize(
    ("path", "axis"),
    [
        ("face_recognition/train/obama/obama2.jpg", "yaw"),
        ("face_recognition/train/kit_harington/john2.jpeg", "yaw"),
        ("compreface/008_B.jpg", "yaw"),
        ("face_recognition/misc/obama3.jpg", "pitch"),
    ],
)
def test_a_turned_head_has_the_signs_of_the_geometry_and_is_mirrored_in_the_mirror(path: str, axis: str) -> None:
    picture = Pillow.fromarray(photo(shared(path)))
    picture.thumbnail((1000, 1000))
    by_network, by_geometry = pose(picture)
    mirrored, _ = pose(ImageOps.mirror(picture))
    angle = getattr(by_network, axis)
    assert abs(angle) > 12
    assert angle == pytest.approx(getattr(by_geometry, axis), abs=12)
    assert mirrored.yaw == pytest.approx(-by_network.yaw, abs=5)
    assert mirrored.pitch == pytest.approx(by_network.pitch, abs=5)
    assert mirrored.roll == pytest.approx(-by_network.roll, abs=3)


@pytest.mark.parametrize("path", ["misc/obama-480p.jpg", "train/obama/obama2.jpg", "train/rose_leslie/img2.jpg"])
def test_a_photo_that_is_rotated_changes_the_roll_and_nothing_else(path: str) -> None:
    picture = Pillow.fromarray(photo(shared(f"face_recognition/{path}")))
    picture.thumbnail((1000, 1000))
    upright, _ = pose(picture)
    for degrees in (-25, 15, 25):
        turned, _ = pose(picture.rotate(-degrees, Pillow.Resampling.BICUBIC))
        assert turned.roll - upright.roll == pytest.approx(degrees, abs=2)
        assert turned.yaw == pytest.approx(upright.yaw, abs=7)
        assert turned.pitch == pytest.approx(upright.pitch, abs=10)


def test_faces_are_estimated_alike_alone_and_in_a_batch() -> None:
    paths = ("misc/obama-480p.jpg", "train/rose_leslie/img2.jpg", "train/biden/biden2.jpg")
    for name in ("face-api-age-gender", "face-api-expression"):
        crops = [look(shared(f"face_recognition/{path}").read_bytes(), name)[0].crops[name] for path in paths]
        alone = [estimator(name).run([crop])[0] for crop in crops]
        assert estimator(name).run(crops) == alone


def test_a_warp_tells_age_and_sex_like_its_picture() -> None:
    data = shared("face_recognition/train/rose_leslie/img2.jpg").read_bytes()
    [face] = look(data, params=SdkParams(estimate_face_warp=1))
    assert face.warp is not None
    view = warp_view(decode(face.warp, "image/jpeg", LIMITS).pixels)
    age_and_sex = estimator("face-api-age-gender")
    [of_warp] = age_and_sex.run([age_and_sex.crop(view)])
    [of_picture] = estimated(data, "face-api-age-gender")
    assert of_warp["basic_attributes"].gender == of_picture["basic_attributes"].gender == 0
    assert of_warp["basic_attributes"].age == pytest.approx(of_picture["basic_attributes"].age, abs=8)


def test_arcface_tells_people_apart_whoever_detects_them() -> None:
    describer = ArcFace(opened("mobilefacenet"))
    assert describer.version == 1002
    vectors = {
        name: [describer.run([look(shared(path).read_bytes())[0].crops["mobilefacenet"]])[0] for path in person.photos]
        for name, person in PEOPLE.items()
    }
    everyone = [(person, vector) for person, own in vectors.items() for vector in own]
    assert all(np.linalg.norm(vector) == pytest.approx(1, abs=1e-4) for _, vector in everyone)
    for number, (person, vector) in enumerate(everyone):
        for other, another in everyone[:number]:
            distance = float(np.linalg.norm(vector - another))
            assert (distance < 1.03) == (person == other), (person, other, distance)
