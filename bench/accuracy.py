"""How right the models are about the labelled test photos, as Markdown: ``python -m bench.accuracy``.

``MIEN_MODELS_DIR`` names the folder of optional models, ``MIEN_SHARED`` the photos where they are not in
``../shared/images``. Everything is asked of the inference service as a client asks it, each model in its turn
preferred; what is not installed is named. The sets are small: they show what is broken, not which of two good models
is the better one. A new estimator needs labels (``tests/labels.py``), a function that counts, and a line in ``TRIALS``.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch loads

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps

from libs.common.descriptors import vector, version_of
from libs.common.settings import SdkSettings
from libs.common.wire.estimations import Descriptor, FaceAttributes, Gaze, HeadPose, Mask, Rect
from libs.common.wire.sdk import Image, ImageResult, SdkParams
from services.remote_sdk.catalogue import Catalogue
from services.remote_sdk.loading import catalogue_of
from services.remote_sdk.models.library import Model
from services.remote_sdk.service import Sdk
from services.remote_sdk.worker import Worker
from tests import labels
from tests.photos import SHARED, shared

SIMILARITIES = (0.5, 0.7, 0.9)
"""Thresholds of the verification table; 0.9 is what a handler's policy starts with."""

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


async def main() -> None:
    if not SHARED.is_dir():
        raise SystemExit(f"no photos in {SHARED}: MIEN_SHARED names their folder")
    print(await _detection())
    print(await _verification())
    print(await _estimation())


@asynccontextmanager
async def _service(**settings: Any) -> AsyncIterator[tuple[Sdk, Catalogue]]:
    chosen = SdkSettings(workers=1, allow=["emotion"], **settings)
    catalogue = catalogue_of(chosen)
    worker = Worker(chosen, catalogue)
    await worker.start()
    try:
        yield Sdk(worker, catalogue, chosen), catalogue
    finally:
        await worker.stop()


async def _asked(sdk: Sdk, photos: Sequence[str], **asked: Any) -> Answers:
    """One photo a call, so that neither a queue nor a limit is met."""
    answers = {}
    for photo in photos:
        image = Image(filename=photo, data=shared(photo).read_bytes())
        [answers[photo]] = (await sdk.estimate([image], SdkParams(**asked))).images
    return answers


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["--"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in lines) + "\n"


# Detection


async def _detection() -> str:
    rows = []
    with TemporaryDirectory() as empty:
        rows.append(("dlib-mmod (default set)", *await _found(models_dir=Path(empty))))
    for name in ("yunet", "ultraface-640", "ultraface-320"):
        model = catalogue_of(SdkSettings()).library.model(name)
        rows.append((name, *(await _found(prefer=[name]) if model.installed else _absent(model, 3))))
    sets = [f"{name}, {len(marks())} photos" for name, marks in _SETS.items()]
    return _table(["face detector", *(f"found in {each}" for each in sets), "false alarms"], rows)


_SETS = {"CompreFace's": labels.noses, "dlib's groups": labels.groups}


async def _found(**settings: Any) -> list[str]:
    """How many marked faces of each set are found, and how many boxes hold none."""
    cells, false = [], 0
    async with _service(**settings) as (sdk, _):
        for marks in (read() for read in _SETS.values()):
            answers = await _asked(sdk, list(marks))
            hits = sum(_hits(_faces(answers[photo]), points) for photo, points in marks.items())
            false += sum(len(_faces(each)) for each in answers.values()) - hits
            cells.append(f"{hits} of {sum(map(len, marks.values()))}")
    return [*cells, str(false)]


def _faces(answer: ImageResult) -> list[Rect]:
    return [person.face.rect for person in answer.persons if person.face]


def _hits(boxes: Sequence[Rect], points: Sequence[labels.Point]) -> int:
    """How many points lie in a box; a box is one point's only."""
    left, hits = list(boxes), 0
    for point in points:
        if own := next((box for box in left if _holds(box, point)), None):
            left.remove(own)
            hits += 1
    return hits


def _holds(box: Rect, point: labels.Point, height: float = 1.0) -> bool:
    """Whether a point lies in a box, or in the upper part of it."""
    x, y = point
    return box.x <= x < box.x + box.width and box.y <= y < box.y + height * box.height


# Verification


async def _verification() -> str:
    rows = []
    for name in ("dlib-resnet", "mobilefacenet"):
        rows += await _verified(catalogue_of(SdkSettings()).library.model(name))
    head = ["face descriptor", "similarity from", "false matches (FMR)", "false non-matches (FNMR)", "EER", "AUC"]
    return _table(head, rows)


async def _verified(model: Model) -> list[list[str]]:
    described = model.manifest.descriptor
    if not model.installed or described is None:
        return [[f"{model.name}, {described and described.version}", *_absent(model, 5)]]
    photos = [*labels.bare_faces(), *labels.strangers(), *_marked()]
    async with _service(prefer=[model.name], face_version=described.version) as (sdk, _):
        genuine, impostor = _similarities(await _asked(sdk, photos, estimate_face_descriptor=1), described.version)
    rate, area = _equal_error_rate(genuine, impostor), _area_under_curve(genuine, impostor)
    rows = []
    for at in SIMILARITIES:
        wrong, missed = int((impostor >= at).sum()), int((genuine < at).sum())
        rows.append(
            [
                f"{model.name}, {described.version}",
                f"{at}",
                f"{wrong} of {len(impostor)} ({wrong / len(impostor):.2%})",
                f"{missed} of {len(genuine)} ({missed / len(genuine):.2%})",
                f"{rate:.2%}",
                f"{area:.5f}",
            ]
        )
    return rows


def _similarities(answers: Answers, version: int) -> tuple[np.ndarray, np.ndarray]:
    """Of pairs of one person, and of two: portraits of different people, and all who stand together in a group."""
    found = {photo: [vector(version, each.data) for each in _descriptors(answer)] for photo, answer in answers.items()}
    owners = [(name, photo) for name, person in labels.PEOPLE.items() for photo in person.photos]
    portraits = owners + [(photo, photo) for photo in labels.strangers()]
    largest = [(name, found[photo][0]) for name, photo in portraits if found[photo]]
    pairs: dict[bool, list[float]] = {True: [], False: []}
    for (one, left), (other, right) in combinations(largest, 2):
        pairs[one == other].append(float(np.linalg.norm(left - right)))
    for photo in _marked():
        pairs[False] += [float(np.linalg.norm(left - right)) for left, right in combinations(found[photo], 2)]
    return tuple(version_of(version).similarity(np.array(pairs[same])) for same in (True, False))  # type: ignore[return-value]


def _descriptors(answer: ImageResult) -> list[Descriptor]:
    """Of the faces of a photo, the largest first."""
    return [person.face.descriptor for person in answer.persons if person.face and person.face.descriptor]


def _equal_error_rate(genuine: np.ndarray, impostor: np.ndarray) -> float:
    """Where as large a share of impostors passes as of genuine pairs fails: the least of the larger of the two."""
    steps = np.unique(np.concatenate([genuine, impostor]))
    return float(min(max((impostor >= at).mean(), (genuine < at).mean()) for at in (*steps, np.inf)))


def _area_under_curve(genuine: np.ndarray, impostor: np.ndarray) -> float:
    """The chance that a genuine pair is more similar than an impostor pair."""
    return float((genuine[:, None] > impostor).mean() + (genuine[:, None] == impostor).mean() / 2)


# Estimation


async def _estimation() -> str:
    rows = []
    library = catalogue_of(SdkSettings()).library
    for trial in TRIALS:
        for model in library.models.values():
            if trial.slot in model.manifest.slots and model.manifest.networks:
                rows += [[trial.slot, model.name, *cells] for cells in await _tried(trial, model)]
    return _table(["slot", "model", "photos", "what", "right"], rows)


async def _tried(trial: Trial, model: Model) -> list[list[object]]:
    """What one model has right; of one that cannot be used the reason."""
    photos = trial.photos()
    if reason := catalogue_of(SdkSettings()).unusable(model):
        return [[len(photos), "", reason]]
    async with _service(prefer=[model.name]) as (sdk, _):
        answers = await _asked(sdk, photos, **trial.asked)
    return [[len(photos), what, right] for what, right in trial.judge(answers)]


def _absent(model: Model, cells: int) -> list[str]:
    return [f"not installed: {model.get}", *[""] * (cells - 1)]


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
    return _both(
        smiles, {face: word == "happiness" for face, word in told.items()}, "a smile is happiness", "others are not"
    )


def _mask(answers: Answers) -> list[tuple[str, Right]]:
    return _both(
        *_by_photo(answers, labels.masks(), lambda found: found.mask and _is_mask(found.mask)), "masked", "bare"
    )


def _is_mask(mask: Mask) -> bool:
    return mask.predominant_mask != "missing"


def _glasses(answers: Answers) -> list[tuple[str, Right]]:
    found = {photo: each.glasses and each.glasses.glasses for photo, each in _first(answers).items()}
    return _both(
        labels.glasses(), {photo: word != "no_glasses" for photo, word in found.items() if word}, "glasses", "none"
    )


def _liveness(answers: Answers) -> list[tuple[str, Right]]:
    judged = _by_photo(answers, labels.spoofs(), lambda found: found.liveness and found.liveness.prediction == "spoof")
    return _both(*judged, "spoof", "real")


def _eyes(answers: Answers) -> list[tuple[str, Right]]:
    closed, told = {}, {}
    for face, found in _labelled(answers):
        for label, side in zip(face.eyes, ("left_eye", "right_eye"), strict=True):
            if label in "oc" and found.eyes_attributes:
                closed[face, side] = label == "c"
                told[face, side] = found.eyes_attributes[side]["state"] == "closed"
    return _both(closed, told, "closed", "open")


def _mouth(answers: Answers) -> list[tuple[str, Right]]:
    faces = [(face, found.mouth_attributes) for face, found in _labelled(answers) if face.mouth != labels.UNKNOWN]
    told = {face: mouth for face, mouth in faces if mouth}
    smiles = {face: face.mouth in (labels.SMILE, labels.TEETH) for face in told}
    parted = {face: face.mouth in (labels.APART, labels.TEETH) for face in told}
    return [
        *_both(smiles, {face: mouth["smile"] >= 0.5 for face, mouth in told.items()}, "smile", "no smile"),
        *_both(parted, {face: mouth["opened"] >= 0.5 for face, mouth in told.items()}, "lips apart", "lips shut"),
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
        seen = [one.face for one in answers[face.path].persons if one.face and _holds(one.face.rect, centre)]
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


def _both(known: Mapping[Any, bool], found: Mapping[Any, bool], yes: str, no: str) -> list[tuple[str, Right]]:
    """Of those of which something is so, and of those of which it is not, each by itself."""
    return [
        (name, Right(sum(found.get(each) is has for each in those), len(those)))
        for name, has in ((yes, True), (no, False))
        if (those := [each for each, label in known.items() if label is has])
    ]


def _bodies(answers: Answers) -> list[tuple[str, Right]]:
    """Faces that lie in the upper half of a body of their own."""
    marks = _marked()
    hits = 0
    for photo, points in marks.items():
        left = [one.body.rect for one in answers[photo].persons if one.body]
        for point in points:
            if own := next((box for box in left if _holds(box, point, 0.5)), None):
                left.remove(own)
                hits += 1
    return [("faces with a body", Right(hits, sum(map(len, marks.values()))))]


def _people(answers: Answers) -> list[tuple[str, Right]]:
    known = {photo: len(points) for photo, points in _marked().items()}
    counted = {photo: answer.estimations.people for photo, answer in answers.items()}
    off = {photo: each.count - known[photo] for photo, each in counted.items() if each}
    more, fewer = sum(max(each, 0) for each in off.values()), -sum(min(each, 0) for each in off.values())
    exact = sum(each == 0 for each in off.values())
    return [
        ("photos counted right", Right(exact, len(known), f"{more} too many, {fewer} too few of {sum(known.values())}"))
    ]


def _objects(answers: Answers) -> list[tuple[str, Right]]:
    wanted = sum(map(len, labels.THINGS.values()))
    right = false = 0
    for photo, names in labels.THINGS.items():
        seen = [each.label for each in answers[photo].estimations.objects or []]
        hits = sum(min(seen.count(name), names.count(name)) for name in set(names))
        right, false = right + hits, false + len(seen) - hits
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


def _marked() -> dict[str, list[labels.Point]]:
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
    Trial("gaze", {"estimate_gaze": 1, "estimate_head_pose": 1}, _faces_labelled, _gaze),
    Trial("body_detection", {"detect_body": 1}, lambda: list(_marked()), _bodies),
    Trial("people_count", {"estimate_people_count": 1}, lambda: list(_marked()), _people),
    Trial("objects", {"estimate_objects": 1, "detect_face": 0}, lambda: list(labels.THINGS), _objects),
    Trial("image_tags", {"estimate_tags": 1, "detect_face": 0}, lambda: list(labels.TAGS), _tags),
    Trial("plate_text", {"estimate_plates": 1, "detect_face": 0}, lambda: list(labels.plates()), _plates),
)


if __name__ == "__main__":
    asyncio.run(main())
