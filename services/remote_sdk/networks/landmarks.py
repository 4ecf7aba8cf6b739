"""Five points of a face: dlib's shape predictor (Kazemi and Sullivan, 2014), for many faces at once."""

import numpy as np
from numpy.typing import NDArray

from services.remote_sdk.models.files import ModelFile
from services.remote_sdk.models.library import builtin
from services.remote_sdk.networks.dlib_format import ShapePredictor, read_shape_predictor
from services.remote_sdk.networks.similarity import fit, plane

Image = NDArray[np.uint8]


class Landmarks5:
    """Locates the corners of the eyes and the base of the nose. Any number of threads may call it at once."""

    def __init__(self, file: ModelFile | None = None) -> None:
        """Read the predictor; 0.5 s.

        Raises ModelMissing, ModelCorrupt, or FormatError when the file holds something else.
        """
        self.file = file or builtin("dlib-sp5")
        predictor = read_shape_predictor(self.file.read())
        self._initial = predictor.initial
        self._cascades = [_Cascade(predictor, index) for index in range(len(predictor.anchor))]

    def locate(self, images: list[Image], rects: list[NDArray[np.floating]]) -> NDArray[np.float32]:
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
        counts = [len(boxes) for boxes in rects]
        if len(images) != len(counts):
            raise ValueError(f"{len(images)} images, but boxes for {len(counts)}")
        boxes = np.concatenate([np.empty((0, 4)), *(np.reshape(box, (-1, 4)) for box in rects)], dtype=np.float64)
        shapes = np.repeat(self._initial[None], len(boxes), axis=0)
        ends = np.cumsum(counts)
        faces = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
        for cascade in self._cascades:
            at = _pixels(cascade.points(shapes), boxes)
            grey = [_grey(image, at[own]) for image, own in zip(images, faces, strict=True)]
            shapes = cascade.grown(shapes, np.concatenate([np.empty((0, at.shape[1]), np.float32), *grey]))
        return _in_image(shapes, boxes).astype(np.float32)


class _Cascade:
    """One round: look at pixels around the shape found so far, let every tree add its correction.

    Tables are flat, so that a step of all walks down all trees is one gather.
    """

    def __init__(self, predictor: ShapePredictor, index: int) -> None:
        trees, splits = predictor.first[index].shape
        self._initial = plane(predictor.initial)
        self._anchor, self._offset = predictor.anchor[index], predictor.offset[index]
        self._first, self._second = predictor.first[index].ravel(), predictor.second[index].ravel()
        self._threshold = predictor.threshold[index].ravel()
        self._leaves = predictor.leaves[index].reshape(trees * (splits + 1), -1)
        self._root = np.arange(trees) * splits
        self._first_leaf = np.arange(trees) * (splits + 1)
        self._depth = (splits + 1).bit_length() - 1  # all trees are full

    def points(self, shapes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Where to look, (n, pixels, 2) in the unit box; shapes: (n, points, 2)."""
        turn, _ = fit(self._initial, plane(shapes))
        rotation = np.stack([turn.real, turn.imag, -turn.imag, turn.real], axis=-1).reshape(-1, 2, 2)
        return self._offset @ rotation.astype(np.float32) + shapes[:, self._anchor]

    def grown(self, shapes: NDArray[np.float32], grey: NDArray[np.float32]) -> NDArray[np.float32]:
        """Shapes (n, points, 2) after this round; grey: float32 (n, pixels), the values at `points`."""
        faces, pixels = grey.shape
        own = np.arange(faces)[:, None] * pixels
        node = np.zeros((faces, len(self._root)), np.int64)
        for _ in range(self._depth):
            at = self._root + node
            difference = grey.take(own + self._first.take(at)) - grey.take(own + self._second.take(at))
            node = 2 * node + 2 - (difference > self._threshold.take(at))
        splits = (1 << self._depth) - 1
        leaves = self._leaves.take(self._first_leaf + node - splits, axis=0)
        # Summed tree by tree in float32 as dlib does, so that no last bit moves a point over a border of rounding.
        before = shapes.reshape(faces, 1, leaves.shape[-1])
        return np.add.reduce(np.concatenate([before, leaves], axis=1), axis=1).reshape(shapes.shape)


def _in_image(points: NDArray[np.float32], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """From the unit box to pixels: (0, 0) is the centre of the first pixel of a box, (1, 1) that of the last."""
    return boxes[:, None, :2] + points * (boxes[:, None, 2:] - boxes[:, None, :2])


def _pixels(points: NDArray[np.float32], boxes: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.floor(_in_image(points, boxes) + 0.5).astype(np.int64)


def _grey(image: Image, at: NDArray[np.int64]) -> NDArray[np.float32]:
    """Grey values at (faces, pixels, 2), 0 outside the image. Only these pixels are converted, not the image."""
    height, width = image.shape[:2]
    x, y = at[..., 0], at[..., 1]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    colours = image.reshape(-1, 3).take((y * width + x) * inside, axis=0).astype(np.uint16)
    total = colours[..., 0] + colours[..., 1] + colours[..., 2]
    return (total // 3 * inside).astype(np.float32)
