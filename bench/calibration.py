"""Fit the mapping of descriptor distance to similarity on labelled photos: ``python -m bench.calibration FOLDER...``.

A folder holds one folder per person. Pictures that lie in it directly count when their name ends in ``_`` and a
letter, which is then the person (``002_A.jpg``). The largest face of each picture is taken; a picture without a face
is named and left out.

Similarity is the probability, at equal odds before looking, that two pictures show one person: a logistic regression
of same/different on distance, both classes weighing the same. A few easy photos are separable, and then plain logistic
regression has no finite slope; so the targets are those of Platt (1999, "Probabilistic outputs for support vector
machines", section 2.2), (n+1)/(n+2) and 1/(n+2): nobody may be surer than n pairs allow. On few pairs the slope is
therefore a lower bound, and the registry (``libs/common/descriptors.py``) says how it uses it.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from libs.common.descriptors import DLIB_RESNET
from services.remote_sdk.networks.chip import face_chips
from services.remote_sdk.networks.landmarks import Landmarks5
from services.remote_sdk.networks.mmod import Face, FaceDetector
from services.remote_sdk.networks.resnet import FaceDescriber

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
FALSE_MATCH_RATES = (1e-1, 1e-2, 1e-3, 1e-4)


@dataclass
class Pairs:
    """Distances of all pairs, by whether they show one person."""

    same: np.ndarray
    different: np.ndarray


class Describer:
    """The embedded face chain: detect, locate, cut, describe."""

    def __init__(self) -> None:
        self._detector, self._landmarks, self._network = FaceDetector(), Landmarks5(), FaceDescriber()

    def describe(self, picture: Path) -> np.ndarray | None:
        """The descriptor of the largest face, float64 (128,), or None when there is no face."""
        with Image.open(picture) as opened:
            pixels = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
        [faces] = self._detector.detect([pixels])
        if not faces:
            return None
        face = max(faces, key=_area)
        points = self._landmarks.locate([pixels], [np.array([[face.left, face.top, face.right, face.bottom]])])
        return self._network.describe(face_chips(pixels, points))[0].astype(np.float64)


def _area(face: Face) -> float:
    return (face.right - face.left) * (face.bottom - face.top)


def people(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every labelled picture with its person."""
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            yield from ((entry.name, file) for file in sorted(entry.iterdir()) if file.suffix.lower() in PICTURES)
            continue
        label = entry.stem.rpartition("_")[2]
        if entry.suffix.lower() in PICTURES and len(label) == 1 and label.isalpha():
            yield f"{folder.name}/{label}", entry


def measure(folders: list[Path]) -> Pairs:
    """Distances of all pairs of pictures in the folders."""
    describer = Describer()
    descriptors: dict[str, list[np.ndarray]] = defaultdict(list)
    for person, picture in (labelled for folder in folders for labelled in people(folder)):
        descriptor = describer.describe(picture)
        if descriptor is None:
            print(f"no face in {picture}")
        else:
            descriptors[person].append(descriptor)
    flat = [(person, descriptor) for person, group in descriptors.items() for descriptor in group]
    print(f"{len(flat)} faces of {len(descriptors)} people")
    pairs: dict[bool, list[float]] = {True: [], False: []}
    for (one, left), (other, right) in combinations(flat, 2):
        pairs[one == other].append(float(np.linalg.norm(left - right)))
    return Pairs(np.array(sorted(pairs[True])), np.array(sorted(pairs[False])))


def fit(pairs: Pairs, midpoint: float | None = None) -> tuple[float, float]:
    """Midpoint and slope of the similarity; the slope alone when the midpoint is given."""
    counts = np.array([len(pairs.same), len(pairs.different)])
    distances = np.concatenate([pairs.same, pairs.different])
    targets = np.repeat([(counts[0] + 1) / (counts[0] + 2), 1 / (counts[1] + 2)], counts)
    weights = np.repeat(0.5 / counts, counts)
    inputs = np.stack([np.ones_like(distances), -distances], axis=1)
    if midpoint is not None:
        inputs = (midpoint - distances)[:, None]
    parameters = np.zeros(inputs.shape[1])
    for _ in range(100):  # Newton; the smoothed targets make the optimum finite
        probabilities = 1 / (1 + np.exp(-inputs @ parameters))
        gradient = inputs.T @ (weights * (targets - probabilities))
        hessian = (inputs * (weights * probabilities * (1 - probabilities))[:, None]).T @ inputs
        parameters = parameters + np.linalg.solve(hessian, gradient)
    slope = float(parameters[-1])
    return (float(parameters[0]) / slope, slope) if midpoint is None else (midpoint, slope)


def report(pairs: Pairs) -> None:
    """Print the fits, and what the registry's mapping makes of the pairs."""
    for name, distances in (("same person", pairs.same), ("different", pairs.different)):
        low, middle, high = np.quantile(distances, [0, 0.5, 1])
        similar = DLIB_RESNET.similarity(np.array([low, middle, high]))
        print(
            f"{name:12} {len(distances):6} pairs, distance {low:.3f} .. {middle:.3f} .. {high:.3f},"
            f" similarity {similar[0]:.3f} .. {similar[1]:.3f} .. {similar[2]:.3f}"
        )
    print("fit, both free:      midpoint {:.3f} slope {:.1f}".format(*fit(pairs)))
    print("fit, slope alone:    midpoint {:.3f} slope {:.1f}".format(*fit(pairs, DLIB_RESNET.midpoint)))
    print(f"registry:            midpoint {DLIB_RESNET.midpoint:.3f} slope {DLIB_RESNET.slope:.1f}")
    for rate in FALSE_MATCH_RATES:
        if rate * len(pairs.different) < 1:
            print(f"false match rate {rate:g}: needs {1 / rate:.0f} different pairs")
            continue
        threshold = float(np.quantile(pairs.different, rate, method="lower"))
        missed = float((pairs.same > threshold).mean())
        similarity = float(DLIB_RESNET.similarity(np.array(threshold)))
        print(f"false match rate {rate:g}: distance {threshold:.3f}, similarity {similarity:.3f}, misses {missed:.2%}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit distance to similarity on labelled photos.")
    parser.add_argument("folders", nargs="+", type=Path)
    pairs = measure(parser.parse_args().folders)
    if not len(pairs.same) or not len(pairs.different):
        raise SystemExit("both pairs of one person and pairs of two are needed")
    report(pairs)


if __name__ == "__main__":
    main()
