"""The five points of a face (`landmarks.py`) for pictures on a GPU, every step for all faces at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.remote_sdk.models.files import ModelFile
from services.remote_sdk.networks.dlib_format import ShapePredictor
from services.remote_sdk.networks.frames import Frame, on_device
from services.remote_sdk.networks.landmarks import LEAF_OF, predictor_of
from services.remote_sdk.networks.similarity import plane


class Landmarks5OnDevice:
    """Locates what :class:`services.remote_sdk.networks.landmarks.Landmarks5` does. Leaves are summed in another order,
    so in a quarter of faces some pixel is read on the other side of a border of rounding, which moves their points by a
    quarter of a pixel, 0.8 at most (128 boxes about one face)."""

    def __init__(self, device: torch.device, file: ModelFile | None = None) -> None:
        """Read the predictor; 0.5 s. Raises ModelMissing, ModelCorrupt, or FormatError when the file holds something
        else."""
        predictor = predictor_of(file)
        self._device = device
        self._initial = torch.from_numpy(predictor.initial).to(device)
        self._cascades = [_Cascade(predictor, index, device) for index in range(len(predictor.anchor))]

    @torch.inference_mode()
    def locate(self, images: Sequence[Frame], rects: Sequence[NDArray[np.floating]]) -> NDArray[np.float32]:
        """See :meth:`services.remote_sdk.networks.landmarks.Landmarks5.locate`."""
        counts = [len(boxes) for boxes in rects]
        if len(images) != len(counts):
            raise ValueError(f"{len(images)} images, but boxes for {len(counts)}")
        if not sum(counts):
            return np.empty((0, 5, 2), np.float32)
        boxes = torch.from_numpy(np.concatenate(rects).astype(np.float64)).to(self._device)
        return self.points([on_device(image, self._device) for image in images], counts, boxes).cpu().numpy()

    def points(self, images: Sequence[Tensor], counts: Sequence[int], boxes: Tensor) -> Tensor:
        """As :meth:`locate`, on the device: the boxes of all images, float64 (n, 4), and how many each has."""
        faces = _Faces(images, counts, boxes)
        shapes = self._initial.expand(len(boxes), -1, -1)
        for cascade in self._cascades:
            shapes = cascade.grown(shapes, faces.grey(cascade.points(shapes)))
        return faces.in_image(shapes).float()


class _Faces:
    """Boxes in the pixels of all pictures, which lie in one row of memory."""

    def __init__(self, images: Sequence[Tensor], counts: Sequence[int], boxes: Tensor) -> None:
        sizes = np.array([image.shape[:2] for image in images])
        starts = np.cumsum([0, *sizes.prod(1)[:-1]])
        own = np.repeat(np.column_stack([sizes, starts]), counts, axis=0)
        self._height, self._width, self._start = torch.from_numpy(own).to(boxes.device).T[:, :, None]
        self._pixels = torch.cat([image.reshape(-1, 3) for image in images])
        self._corner, self._side = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]

    def in_image(self, points: Tensor) -> Tensor:
        """From the unit box, (n, k, 2), to pixels, float64: (0, 0) is the centre of a box's first pixel, (1, 1) that of
        its last."""
        return self._corner + points * self._side

    def grey(self, points: Tensor) -> Tensor:
        """Grey values, int16 (n, k), at points of the unit box; 0 outside the picture."""
        x, y = (self.in_image(points) + 0.5).floor().long().unbind(-1)
        inside = (x >= 0) & (x < self._width) & (y >= 0) & (y < self._height)
        colours = self._pixels[self._start + (y * self._width + x) * inside].to(torch.int16)
        return colours.sum(-1, dtype=torch.int16) // 3 * inside


class _Cascade:
    """One round: look at pixels around the shape found so far, let every tree add its correction."""

    def __init__(self, predictor: ShapePredictor, index: int, device: torch.device) -> None:
        def there(array: NDArray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        initial = plane(predictor.initial)
        centred = initial - initial.mean()
        self._turn = there((np.conj(centred) / (np.abs(centred) ** 2).sum()).astype(np.complex64))
        self._anchor, self._offset = there(predictor.anchor[index]), there(plane(predictor.offset[index]))
        self._first, self._second = there(predictor.first[index]), there(predictor.second[index])
        self._threshold = there(predictor.threshold[index])
        self._leaves = there(predictor.leaves[index])
        self._leaf_of = there(LEAF_OF)
        self._bits = 2 ** torch.arange(self._first.shape[-1], device=device)
        self._trees = torch.arange(len(self._first), device=device)

    def points(self, shapes: Tensor) -> Tensor:
        """Where to look, (n, pixels, 2), in the unit box; shapes: (n, points, 2)."""
        own = torch.view_as_complex(shapes.contiguous())
        turn = (own * self._turn).sum(-1, keepdim=True)
        return torch.view_as_real(turn * self._offset.to(turn.dtype) + own[:, self._anchor])

    def grown(self, shapes: Tensor, grey: Tensor) -> Tensor:
        """Shapes (n, points, 2) after this round; grey: int16 (n, pixels), the values at `points`."""
        left = grey[:, self._first] - grey[:, self._second] > self._threshold
        leaf = self._leaf_of[(left * self._bits).sum(-1)]
        return shapes + self._leaves[self._trees, leaf].sum(1).view_as(shapes)
