"""What each slot's models are asked about the labelled test photos, and what counts as right.

A new estimator needs labels (``tests/labels.py``), a function that counts, and a line in :data:`TRIALS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps

from libs.common.wire.estimations import FaceAttributes, FoundVehicle, Gaze, HeadPose, Mask, Rect
from libs.common.wire.sdk import FaceResult, ImageResult
from tests import labels
from tests.photos import shared

Answers = Mapping[str, ImageResult]
"""What the service answered for each photo."""


@dataclass(frozen=True)
class Right:
    """How many of how many answers are right; ``detail`` says more."""

    count: int
    of: int
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.count} of {self.of}" + (f"; {self.detail}" if self.detail else "")


@dataclass(frozen=True)
class Trial:
    """What a slot's models are asked about which photos; ``judge`` counts the right answers."""

    slot: str
    asked: Mapping[str, Any]
    photos: Callable[[], Sequence[str]]
    judge: Callable[[Answers], list[tuple[str, Right]]]


def faces_in(answer: ImageResult) -> list[Rect]:
    return [person.face.rect for person in answer.persons if person.face]


def hits(boxes: Sequence[Rect], points: Sequence[labels.Point], height: float = 1.0) -> int:
    """How many points lie in a box, or in its upper part; a box is one point's only."""
    left = list(boxes)
    for point in points:
        if own := next((box for box in left if holds(box, point, height)), None):
            left.remove(own)
    return len(boxes) - len(left)


def holds(box: Rect, point: labels.Point, height: float = 1.0) -> bool:
    """Whether a point lies in a box, or in the upper part of it that has so much of its height, 0..1."""
    x, y = point
    return box.x <= x < box.x + box.width and box.y <= y < box.y + height * box.height


def _first(answers: Answers) -> dict[str, FaceAttributes]:
    """The attributes of the largest face of every photo that has one."""
    found = {photo: [one.face for one in answer.persons if one.face] for photo, answer in answers.items()}
    return {photo: faces[0].attributes for photo, faces in found.items() if faces}


def _age_and_sex(answers: Answers) -> list[tuple[str, Right]]:
    known = {photo: person for person in labels.PEOPLE.values() for photo in person.photos}
    found = {photo: each.basic_attributes for photo, each in _first(answers).items() if each.basic_attributes}
    sexes = sum(each.gender == known[photo].sex for photo, each in found.items())
    away = [abs(each.age - known[photo].age) for photo, each in found.items() if each.age is not None]
    near = sum(years <= 10 for years in away)
    aged = [("age, within 10 years", Right(near, len(known), f"{np.mean(away):.1f} years off"))] if away else []
    return [("sex", Right(sexes, len(known))), *aged]


def _emotions(answers: Answers) -> list[tuple[str, Right]]:
    told = {face: found.emotions.predominant_emotion for face, found in _labelled(answers) if found.emotions}
    smiles = {face: face.mouth in (labels.SMILE, labels.TEETH) for face in told if face.mouth != labels.UNKNOWN}
    return both(
        smiles, {face: word == "happiness" for face, word in told.items()}, "a smile is happiness", "others are not"
    )


def _mask(answers: Answers) -> list[tuple[str, Right]]:
    return both(
        *_by_photo(answers, labels.masks(), lambda found: found.mask and _is_mask(found.mask)), "masked", "bare"
    )


def _is_mask(mask: Mask) -> bool:
    return mask.predominant_mask != "missing"


def _glasses(answers: Answers) -> list[tuple[str, Right]]:
    found = {photo: each.glasses and each.glasses.glasses for photo, each in _first(answers).items()}
    return both(
        labels.glasses(), {photo: word != "no_glasses" for photo, word in found.items() if word}, "glasses", "none"
    )


def _liveness(answers: Answers) -> list[tuple[str, Right]]:
    judged = _by_photo(answers, labels.spoofs(), lambda found: found.liveness and found.liveness.prediction == "spoof")
    return both(*judged, "spoof", "real")


def _eyes(answers: Answers) -> list[tuple[str, Right]]:
    closed, told = {}, {}
    for face, found in _labelled(answers):
        for label, side in zip(face.eyes, ("left_eye", "right_eye"), strict=True):
            if label in "oc" and found.eyes_attributes:
                closed[face, side] = label == "c"
                told[face, side] = found.eyes_attributes[side]["state"] == "closed"
    return both(closed, told, "closed", "open")


def _mouth(answers: Answers) -> list[tuple[str, Right]]:
    faces = [(face, found.mouth_attributes) for face, found in _labelled(answers) if face.mouth != labels.UNKNOWN]
    told = {face: mouth for face, mouth in faces if mouth}
    smiles = {face: face.mouth in (labels.SMILE, labels.TEETH) for face in told}
    parted = {face: face.mouth in (labels.APART, labels.TEETH) for face in told}
    return [
        *both(smiles, {face: mouth["smile"] >= 0.5 for face, mouth in told.items()}, "smile", "no smile"),
        *both(parted, {face: mouth["opened"] >= 0.5 for face, mouth in told.items()}, "lips apart", "lips shut"),
    ]


def _gaze(answers: Answers) -> list[tuple[str, Right]]:
    """Head pose and gaze together: a gaze is counted from where the head is turned."""
    away = [
        _off_the_camera(found.gaze, found.head_pose)
        for face, found in _labelled(answers)
        if face.looks == labels.CAMERA and found.gaze and found.head_pose and found.gaze.yaw is not None
    ]
    if not away:
        return []
    mean = f"{np.mean(away):.1f} degrees off on average"
    return [("into the camera, within 15 degrees", Right(sum(each < 15 for each in away), len(away), mean))]


def _off_the_camera(gaze: Gaze, pose: HeadPose) -> float:
    """Degrees between the line of sight and that to the camera."""
    toward = np.array([0.0, 0.0, -1.0])
    seen = _turned(pose.yaw, pose.pitch) @ _turned(gaze.yaw or 0.0, gaze.pitch or 0.0) @ toward
    return float(np.degrees(np.arccos(np.clip(seen @ toward, -1, 1))))


def _turned(yaw_deg: float, pitch_deg: float) -> np.ndarray:
    """Rotation (3, 3), pitch first; axes of the camera: x right, y up, z away."""
    (sy, sp), (cy, cp) = np.sin(np.radians([yaw_deg, pitch_deg])), np.cos(np.radians([yaw_deg, pitch_deg]))
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    return about_y @ about_x


def _labelled(answers: Answers) -> Iterator[tuple[labels.Labelled, FaceAttributes]]:
    """What was said of each labelled face that was found."""
    for face in labels.FACES:
        with Pillow.open(shared(face.path)) as picture:
            width, height = ImageOps.exif_transpose(picture).size
        centre = (face.x * width, face.y * height)
        seen = [one.face for one in answers[face.path].persons if one.face and holds(one.face.rect, centre)]
        yield from ((face, one.attributes) for one in seen[:1])


def _by_photo(
    answers: Answers, known: Mapping[str, bool], says: Callable[[FaceAttributes], bool | None]
) -> tuple[dict[tuple[str, int], bool], dict[tuple[str, int], bool]]:
    """What is known and what was said of every face, where it is known of all faces of a photo."""
    found = {
        (photo, number): says(one.face.attributes)
        for photo in known
        for number, one in enumerate(answers[photo].persons)
        if one.face
    }
    return {key: known[key[0]] for key in found}, {key: bool(said) for key, said in found.items() if said is not None}


def both(known: Mapping[Any, bool], found: Mapping[Any, bool], yes: str, no: str) -> list[tuple[str, Right]]:
    """Of those of which something is so, and of those of which it is not, each by itself."""
    return [
        (name, Right(sum(found.get(each) is has for each in those), len(those)))
        for name, has in ((yes, True), (no, False))
        if (those := [each for each, label in known.items() if label is has])
    ]


def _bodies(answers: Answers) -> list[tuple[str, Right]]:
    """Faces that lie in the upper half of a body of their own."""
    marks = marked()
    bodies = {photo: [one.body.rect for one in answers[photo].persons if one.body] for photo in marks}
    right = sum(hits(bodies[photo], points, 0.5) for photo, points in marks.items())
    return [("faces with a body", Right(right, sum(map(len, marks.values()))))]


def _people(answers: Answers) -> list[tuple[str, Right]]:
    known = {photo: len(points) for photo, points in marked().items()}
    counted = {photo: answer.estimations.people for photo, answer in answers.items()}
    off = {photo: each.count - known[photo] for photo, each in counted.items() if each}
    more, fewer = sum(max(each, 0) for each in off.values()), -sum(min(each, 0) for each in off.values())
    exact = sum(each == 0 for each in off.values())
    return [
        ("photos counted right", Right(exact, len(known), f"{more} too many, {fewer} too few of {sum(known.values())}"))
    ]


def _landmarks(answers: Answers) -> list[tuple[str, Right]]:
    """Of the 68 points, the tip of the nose, which is marked in the photos."""
    marks = [(photo, point) for photo, points in labels.noses().items() for point in points]
    found = [(_at(answers[photo], point), point) for photo, point in marks]
    away = [_from_the_nose(face, point) for face, point in found if face and face.landmarks68]
    mean = f"{np.mean(away):.2f} off on average" if away else ""
    right = Right(sum(each < 0.25 for each in away), len(marks), mean)
    return [("tip of the nose, within a quarter of the eyes' distance", right)]


def _at(answer: ImageResult, point: labels.Point) -> FaceResult | None:
    return next((one.face for one in answer.persons if one.face and holds(one.face.rect, point)), None)


def _from_the_nose(face: FaceResult, nose: labels.Point) -> float:
    """In distances between the eyes."""
    points = np.array(face.landmarks68, np.float64)
    apart = np.linalg.norm(points[36:42].mean(0) - points[42:48].mean(0))
    return float(np.linalg.norm(points[_NOSE_TIP] - nose) / max(apart, 1e-6))


_NOSE_TIP = 30  # of the 68


def _bodies_sex(answers: Answers) -> list[tuple[str, Right]]:
    """Of the body of somebody whose sex is known; undefined is no answer."""
    known = {photo: person.sex for person in labels.PEOPLE.values() for photo in person.photos}
    said = {
        photo: one.body.attributes.basic_attributes.apparent_gender
        for photo in known
        for one in answers[photo].persons[:1]
        if one.body and one.body.attributes.basic_attributes
    }
    told = {photo: sex for photo, sex in said.items() if sex in (0, 1)}
    right = sum(sex == known[photo] for photo, sex in told.items())
    return [("sex, where it is told", Right(right, len(told), f"{len(known) - len(told)} undefined"))]


def _cars(answers: Answers) -> list[tuple[str, Right]]:
    """Each marked car is the vehicle whose middle is nearest, if that lies within a third of its width."""
    cars = [(photo, (x, y), colour) for photo, each in labels.CARS.items() for x, y, colour in each]
    found = {(photo, point): _nearest(answers[photo].estimations.vehicles or [], point) for photo, point, _ in cars}
    seen = [(colour, vehicle.color) for photo, point, colour in cars if (vehicle := found[photo, point])]
    right = sum(said is not None and said.predominant == colour for colour, said in seen)
    return [("cars found", Right(len(seen), len(cars))), ("their colours", Right(right, len(seen)))]


def _nearest(vehicles: Sequence[FoundVehicle], point: labels.Point) -> FoundVehicle | None:
    def away(vehicle: FoundVehicle) -> float:
        rect = vehicle.rect
        return math.dist((rect.x + rect.width / 2, rect.y + rect.height / 2), point)

    best = min(vehicles, key=away, default=None)
    return best if best and away(best) < best.rect.width / 3 else None


def _objects(answers: Answers) -> list[tuple[str, Right]]:
    wanted = sum(map(len, labels.THINGS.values()))
    right = false = 0
    for photo, names in labels.THINGS.items():
        seen = [each.label for each in answers[photo].estimations.objects or []]
        known = sum(min(seen.count(name), names.count(name)) for name in set(names))
        right, false = right + known, false + len(seen) - known
    return [("things", Right(right, wanted, f"{false} others"))]


def _tags(answers: Answers) -> list[tuple[str, Right]]:
    right = sum(
        any(word in tag.label for tag in answers[photo].estimations.tags or []) for photo, word in labels.TAGS.items()
    )
    return [("tag among five", Right(right, len(labels.TAGS)))]


def _plates(answers: Answers) -> list[tuple[str, Right]]:
    known = labels.plates()
    read = {photo: [each.text for each in answers[photo].estimations.plates or []] for photo in known}
    return [("read without a fault", Right(sum(read[photo] == [text] for photo, text in known.items()), len(known)))]


def marked() -> dict[str, list[labels.Point]]:
    return labels.noses() | labels.groups()


def _faces_labelled() -> list[str]:
    return list(dict.fromkeys(face.path for face in labels.FACES))


TRIALS = (
    Trial("basic_attributes", {"estimate_basic_attributes": 1}, labels.bare_faces, _age_and_sex),
    Trial("emotions", {"estimate_emotions": 1}, _faces_labelled, _emotions),
    Trial("mask", {"estimate_mask": 1}, lambda: list(labels.masks()), _mask),
    Trial("glasses", {"estimate_glasses": 1}, lambda: list(labels.glasses()), _glasses),
    Trial("liveness", {"estimate_liveness": 1}, lambda: list(labels.spoofs()), _liveness),
    Trial("eyes", {"estimate_eyes_attributes": 1}, _faces_labelled, _eyes),
    Trial("mouth", {"estimate_mouth_attributes": 1}, _faces_labelled, _mouth),
    Trial("landmarks68", {"estimate_landmarks68": 1}, lambda: list(labels.noses()), _landmarks),
    Trial("gaze", {"estimate_gaze": 1, "estimate_head_pose": 1}, _faces_labelled, _gaze),
    Trial("body_detection", {"detect_body": 1}, lambda: list(marked()), _bodies),
    Trial(
        "body_basic_attributes", {"detect_body": 1, "estimate_body_basic_attributes": 1}, labels.bare_faces, _bodies_sex
    ),
    Trial("people_count", {"estimate_people_count": 1}, lambda: list(marked()), _people),
    Trial("objects", {"estimate_objects": 1, "detect_face": 0}, lambda: list(labels.THINGS), _objects),
    Trial("vehicle_attributes", {"estimate_vehicles": 1, "detect_face": 0}, lambda: list(labels.CARS), _cars),
    Trial("image_tags", {"estimate_tags": 1, "detect_face": 0}, lambda: list(labels.TAGS), _tags),
    Trial("plate_text", {"estimate_plates": 1, "detect_face": 0}, lambda: list(labels.plates()), _plates),
)
