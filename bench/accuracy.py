"""How right the models are about the labelled test photos, as Markdown: ``python -m bench.accuracy``.

``MIEN_MODELS_DIR`` names the folder of optional models, ``MIEN_SHARED`` the photos where they are not in
``../shared/images``. Everything is asked of the inference service as a client asks it, each model in its turn
preferred; what is not installed is named. The sets are small: they show what is broken, not which of two good models
is the better one. What is asked of each slot and what counts as right stands in ``bench/trials.py``.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch loads

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench.trials import TRIALS, Answers, Trial, faces_in, hits, marked
from libs.common.descriptors import vector, version_of
from libs.common.settings import SdkSettings
from libs.common.wire.estimations import Descriptor
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
            right = sum(hits(faces_in(answers[photo]), points) for photo, points in marks.items())
            false += sum(len(faces_in(each)) for each in answers.values()) - right
            cells.append(f"{right} of {sum(map(len, marks.values()))}")
    return [*cells, str(false)]


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
    photos = [*labels.bare_faces(), *labels.strangers(), *marked()]
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
    for photo in marked():
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


if __name__ == "__main__":
    asyncio.run(main())
