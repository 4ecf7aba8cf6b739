"""Things, vehicles, tags and plates on real photos."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from libs.common.wire.estimations import Rect
from libs.common.wire.sdk import SdkParams
from services.remote_sdk.detectors.fastestdet import FastestDet
from services.remote_sdk.kinds import THING_ESTIMATORS
from services.remote_sdk.stages.crops import Box
from services.remote_sdk.stages.decode import Picture
from services.remote_sdk.stages.surroundings import Around, Surroundings, Thing
from services.remote_sdk.stages.view import BodyView
from tests import labels
from tests.photos import shared
from tests.unit.remote_sdk.looking import photo
from tests.unit.remote_sdk.models import opened

MODELS = {
    "vehicle_attributes": "vehicle-attributes-recognition-barrier-0039",
    "image_tags": "imagenet-mobilenet-v2",
    "plate_text": "lprnet",
}


@cache
def estimator(name: str) -> Any:
    model = opened(name)
    return THING_ESTIMATORS[model.manifest.kind](model)


@cache
def surroundings() -> Surroundings:
    detector = FastestDet(opened("fastestdet"))
    croppers = {slot: (name, estimator(name).crop) for slot, name in MODELS.items()}
    return Surroundings({"objects": detector, "vehicle_detection": detector}, croppers)


def around(pixels: np.ndarray, **params: Any) -> Around:
    return surroundings().search(Picture(pixels)).around(SdkParams(**params), list)


def found(things: list[Thing] | None, slot: str) -> list[dict[str, Any]]:
    assert things is not None
    return estimator(MODELS[slot]).run([thing.crops[MODELS[slot]] for thing in things])


def overlap(thing: Rect, other: tuple[int, int, int, int]) -> float:
    """Intersection over union; other: left, top, right, bottom."""
    across = min(thing.x + thing.width, other[2]) - max(thing.x, other[0])
    down = min(thing.y + thing.height, other[3]) - max(thing.y, other[1])
    both = max(across, 0) * max(down, 0)
    return both / (thing.width * thing.height + (other[2] - other[0]) * (other[3] - other[1]) - both)


def test_things_are_named_and_boxed() -> None:
    things = around(photo(shared("objects/dog_bicycle_car.jpg")), estimate_objects=1).objects
    assert things is not None
    where = {"dog": (130, 220, 312, 540), "bicycle": (120, 118, 568, 428), "car": (466, 76, 690, 172)}
    assert sorted(thing.label for thing in things) == sorted(where)
    for thing in things:
        assert overlap(thing.rect, where[thing.label]) > 0.6
        assert 0.5 < thing.score <= 1
    for path, label in (("objects/cat.bmp", "cat"), ("objects/parrot.jpg", "bird")):
        [thing] = around(photo(shared(path)), estimate_objects=1).objects or []
        assert thing.label == label
    assert around(photo(shared("compreface/017_0.jpg")), estimate_objects=1).objects == []


def test_vehicles_have_a_type_and_motor_vehicles_a_colour() -> None:
    seen = around(photo(shared("objects/dog_bicycle_car.jpg")), estimate_vehicles=1).vehicles
    kinds = {thing.label: thing for thing in seen or []}
    assert sorted(kinds) == ["bicycle", "car"]
    assert kinds["bicycle"].crops == {}
    [white] = found([kinds["car"]], "vehicle_attributes")
    assert white["color"].predominant == "white"
    assert sum(white["color"].estimations.values()) == pytest.approx(1, abs=0.01)


def test_the_colours_of_cars_are_told_also_in_bluish_light() -> None:
    told = {}
    for path, cars in labels.CARS.items():
        seen = around(photo(shared(path)), estimate_vehicles=1).vehicles or []
        painted = [thing for thing in seen if thing.crops]
        colours = [each["color"].predominant for each in found(painted, "vehicle_attributes")]
        for x, y, colour in cars:
            near = min(range(len(painted)), key=lambda at: math.dist(middle(painted[at].rect), (x, y)))
            told[path, x, y] = (colour, colours[near])
    assert sum(colour == said for colour, said in told.values()) >= 12
    assert told["objects/cars_2.jpg", 1974, 306] == ("white", "white"), "in the shade, which is blue"


@pytest.mark.parametrize(("paint", "colour"), [((1, 0.25, 0.25), "red"), ((0.25, 0.25, 1), "blue")])
def test_a_car_that_fills_the_picture_is_not_taken_for_white(paint: tuple[float, float, float], colour: str) -> None:
    white = photo(shared("objects/cars_1.jpg"))[188:338, 635:834]
    seen = BodyView((white * np.array(paint)).astype(np.uint8), Box(10, 10, 189, 140))
    model = estimator(MODELS["vehicle_attributes"])
    assert model.run([model.crop(seen)])[0]["color"].predominant == colour


def middle(rect: Rect) -> tuple[float, float]:
    return rect.x + rect.width / 2, rect.y + rect.height / 2


@pytest.mark.parametrize(
    ("path", "word"), [("objects/cat.bmp", "cat"), ("objects/parrot.jpg", "macaw"), ("objects/cars_1.jpg", "cab")]
)
def test_a_picture_has_the_tag_of_what_it_shows(path: str, word: str) -> None:
    whole = around(photo(shared(path)), estimate_tags=1).whole
    assert whole is not None
    [findings] = found([whole], "image_tags")
    tags = findings["tags"]
    assert any(word in tag.label for tag in tags)
    assert len(tags) <= 5
    assert [tag.score for tag in tags] == sorted((tag.score for tag in tags), reverse=True)


def test_sixteen_of_seventeen_plates_are_read_without_a_fault() -> None:
    read = 0
    for path in shared("plates").glob("*.jpg"):
        [plate] = around(photo(path), estimate_plates=1).plates or []
        [text] = found([plate], "plate_text")
        read += text["text"] == path.stem
        assert 0 <= text["score"] <= 1
    assert read >= 16


def test_a_plate_in_a_picture_is_read_where_the_caller_says_it_is() -> None:
    picture = photo(shared("objects/cars_1.jpg")).copy()
    plate = photo(shared("plates/皖AKK123.jpg"))
    height, width = plate.shape[:2]
    picture[300 : 300 + height, 400 : 400 + width] = plate
    here, elsewhere, outside = (
        Rect(x=400, y=300, width=width, height=height),
        Rect(x=100, y=20, width=200, height=60),
        Rect(x=5000, y=0, width=9, height=9),
    )
    asked = around(picture, estimate_plates=1, plate_boxes=[here, elsewhere, outside]).plates or []
    assert [thing.rect for thing in asked] == [here, elsewhere]
    assert [each["text"] for each in found(asked, "plate_text")] == ["皖AKK123", ""]
    assert around(picture, estimate_plates=1).plates == [], "a street is no plate"


def test_boxes_of_plates_come_in_fours() -> None:
    asked = SdkParams.model_validate({"estimate_plates": "1", "plate_boxes": "1, 2,30,10,5,6,40,12"})
    assert asked.plate_boxes == [Rect(x=1, y=2, width=30, height=10), Rect(x=5, y=6, width=40, height=12)]
    assert SdkParams.model_validate(asked.model_dump()) == asked
    too_far = f"0,0,{2**70},5"  # msgpack could not carry it back
    for wrong in ("1,2,3", "", "1,2,0,4", "a,b,c,d", ",".join(["1"] * 404), too_far):
        with pytest.raises(ValidationError):
            SdkParams.model_validate({"plate_boxes": wrong})


def test_what_fills_several_slots_looks_once() -> None:
    calls = 0

    class Counting:
        def detect(self, images: list[np.ndarray], long_side: int | None = None) -> list[list[Any]]:
            nonlocal calls
            calls += 1
            return [[] for _ in images]

    one = Counting()
    search = Surroundings(
        dict.fromkeys(("body_detection", "people_count", "objects", "vehicle_detection"), one)
    ).search(Picture(np.zeros((9, 9, 3), np.uint8)))
    asked = SdkParams(estimate_people_count=1, estimate_objects=1, estimate_vehicles=1)
    seen = search.around(asked, list)
    assert (search.bodies(), seen.objects, seen.vehicles, calls) == ([], [], [], 1)
    assert seen.people is not None
    assert (seen.people.count, seen.people.coordinates) == (0, [])
