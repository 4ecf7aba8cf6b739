"""Five points of a face: dlib's shape predictor (Kazemi and Sullivan, 2014), for many faces at once."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.remote_sdk.models.files import ModelFile
from services.remote_sdk.models.library import builtin
from services.remote_sdk.networks.dlib_format import FormatError, ShapePredictor, read_shape_predictor
from services.remote_sdk.networks.frames import Frame, Pixels, in_memory
from services.remote_sdk.networks.similarity import plane

_DEPTH = 4  # decisions from the root of a tree to its leaf
_SPLITS = 2**_DEPTH - 1


class Landmarks(Protocol):
    """Any number of threads may call it at once."""

    def locate(self, images: Sequence[Frame], rects: Sequence[NDArray[np.floating]]) -> NDArray[np.float32]:
        """See :meth:`Landmarks5.locate`."""
        ...


class Landmarks5:
    """Locates the corners of the eyes and the base of the nose. Any number of threads may call it at once."""

    def __init__(self, file: ModelFile | None = None) -> None:
        """Read the predictor; 0.5 s.

        Raises ModelMissing, ModelCorrupt, or FormatError when the file holds something else.
        """
        predictor = predictor_of(file)
        self._initial = predictor.initial.reshape(1, -1)
        self._cascades = [_Cascade(predictor, index) for index in range(len(predictor.anchor))]

    def locate(self, images: Sequence[Frame], rects: Sequence[NDArray[np.floating]]) -> NDArray[np.float32]:
        """Points of the faces of several images.

        images: uint8 (h, w, 3), RGB; rects: for every image its face boxes (faces, 4), left, top, right, bottom in
        pixels, first and last pixel of the box as FaceDetector gives them. A box may reach beyond its image: what lies
        outside is black.
        Returns float32 (n, 5, 2), x and y in pixels of the image, the faces of the first image first: outer and inner
        corner of the eye on the right of the picture, then of the one on the left, then the base of the nose.
        dlib's own points are these rounded to whole pixels. The fractions are worth keeping: a picture scaled by 0.87
        moved descriptors by 0.131 with them and 0.144 without (87 faces).

        Raises ValueError when the lists differ in length.
        """
        pictures, counts = [in_memory(image) for image in images], [len(boxes) for boxes in rects]
        if len(images) != len(counts):
            raise ValueError(f"{len(images)} images, but boxes for {len(counts)}")
        boxes = np.concatenate([np.empty((0, 4)), *(np.reshape(box, (-1, 4)) for box in rects)], dtype=np.float64)
        shapes = np.repeat(self._initial, len(boxes), axis=0)
        ends = np.cumsum(counts)
        faces = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
        for cascade in self._cascades:
            at = _pixels(cascade.points(shapes), boxes)
            grey = [_grey(image, at[:, own]) for image, own in zip(pictures, faces, strict=True)]
            shapes = cascade.grown(shapes, np.concatenate([np.empty((0, at.shape[2]), np.int16), *grey]))
        return _in_image(_plain(shapes.view(np.complex64)), boxes).transpose(1, 2, 0).astype(np.float32)


def predictor_of(file: ModelFile | None) -> ShapePredictor:
    """The five points' predictor; None: the built-in one. Raises ModelMissing, ModelCorrupt, or FormatError when the
    file holds something else."""
    predictor = read_shape_predictor((file or builtin("dlib-sp5")).read())
    if predictor.first.shape[2] != _SPLITS:
        raise FormatError(f"trees with {predictor.first.shape[2]} splits; those of the five points have {_SPLITS}")
    return predictor


def _leaf_of() -> NDArray[np.intp]:
    """The leaf that a tree's decisions lead to, (2**15,): bit n of the index says whether split n goes left."""
    decisions = np.arange(2**_SPLITS)
    node = np.zeros_like(decisions)
    for _ in range(_DEPTH):
        node = 2 * node + 2 - (decisions >> node & 1)
    return node - _SPLITS


LEAF_OF = _leaf_of()


class _Cascade:
    """One round: look at pixels around the shape found so far, let every tree add its correction.

    numpy costs more by the call than by the number here, so every split of every tree is decided, needed or not, and
    the decisions of a tree are read as one number that names its leaf.
    """

    def __init__(self, predictor: ShapePredictor, index: int) -> None:
        trees = len(predictor.first[index])
        initial = plane(predictor.initial)
        centred = initial - initial.mean()
        self._turn = np.conj(centred) / (np.abs(centred) ** 2).sum()
        self._anchor = predictor.anchor[index]
        self._offset = predictor.offset[index].view(np.complex64)[:, 0]
        # A sixteenth split that no difference passes fills the last bit.
        self._first = np.pad(predictor.first[index], ((0, 0), (0, 1)))
        self._second = np.pad(predictor.second[index], ((0, 0), (0, 1)))
        # Differences of grey values are whole: what exceeds a threshold exceeds the next lower whole number.
        threshold = np.floor(predictor.threshold[index]).clip(-256, 256).astype(np.int16)
        self._threshold = np.pad(threshold, ((0, 0), (0, 1)), constant_values=256)
        self._leaves = predictor.leaves[index].reshape(trees * (_SPLITS + 1), -1)
        self._first_leaf = np.arange(trees) * (_SPLITS + 1)

    def points(self, shapes: NDArray[np.float32]) -> NDArray[np.complex64]:
        """Where to look, (n, pixels), x + iy in the unit box; shapes: (n, points * 2).

        Offsets are turned and scaled as the least squares fit of the initial shape to this one says (`similarity.fit`,
        of which only the turn is needed).
        """
        own = shapes.view(np.complex64)
        turn = (own @ self._turn).astype(np.complex64)
        return turn[:, None] * self._offset + own.take(self._anchor, axis=1)

    def grown(self, shapes: NDArray[np.float32], grey: NDArray[np.int16]) -> NDArray[np.float32]:
        """Shapes (n, points * 2) after this round; grey: int16 (n, pixels), the values at `points`."""
        left = grey.take(self._first, axis=1) - grey.take(self._second, axis=1) > self._threshold
        decisions = np.packbits(left, bitorder="little").view("<u2").reshape(left.shape[:2])
        leaves = self._leaves.take(self._first_leaf + LEAF_OF.take(decisions), axis=0)
        # Summed tree by tree in float32 as dlib does, so that no last bit moves a point over a border of rounding.
        return np.add.reduce(np.concatenate([shapes[:, None], leaves], axis=1), axis=1)


def _plain(points: NDArray[np.complex64]) -> NDArray[np.float32]:
    """x + iy (n, k) as x and y (2, n, k)."""
    return np.stack([points.real, points.imag])


def _in_image(points: NDArray[np.float32], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """From the unit box to pixels, both (2, n, k): (0, 0) is the centre of the first pixel of a box, (1, 1) that of
    the last."""
    corner, opposite = boxes.T.reshape(2, 2, -1, 1)
    return corner + points * (opposite - corner)


def _pixels(points: NDArray[np.complex64], boxes: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.floor(_in_image(_plain(points), boxes) + 0.5).astype(np.int64)


def _grey(image: Pixels, at: NDArray[np.int64]) -> NDArray[np.int16]:
    """Grey values at (2, faces, pixels), x and y; 0 outside the image. Only these pixels are converted."""
    height, width = image.shape[:2]
    x, y = at
    # Read without a sign what is negative is larger than any side.
    inside = (x.view(np.uint64) < width) & (y.view(np.uint64) < height)
    colours = image.reshape(-1, 3).take((y * width + x) * inside, axis=0).astype(np.int16)
    total = colours[..., 0] + colours[..., 1] + colours[..., 2]
    return total // 3 * inside
