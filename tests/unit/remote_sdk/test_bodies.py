"""Bodies on real photos: found, joined with their faces, described, and how they are dressed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from libs.common.descriptors import OMZ_REID, vector
from libs.common.errors import Code, MienError
from libs.common.settings import SdkSettings
from libs.common.wire.estimations import Descriptor
from libs.common.wire.sdk import Image, SdkParams
from services.remote_sdk.catalogue import Catalogue
from services.remote_sdk.decoding.port import Inside
from services.remote_sdk.detectors.fastestdet import FastestDet
from services.remote_sdk.detectors.omz_ssd import OmzSsd
from services.remote_sdk.detectors.port import Detector
from services.remote_sdk.detectors.yunet import YuNet
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.kinds import BODY_ESTIMATORS
from services.remote_sdk.models.library import Library
from services.remote_sdk.networks.landmarks import Landmarks5
from services.remote_sdk.stages.bodies import persons
from services.remote_sdk.stages.chain import Chain, Job, Seen
from services.remote_sdk.stages.colours import colours
from services.remote_sdk.stages.decode import Limits, encode_jpeg
from services.remote_sdk.stages.surroundings import Surroundings
from tests import labels
from tests.photos import shared
from tests.unit.remote_sdk.looking import photo
from tests.unit.remote_sdk.models import opened

REID, DRESS = "person-reidentification-retail-0287", "person-attributes-recognition-crossroad-0230"
DETECTORS = {"fastestdet": FastestDet, "pedestrian-detection-adas-0002": OmzSsd}


@cache
def detector(name: str = "fastestdet") -> Detector:
    return DETECTORS[name](opened(name))


@cache
def estimator(name: str) -> Any:
    model = opened(name)
    return BODY_ESTIMATORS[model.manifest.kind](model)


@cache
def chain() -> Chain:
    limits = Limits(50_000_000, 50_000_000)
    croppers = {name: estimator(name).crop for name in (REID, DRESS)}
    return Chain(
        YuNet(opened("yunet")),
        Landmarks5(),
        Inside(limits),
        body_croppers=croppers,
        for_warps=frozenset(croppers),
        surroundings=Surroundings({"body_detection": detector(), "people_count": detector()}),
    )


def look(data: bytes, **params: Any) -> Seen:
    """What is seen; raises what the chain raises."""
    asked = SdkParams(**{"detect_body": 1, "estimate_body_warp": 1, **params})
    [seen] = chain().run([Job(Image(filename="a", data=data), asked, (REID, DRESS))])
    if isinstance(seen, Exception):
        raise seen
    return seen


def read(path: str) -> bytes:
    return shared(path).read_bytes()


def estimated(seen: Seen, name: str) -> list[Findings]:
    return estimator(name).run([body.crops[name] for body in seen.bodies])


def values(found: Descriptor) -> np.ndarray:
    return vector(found.version, found.data)


def test_fastestdet_finds_nine_of_ten_bodies_of_the_faces() -> None:
    """85 faces are annotated; whoever is found has the nose or the face's centre in the upper half of the box."""
    found = 0
    for path, points in (labels.noses() | labels.groups()).items():
        bodies = persons(detector().detect([photo(shared(path))])[0])
        for x, y in points:
            mine = [b for b in bodies if b.left < x < b.right and b.top < y < b.centre[1]]
            if mine:
                bodies.remove(min(mine, key=lambda body: abs(body.centre[0] - x)))
                found += 1
    assert found >= 74


@pytest.mark.parametrize("name", list(DETECTORS))
def test_detectors_see_a_couple_and_no_persons_where_there_are_none(name: str) -> None:
    couple, landscape = photo(shared("face_recognition/test/kit_with_rose.jpg")), photo(shared("compreface/017_0.jpg"))
    found = [persons(each) for each in detector(name).detect([couple, landscape, photo(shared("objects/cat.bmp"))])]
    assert [len(each) >= 2 for each in found] == [True, False, False]
    assert found[1:] == [[], []]
    assert all(0 < body.score <= 1 for body in found[0])


def test_people_are_counted_whether_they_show_a_face_or_a_body() -> None:
    off = []
    for path, points in (labels.noses() | labels.groups()).items():
        people = look(read(path), detect_body=0, estimate_people_count=1).around.people
        assert people is not None
        assert people.coordinates is not None
        assert len(people.coordinates) == people.count >= len(points)
        off.append(people.count - len(points))
    assert sum(off) <= 12, "backs and people in the background count, too"


def test_counting_needs_no_coordinates_and_does_not_depend_on_what_else_is_detected() -> None:
    data = read("compreface/012_4.jpg")
    asked = {"estimate_people_count": 1, "people_count_coordinates": 0}
    counted = [look(data, **asked, detect_face=flag, detect_body=1 - flag).around.people for flag in (0, 1)]
    assert [each.model_dump() for each in counted if each] == [{"count": 4, "coordinates": None}] * 2


def test_people_with_faces_come_first_each_with_the_body_below() -> None:
    seen = look(read("compreface/013_4.jpg"))  # one of four has no body of his own
    assert sorted(bool(one.body) for one in seen.people) == [False, True, True, True]
    assert [one.face is not None for one in seen.people] == sorted(
        (bool(one.face) for one in seen.people), reverse=True
    )
    sizes = [face.rect.width * face.rect.height for face in seen.faces]
    assert sizes == sorted(sizes, reverse=True)
    for one in seen.people:
        if one.face and one.body:
            assert one.body.rect.x < one.face.rect.x
            assert one.body.rect.height > one.face.rect.height


def test_without_faces_or_without_bodies_the_other_side_is_missing() -> None:
    data = read("face_recognition/test/kit_with_rose.jpg")
    assert [(one.face is None, one.body is None) for one in look(data, detect_face=0).people] == [(True, False)] * 2
    assert [(one.face is None, one.body is None) for one in look(data, detect_body=0).people] == [(False, True)] * 2


def test_the_multiface_policy_is_about_bodies_too() -> None:
    data = read("face_recognition/test/kit_with_rose.jpg")
    with pytest.raises(MienError) as refused:
        look(data, detect_face=0, multiface_policy=0)
    assert refused.value.code is Code.SEVERAL_BODIES
    with pytest.raises(MienError) as refused:
        look(data, multiface_policy=0)
    assert refused.value.code is Code.SEVERAL_FACES
    [best] = look(data, multiface_policy=2).people
    assert best.face is not None
    assert best.body is not None
    assert len(look(data, detect_face=0, multiface_policy=2).people) == 1


def test_a_warp_is_described_like_the_body_it_was_made_of() -> None:
    seen = look(read("face_recognition/test/kit_with_rose.jpg"))
    for body, found in zip(seen.bodies, estimated(seen, REID), strict=True):
        assert body.warp is not None
        again = look(body.warp, image_type=2)
        [described] = estimated(again, REID)
        assert values(found["descriptor"]) @ values(described["descriptor"]) > 0.98
        assert (again.bodies[0].rect.width, again.bodies[0].rect.height) == (128, 256)
    with pytest.raises(MienError, match=r"501 x 700 pixels; a body warp \(image_type 2\) has 128 x 256") as refused:
        look(read("face_recognition/test/kit_with_rose.jpg"), image_type=2)
    assert refused.value.code is Code.BAD_IMAGE_SIZE


def test_bodies_are_told_apart_and_known_again_in_another_light_and_mirrored() -> None:
    paths = ("compreface/012_4.jpg", "dlib_faces/2008_002470.jpg", "face_recognition/test/kit_with_rose.jpg")
    same, other = [], []
    for path in paths:
        picture = photo(shared(path))
        seen = look(encode_jpeg(picture))
        mirrored = look(encode_jpeg(np.ascontiguousarray(picture[:, ::-1])))
        dark = look(encode_jpeg((picture * 0.7).astype(np.uint8)))
        first = np.stack([values(each["descriptor"]) for each in estimated(seen, REID)])
        assert np.allclose(np.linalg.norm(first, axis=1), 1, atol=1e-4)
        for again, flipped in ((mirrored, True), (dark, False)):
            vectors = np.stack([values(each["descriptor"]) for each in estimated(again, REID)])
            for number, body in enumerate(seen.bodies):
                x = body.rect.x + body.rect.width / 2
                x = picture.shape[1] - x if flipped else x
                places = [abs(each.rect.x + each.rect.width / 2 - x) for each in again.bodies]
                near = int(np.argmin(places))
                distances = np.linalg.norm(vectors - first[number], axis=1)
                same.append(float(OMZ_REID.similarity(distances[near])))
                other += [float(OMZ_REID.similarity(each)) for at, each in enumerate(distances) if at != near]
    assert np.mean(np.array(same) >= 0.8) >= 0.9
    assert np.mean(np.array(other) >= 0.5) <= 0.05
    assert max(other) < 0.8


@pytest.mark.parametrize(
    ("path", "number", "upper"),
    [
        ("compreface/004_A.jpg", 1, "black"),
        ("dlib_faces/2008_002470.jpg", None, "red"),
        ("compreface/012_4.jpg", 1, "red"),
        ("compreface/012_4.jpg", 2, "blue"),
    ],
)
def test_the_colour_of_clothes_is_named(path: str, number: int | None, upper: str) -> None:
    """``number``: of the body from the left; None: of any."""
    seen = look(read(path), detect_face=0)
    order = np.argsort([body.rect.x for body in seen.bodies])
    named = [found["upper_body"].upper_clothing.colors for found in estimated(seen, DRESS)]
    wanted = [named[at] for at in order] if number is None else [named[order[number]]]
    assert any(upper in each for each in wanted), [named[at] for at in order]


def test_sex_is_mostly_right_and_doubted_otherwise() -> None:
    """12 people whose sex is plain to see, most of them cut off or seated: the network was taught with whole bodies."""
    truth = {
        "compreface/004_A.jpg": "f",
        "compreface/010_2.jpg": "ff",
        "compreface/012_4.jpg": "mfmf",
        "face_recognition/test/kit_with_rose.jpg": "fm",
        "face_recognition/test/alex_lacamoire1.jpg": "m",
        "face_recognition/misc/two_people.jpg": "mm",
    }
    right = wrong = 0
    for path, sexes in truth.items():
        seen = look(read(path))
        people = sorted(
            (one for one in seen.people if one.face and one.body), key=lambda one: one.body.rect.x if one.body else 0
        )
        crops = [one.body.crops[DRESS] for one in people if one.body]
        codes = [found["basic_attributes"].apparent_gender for found in estimator(DRESS).run(crops)]
        right += sum(code == int(sex == "m") for code, sex in zip(codes, sexes, strict=True))
        wrong += sum(code == int(sex == "f") for code, sex in zip(codes, sexes, strict=True))
    assert right >= 5
    assert wrong == 0


def test_of_people_who_stand_alone_no_sex_is_told_wrong_however_much_is_seen_of_them() -> None:
    told = []
    for person in labels.PEOPLE.values():
        for path in person.photos:
            first = [one.body for one in look(read(path)).people[:1] if one.body]
            found = estimator(DRESS).run([body.crops[DRESS] for body in first]) if first else []
            told += [(each["basic_attributes"].apparent_gender, person.sex) for each in found]
    assert len(told) >= 17
    assert all(sex in (known, 2) for sex, known in told)
    assert sum(sex == known for sex, known in told) >= 5


def test_what_the_network_does_not_know_is_undefined() -> None:
    seen = look(read("face_recognition/test/alex_lacamoire1.jpg"))
    [found] = estimated(seen, DRESS)
    assert found["basic_attributes"].apparent_age is None
    assert found["lower_body"].model_dump() == {
        "lower_garment": {"type": "undefined", "colors": ["undefined"]},
        "shoes": {"apparent_color": "undefined"},
    }
    assert found["upper_body"].headwear.state == 0
    assert found["upper_body"].headwear.apparent_color == "undefined"


PAINTS = {
    "black": "#101010",
    "white": "#f4f4f4",
    "gray": "#808080",
    "red": "#c01020",
    "orange": "#e87010",
    "yellow": "#e8d020",
    "green": "#208030",
    "blue": "#2040a0",
    "purple": "#702090",
    "pink": "#f080b0",
    "brown": "#6b4423",
    "beige": "#d8c8a0",
}


@pytest.mark.parametrize(("name", "paint"), PAINTS.items())
def test_paints_have_their_usual_names(name: str, paint: str) -> None:
    assert colours(np.asarray(Pillow.new("RGB", (8, 8), paint))) == [name]


def test_two_colours_are_two_and_many_are_multicolored() -> None:
    def striped(*names: str) -> np.ndarray:
        return np.concatenate([np.asarray(Pillow.new("RGB", (12, 2), PAINTS[name])) for name in names])

    assert set(colours(striped("red", "white"))) == {"red", "white"}
    assert colours(striped("red", "white", "blue", "green")) == ["multicolored"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"detect_body": 1}, "body_detection.*mien models add fastestdet"),
        ({"estimate_body_descriptor": 1}, "body_descriptor.*mien models add person-reidentification-retail-0287"),
        ({"estimate_upper_body": 1}, "upper_body.*mien models add person-attributes-recognition-crossroad-0230"),
        ({"estimate_people_count": 1}, "people_count.*mien models add fastestdet"),
        ({"estimate_objects": 1}, "objects.*mien models add fastestdet"),
        ({"estimate_vehicles": 1}, "vehicle_detection.*mien models add fastestdet"),
        ({"estimate_tags": 1}, "image_tags.*mien models add imagenet-mobilenet-v2"),
        ({"estimate_plates": 1}, "plate_text.*mien models add lprnet DIR"),
    ],
)
def test_without_its_model_a_slot_says_what_to_install(tmp_path: Path, asked: dict[str, int], said: str) -> None:
    with pytest.raises(MienError, match=said) as missing:
        Catalogue(Library(tmp_path), SdkSettings()).require(SdkParams(**asked))  # type: ignore[arg-type]
    assert missing.value.code is Code.ESTIMATOR_MISSING
