"""What is in a picture beside faces: everybody counted, things, vehicles, plates, and what it shows as a whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from libs.common.wire.estimations import People, Rect
from libs.common.wire.sdk import SdkParams
from services.remote_sdk.decoding.port import Decoded
from services.remote_sdk.detectors.port import Detection, Detector
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.networks.frames import Frame
from services.remote_sdk.stages.bodies import edges, persons, rect_of, view_of
from services.remote_sdk.stages.pairing import paired
from services.remote_sdk.stages.view import BodyView

PAINTED = frozenset({"bus", "car", "truck"})
VEHICLES = PAINTED | {"bicycle", "motorbike"}
"""The labels of vehicles among the things that a detector finds, and those of which a colour is told."""

_PLATE = 2.0, 6.0  # widths in heights; plates of the world have 2 to 5.4

_HEAD = 0.1  # of a body's height: its head's centre lies so far below its top

Cropper = Callable[[BodyView], Any]


@dataclass(frozen=True)
class Thing:
    """A thing, a region, or the whole picture. ``score``: the detector's confidence, 1 for what the caller named.
    ``crops``: what estimators need, by the names of their models."""

    rect: Rect
    score: float
    label: str
    crops: Mapping[str, Any]
    findings: Findings = field(default_factory=dict)


@dataclass(frozen=True)
class Around:
    """What was found in one picture; None where it was not asked for."""

    people: People | None = None
    objects: list[Thing] | None = None
    vehicles: list[Thing] | None = None
    plates: list[Thing] | None = None
    whole: Thing | None = None

    @property
    def things(self) -> list[Thing]:
        """Everything that estimators look at."""
        return [*(self.vehicles or []), *(self.plates or []), *([self.whole] if self.whole else [])]


@dataclass(frozen=True)
class Surroundings:
    """Holds only networks: any number of threads may ask it at once.

    ``detectors`` by their slots: body_detection, people_count, objects, vehicle_detection. ``croppers`` by theirs, each
    with the name of its model: vehicle_attributes, plate_text, image_tags. Some or all may be absent.
    """

    detectors: Mapping[str, Detector] = field(default_factory=dict)
    croppers: Mapping[str, tuple[str, Cropper]] = field(default_factory=dict)

    def search(self, picture: Decoded) -> Search:
        """The search of one picture."""
        return Search(self, picture)


class Search:
    """One picture; a detector that fills several slots looks at it once."""

    def __init__(self, around: Surroundings, picture: Decoded) -> None:
        self._around = around
        self._picture = picture
        self._found: dict[int, list[Detection]] = {}

    def bodies(self) -> list[Detection]:
        return persons(self._detected("body_detection"))

    def around(self, params: SdkParams, faces: Callable[[], Sequence[Detection]]) -> Around:
        """What is asked for beside faces and bodies. ``faces`` finds every face of the picture."""
        return Around(
            people=self._people(faces(), params) if params.estimate_people_count else None,
            objects=self._objects() if params.estimate_objects else None,
            vehicles=self._vehicles() if params.estimate_vehicles else None,
            plates=self._plates(params.plate_boxes) if params.estimate_plates else None,
            whole=self._thing(_all_of(self._picture.frame), "image_tags") if params.estimate_tags else None,
        )

    def _detected(self, slot: str) -> list[Detection]:
        """Nothing where the slot is empty; callers that ask for it were refused before."""
        detector = self._around.detectors.get(slot)
        if detector is None:
            return []
        if id(detector) not in self._found:
            [self._found[id(detector)]] = detector.detect([self._picture.frame])
        return self._found[id(detector)]

    def _people(self, faces: Sequence[Detection], params: SdkParams) -> People:
        """Whoever shows a face or a body, once: detectors of bodies miss people in crowds, those of faces backs."""
        bodies = persons(self._detected("people_count"))
        owners = paired([edges(face) for face in faces], [edges(body) for body in bodies])
        heads = [face.centre for face in faces]
        faceless = set(range(len(bodies))) - set(owners.values())
        heads += [(bodies[n].centre[0], bodies[n].top + _HEAD * bodies[n].height) for n in sorted(faceless)]
        places = [(round(x), round(y)) for x, y in heads] if params.people_count_coordinates else None
        return People(count=len(heads), coordinates=places)

    def _objects(self) -> list[Thing]:
        return [Thing(rect_of(each), each.score, each.label, {}) for each in self._detected("objects")]

    def _vehicles(self) -> list[Thing]:
        found = [each for each in self._detected("vehicle_detection") if each.label in VEHICLES]
        return [self._thing(each, "vehicle_attributes" if each.label in PAINTED else None) for each in found]

    def _plates(self, boxes: Sequence[Rect] | None) -> list[Thing]:
        """In the regions the caller names; without any, in the whole picture if it has the shape of a plate."""
        height, width = self._picture.frame.shape[:2]
        if boxes is None:
            is_plate = _PLATE[0] <= width / height <= _PLATE[1]
            return [self._thing(_all_of(self._picture.frame), "plate_text")] if is_plate else []
        regions = [_of_rect(box) for box in boxes]
        seen = [
            each for each in regions if each.left < width and each.top < height and min(each.right, each.bottom) >= 0
        ]
        return [self._thing(each, "plate_text") for each in seen]

    def _thing(self, found: Detection, slot: str | None) -> Thing:
        crops = {}
        if slot and slot in self._around.croppers:
            name, crop = self._around.croppers[slot]
            crops[name] = crop(view_of(self._picture.pixels, found))
        return Thing(rect_of(found), found.score, found.label, crops)


def asks_around(params: SdkParams) -> bool:
    """Whether more than faces and bodies is asked for."""
    return bool(
        params.estimate_people_count
        or params.estimate_objects
        or params.estimate_vehicles
        or params.estimate_plates
        or params.estimate_tags
    )


def _all_of(frame: Frame) -> Detection:
    height, width = frame.shape[:2]
    return Detection(0, 0, width - 1, height - 1, 1.0)


def _of_rect(rect: Rect) -> Detection:
    return Detection(rect.x, rect.y, rect.x + rect.width - 1, rect.y + rect.height - 1, 1.0)
