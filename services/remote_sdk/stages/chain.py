"""The stages of one picture up to its descriptors: decode, detect, landmarks, chips, pose and quality, thresholds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from libs.common.errors import Code, MienError
from libs.common.wire.estimations import HeadPose, Quality, Rect
from libs.common.wire.sdk import FilterReason, Image, SdkParams
from services.remote_sdk.networks.chip import face_chips
from services.remote_sdk.networks.landmarks import Landmarks5
from services.remote_sdk.networks.mmod import Face as Box
from services.remote_sdk.networks.mmod import FaceDetector
from services.remote_sdk.stages.decode import Limits, Picture, Pixels, decode, encode_jpeg
from services.remote_sdk.stages.pose import head_pose
from services.remote_sdk.stages.quality import CHIP_SIZE, measure, part_inside, score
from services.remote_sdk.stages.rules import chosen, reasons_to_drop

CHIP_PADDING = 0.25
WARP_SIZE, WARP_PADDING = 250, 0.75
"""A warp has the scale of a chip and 50 pixels more on every side, so that its middle is the chip again."""

RAW, FACE_WARP = 0, 1
"""Values of ``image_type`` that are served."""

MAX_BOXES = 100
_BOX_MARGIN = 0.5  # of the box, on every side: the detector needs to see around a face
_BOX_LONG_SIDE = 400  # pixels of a scaled crop: the face in it is some 200, the detector starts at 80
_CONFIDENCE_RATE = 2.5


class Job(NamedTuple):
    """One picture and what is asked of it."""

    image: Image
    params: SdkParams


@dataclass(frozen=True)
class Face:
    """A face as far as it is known before it is described.

    ``score``: detector's confidence, 0..1. ``landmarks``: float32 (5, 2), and ``pose``; both None for a warp.
    ``fitness``: the score for recognition, 0..1. ``chip``: uint8 (150, 150, 3). ``warp``: a JPEG of 250 x 250.
    """

    rect: Rect
    score: float
    landmarks: NDArray[np.float32] | None
    pose: HeadPose | None
    quality: Quality
    fitness: float
    chip: Pixels
    warp: bytes | None = None


@dataclass(frozen=True)
class Seen:
    """What was found in one picture; ``kept`` has the largest face first."""

    exif: dict[str, Any] | None
    kept: list[Face]
    dropped: list[tuple[Face, list[FilterReason]]]


@dataclass(frozen=True)
class Search:
    """How faces are searched for; see :meth:`FaceDetector.detect`."""

    long_side: int
    pyramid: float
    threshold: float


class Chain:
    """Runs the stages on a batch of pictures. Holds only networks: any number of threads may run it at once."""

    def __init__(self, detector: FaceDetector, landmarks: Landmarks5, search: Search, limits: Limits) -> None:
        self._detector = detector
        self._landmarks = landmarks
        self._search = search
        self._limits = limits

    def run(self, jobs: list[Job]) -> list[Seen | Exception]:
        """What each picture gave, or why it gave nothing: IMAGE_TOO_LARGE, CONTENT_MISMATCH, BROKEN_IMAGE,
        BAD_IMAGE_SIZE for a warp, SEVERAL_FACES, TOO_MANY boxes. Pictures of one size are searched together."""
        outcomes: dict[int, Seen | Exception] = {}
        pictures: dict[int, Picture] = {}
        for number, job in enumerate(jobs):
            try:
                pictures[number] = self._decode(job)
            except MienError as error:
                outcomes[number] = error
        boxes = self._detect([(jobs[number], picture.pixels) for number, picture in pictures.items()])
        for (number, picture), found in zip(pictures.items(), boxes, strict=True):
            try:
                outcomes[number] = self._examine(jobs[number].params, picture, found)
            except MienError as error:
                outcomes[number] = error
        return [outcomes[number] for number in range(len(jobs))]

    def _decode(self, job: Job) -> Picture:
        image, params = job
        if len(image.face_bounding_boxes or []) > MAX_BOXES:
            raise MienError(
                Code.TOO_MANY, f"{len(image.face_bounding_boxes or [])} boxes; a picture may have {MAX_BOXES}"
            )
        picture = decode(
            image.data,
            image.content_type,
            self._limits,
            upright=bool(params.use_exif_info),
            with_exif=bool(params.extract_exif),
        )
        if params.image_type == FACE_WARP and picture.pixels.shape[:2] != (WARP_SIZE, WARP_SIZE):
            height, width = picture.pixels.shape[:2]
            raise MienError(
                Code.BAD_IMAGE_SIZE,
                f"{width} x {height} pixels; a face warp (image_type 1) has {WARP_SIZE} x {WARP_SIZE}",
            )
        return picture

    def _detect(self, pictures: list[tuple[Job, Pixels]]) -> list[list[Box]]:
        """The boxes of every picture; none where there is nothing to search for."""
        boxes: list[list[Box]] = [[] for _ in pictures]
        whole = []
        for number, ((image, params), pixels) in enumerate(pictures):
            if params.image_type != RAW or not params.detect_face:
                continue
            if image.face_bounding_boxes:
                boxes[number] = self._detect_in(pixels, image.face_bounding_boxes)
            else:
                whole.append(number)
        found = self._detected([pictures[number][1] for number in whole], self._search.long_side)
        for number, faces in zip(whole, found, strict=True):
            boxes[number] = faces
        return boxes

    def _detected(self, images: list[Pixels], long_side: int) -> list[list[Box]]:
        return self._detector.detect(images, long_side, self._search.pyramid, self._search.threshold)

    def _detect_in(self, pixels: Pixels, hints: list[Rect]) -> list[Box]:
        """The face each hint means: the best one whose centre lies in the hint. A hint without a face gives nothing."""
        crops = [crop for hint in hints if (crop := _crop(pixels, hint))]
        found = self._detected([crop.pixels for crop in crops], _BOX_LONG_SIDE)
        best = (_best_in(crop, boxes) for crop, boxes in zip(crops, found, strict=True))
        return [box for box in best if box]

    def _examine(self, params: SdkParams, picture: Picture, boxes: list[Box]) -> Seen:
        if params.image_type == FACE_WARP:
            faces = [_warp_face(picture.pixels)]
        else:
            faces = self._faces(picture.pixels, chosen([_Boxed.of(box) for box in boxes], params.multiface_policy))
        judged = [(face, reasons_to_drop(face.pose, face.fitness, params)) for face in faces]
        kept = [face for face, reasons in judged if not reasons]
        if params.estimate_face_warp:
            kept = _with_warps(picture.pixels, kept)
        return Seen(picture.exif, kept, [(face, reasons) for face, reasons in judged if reasons])

    def _faces(self, pixels: Pixels, boxed: list[_Boxed]) -> list[Face]:
        if not boxed:
            return []
        points = self._landmarks.locate([pixels], [np.array([each.edges for each in boxed])])
        chips = face_chips(pixels, points, CHIP_SIZE, CHIP_PADDING)
        return [_face(pixels, *each) for each in zip(boxed, points, chips, strict=True)]


class _Boxed(NamedTuple):
    """A detected face: in whole pixels for the wire, and by its exact edges for the landmarks."""

    rect: Rect
    score: float
    edges: tuple[float, float, float, float]

    @classmethod
    def of(cls, box: Box) -> _Boxed:
        x, y = round(box.left), round(box.top)
        rect = Rect(x=x, y=y, width=max(round(box.right) - x + 1, 1), height=max(round(box.bottom) - y + 1, 1))
        return cls(rect, _confidence(box.score), (box.left, box.top, box.right, box.bottom))


def _confidence(margin: float) -> float:
    """The detector's margin (0 to about 1.2) on a scale of 0..1: 0.2 becomes 0.39, 0.5 0.71 and 1.0 0.92."""
    return round(1 - math.exp(-_CONFIDENCE_RATE * max(margin, 0.0)), 4)


def _face(pixels: Pixels, boxed: _Boxed, points: NDArray[np.float32], chip: Pixels) -> Face:
    pose, quality = head_pose(points), measure(chip)
    height, width = pixels.shape[:2]
    fitness = score(
        quality,
        eyes_px=float(np.linalg.norm(points[0] + points[1] - points[2] - points[3])) / 2,
        pose=pose,
        confidence=boxed.score,
        inside=part_inside(boxed.rect, width, height),
    )
    return Face(boxed.rect, boxed.score, points, pose, quality, fitness, chip)


def _warp_face(pixels: Pixels) -> Face:
    """A warp is taken for what :data:`WARP_SIZE` says it is: its middle is the chip, its whole the face."""
    edge = (WARP_SIZE - CHIP_SIZE) // 2
    chip = np.ascontiguousarray(pixels[edge:-edge, edge:-edge])
    quality = measure(chip)
    rect = Rect(x=0, y=0, width=WARP_SIZE, height=WARP_SIZE)
    return Face(rect, 1.0, None, None, quality, score(quality), chip, encode_jpeg(pixels))


def _with_warps(pixels: Pixels, faces: list[Face]) -> list[Face]:
    return [
        face if face.landmarks is None else replace(face, warp=encode_jpeg(_warp(pixels, face.landmarks)))
        for face in faces
    ]


def _warp(pixels: Pixels, points: NDArray[np.float32]) -> Pixels:
    return face_chips(pixels, points[None], WARP_SIZE, WARP_PADDING)[0]


class _Crop(NamedTuple):
    pixels: Pixels
    x: int
    y: int
    hint: Rect


def _crop(pixels: Pixels, hint: Rect) -> _Crop | None:
    """The surroundings of a hint, as far as they lie in the picture; None when the hint lies outside."""
    height, width = pixels.shape[:2]
    across, down = round(hint.width * _BOX_MARGIN), round(hint.height * _BOX_MARGIN)
    left, top = max(hint.x - across, 0), max(hint.y - down, 0)
    right, bottom = min(hint.x + hint.width + across, width), min(hint.y + hint.height + down, height)
    if part_inside(hint, width, height) == 0:
        return None
    return _Crop(np.ascontiguousarray(pixels[top:bottom, left:right]), left, top, hint)


def _best_in(crop: _Crop, boxes: list[Box]) -> Box | None:
    """The largest confident face of a crop whose centre the hint holds, in pixels of the whole picture."""
    moved = [
        replace(box, left=box.left + crop.x, top=box.top + crop.y, right=box.right + crop.x, bottom=box.bottom + crop.y)
        for box in boxes
    ]
    meant = [box for box in moved if _centre_in(box, crop.hint)]
    return max(
        meant, key=lambda box: _confidence(box.score) * (box.right - box.left) * (box.bottom - box.top), default=None
    )


def _centre_in(box: Box, hint: Rect) -> bool:
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    return hint.x <= x < hint.x + hint.width and hint.y <= y < hint.y + hint.height
