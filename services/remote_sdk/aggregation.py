"""One estimation of a person out of several pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel

from libs.common.descriptors import vector
from libs.common.errors import Code, MienError
from libs.common.wire.estimations import Descriptor, Liveness
from libs.common.wire.sdk import BodyAggregate, BodyResult, FaceAggregate, FaceResult, ImageResult, SdkParams
from services.remote_sdk.stages.rules import UNKNOWN, verdict

M = TypeVar("M", bound=BaseModel)
F = TypeVar("F", FaceResult, BodyResult)

PREDOMINANT = "predominant_"
LIKELIEST = "estimations"
YEARS = ("age", "apparent_age")
"""The whole numbers that measure something; all others are codes."""
UNDEFINED = "undefined"

_DIGITS = 6  # estimations have 2 to 4
_UNIT_TOLERANCE = 1e-4


def aggregated_face(images: Sequence[ImageResult], params: SdkParams) -> FaceAggregate | None:
    """One person out of the only face of each image; None when no face was left. Raises SEVERAL_FACES."""
    faces = _one_each(images, lambda image: [one.face for one in image.persons if one.face], Code.SEVERAL_FACES)
    if not faces:
        return None
    attributes = together([face.attributes for face in faces])
    attributes.liveness = _liveness([found for face in faces if (found := face.attributes.liveness)], params)
    return FaceAggregate(attributes=attributes, descriptor=_merged(faces))


def aggregated_body(images: Sequence[ImageResult]) -> BodyAggregate | None:
    """As :func:`aggregated_face`. Raises SEVERAL_BODIES."""
    bodies = _one_each(images, lambda image: [one.body for one in image.persons if one.body], Code.SEVERAL_BODIES)
    if not bodies:
        return None
    return BodyAggregate(attributes=together([body.attributes for body in bodies]), descriptor=_merged(bodies))


def _one_each(images: Sequence[ImageResult], found_in: Callable[[ImageResult], list[F]], code: Code) -> list[F]:
    everything = []
    for image in images:
        found = found_in(image)
        if len(found) > 1:
            raise MienError(
                code,
                f"{image.filename}: shows {len(found)}; aggregation needs one per image, or multiface_policy 2",
            )
        everything += found
    return everything


def _liveness(found: Sequence[Liveness], params: SdkParams) -> Liveness | None:
    """The verdict over the mean of those that have one; unknown when none has. A picture too poor for a verdict says
    nothing of the others."""
    judged = [each for each in found if each.prediction != UNKNOWN]
    return verdict(together(judged or found), params) if found else None


def _merged(found: Sequence[FaceResult | BodyResult]) -> Descriptor | None:
    """The mean of several descriptors and of their scores, each weighted by its score: a bad picture says less. Of
    descriptors of length 1 it is one, too: their distances mean something only between such."""
    descriptors = [each.descriptor for each in found if each.descriptor]
    if not descriptors:
        return None
    version = descriptors[0].version
    vectors = np.stack([vector(version, each.data) for each in descriptors])
    scores = np.array([each.score or 0.0 for each in descriptors])
    weights = scores if scores.any() else None
    mean = np.average(vectors, axis=0, weights=weights)
    if np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=_UNIT_TOLERANCE):
        mean /= max(float(np.linalg.norm(mean)), _UNIT_TOLERANCE)  # of opposite ones 0
    score = float(np.average(scores, weights=weights))
    return Descriptor(version=version, data=mean.astype("<f4").tobytes(), score=score)


def together(estimations: Sequence[M]) -> M:
    """Field by field what several estimations of one kind say together; what only some of them know, those say.

    Numbers: the mean, years rounded. Words and codes: the most frequent, the first of them if several are; but
    ``predominant_...`` is the likeliest of the mean ``estimations`` beside it, where it is one of those. Lists of
    words, such as colours: their union, the most frequent first, "undefined" only if nothing else is known. Other
    lists: the first. At least one estimation is given.
    """
    merged = _mapping([each.model_dump() for each in estimations])
    return type(estimations[0]).model_validate(merged)


def _mapping(parts: list[dict[str, Any]]) -> dict[str, Any]:
    names = dict.fromkeys(name for part in parts for name in part)
    merged = {name: _value(name, [part[name] for part in parts if part.get(name) is not None]) for name in names}
    shares = merged.get(LIKELIEST) or {}
    for name in merged:
        if name.startswith(PREDOMINANT) and merged[name] in shares:
            merged[name] = max(shares, key=lambda each: shares[each])
    return merged


def _value(name: str, values: list[Any]) -> Any:
    if not values:
        return None
    first = values[0]
    if isinstance(first, dict):
        return _mapping(values)
    if isinstance(first, list):
        return _union(values)
    if isinstance(first, float):
        return round(float(np.mean(values)), _DIGITS)
    if name in YEARS:
        return round(float(np.mean(values)))
    return Counter(values).most_common(1)[0][0]


def _union(lists: list[list[Any]]) -> list[Any]:
    words = Counter(word for words in lists for word in words if isinstance(word, str))
    if not words:
        return lists[0]
    ordered = [word for word, _ in words.most_common()]
    return [word for word in ordered if word != UNDEFINED] or ordered
