"""The stages of one picture up to what is cut out of it: decode, detect, landmarks, chips, pose and quality, crops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from libs.common.errors import Code, MienError
from libs.common.wire.estimations import HeadPose, Rect
from libs.common.wire.sdk import Image, SdkParams
from services.remote_sdk.decoding.port import Decoded, Decoder, Encoded
from services.remote_sdk.detectors.port import Detection, Detector
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.networks.chip import face_chips, template
from services.remote_sdk.networks.frames import in_memory
from services.remote_sdk.networks.landmarks import Landmarks
from services.remote_sdk.stages.bodies import (
    WARP_HEIGHT,
    WARP_WIDTH,
    Body,
    BodyCropper,
    body_in,
    body_of_warp,
    edges,
    rect_of,
)
from services.remote_sdk.stages.decode import Picture, Pixels, Wish, encode_jpeg
from services.remote_sdk.stages.face_boxes import enlarged, face_box, landmark_box, moved_apart, side
from services.remote_sdk.stages.hints import MAX_BOXES, faces_meant
from services.remote_sdk.stages.pairing import paired
from services.remote_sdk.stages.portrait import portrait
from services.remote_sdk.stages.pose import head_pose
from services.remote_sdk.stages.quality import CHIP_SIZE, measure, part_inside, score
from services.remote_sdk.stages.rules import ALLOW, BEST, chosen
from services.remote_sdk.stages.surroundings import Around, Search, Surroundings, asks_around
from services.remote_sdk.stages.view import FaceView, Points, box_of

CHIP_PADDING = 0.25
WARP_SIZE, WARP_PADDING = 250, 0.75
"""A warp has the scale of a chip and 50 pixels more on every side, so that its middle is the chip again."""

RAW, FACE_WARP, BODY_WARP = 0, 1, 2
"""Values of ``image_type``."""

WARPS = {
    FACE_WARP: ("a face warp (image_type 1)", WARP_SIZE, WARP_SIZE),
    BODY_WARP: ("a body warp (image_type 2)", WARP_WIDTH, WARP_HEIGHT),
}
"""What each is called, and its width and height in pixels."""

_CHIP_SIDE = CHIP_SIZE / (1 + 2 * CHIP_PADDING)
"""Pixels of the square of dlib's detector from which on a chip is not enlarged."""


Cropper = Callable[[FaceView], Any]


class Job(NamedTuple):
    """One picture, what is asked of it, and the names of those for whom its faces and bodies are cropped."""

    image: Image
    params: SdkParams
    wanted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Face:
    """A face as far as it is known before networks estimate and describe it.

    ``score``: detector's confidence, 0..1. ``landmarks``: float32 (5, 2), those of the detector where it finds some,
    else dlib's; None for a warp. ``fitness``: the score for recognition, 0..1. ``findings``: what was measured:
    quality, and for a face in a picture its pose and, where it was asked for, its portrait. ``crops``: what each of
    ``Job.wanted`` needs. ``warp``: a JPEG of 250 x 250, where it was asked for.
    """

    rect: Rect
    score: float
    landmarks: Points | None
    fitness: float
    findings: Findings
    crops: Mapping[str, Any]
    warp: bytes | None = None


@dataclass(frozen=True)
class Sighting:
    """A face, a body, or both of one person."""

    face: Face | None
    body: Body | None


@dataclass(frozen=True)
class Seen:
    """What was found in one picture: who has a face, the largest first, then who shows only a body, so too."""

    exif: dict[str, Any] | None
    people: list[Sighting]
    around: Around

    @property
    def faces(self) -> list[Face]:
        return [one.face for one in self.people if one.face]

    @property
    def bodies(self) -> list[Body]:
        return [one.body for one in self.people if one.body]


@dataclass(frozen=True)
class Chain:
    """Runs the stages on a batch of pictures. Holds only networks: any number of threads may run it at once.

    ``croppers`` cut out of a face what the estimators need, ``body_croppers`` out of a body; one that is not in
    ``for_warps`` is not asked about warps. ``surroundings`` finds bodies and things.
    ``reduce_to``: pixels of the longer side, enough for the detector: larger JPEGs are decoded at a half or less where
    nothing but faces is asked for, and once more as they are only where a face would be too small for its chip.
    """

    detector: Detector
    landmarks: Landmarks
    decoder: Decoder
    croppers: Mapping[str, Cropper] = field(default_factory=dict)
    for_warps: frozenset[str] = frozenset()
    reduce_to: int | None = None
    body_croppers: Mapping[str, BodyCropper] = field(default_factory=dict)
    surroundings: Surroundings = field(default_factory=Surroundings)

    def run(self, jobs: list[Job]) -> list[Seen | Exception]:
        """What each picture gave, or why it gave nothing: IMAGE_TOO_LARGE, CONTENT_MISMATCH, BROKEN_IMAGE,
        BAD_IMAGE_SIZE for a warp, SEVERAL_FACES, SEVERAL_BODIES, TOO_MANY boxes. In pictures of one size faces are
        sought together."""
        outcomes: dict[int, Seen | Exception] = {n: wrong for n, job in enumerate(jobs) if (wrong := _too_many(job))}
        asked = [number for number in range(len(jobs)) if number not in outcomes]
        decoded = self.decoder.decode_all([self._encoded(jobs[number]) for number in asked])
        pictures: dict[int, Decoded] = {}
        for number, picture in zip(asked, decoded, strict=True):
            if isinstance(picture, MienError):
                outcomes[number] = picture
            elif unfit := _unfit(jobs[number], picture):
                outcomes[number] = unfit
            else:
                pictures[number] = picture
        boxes = self._detect([(jobs[number], picture) for number, picture in pictures.items()])
        for (number, picture), found in zip(pictures.items(), boxes, strict=True):
            try:
                outcomes[number] = self._examine(jobs[number], picture, found)
            except MienError as error:
                outcomes[number] = error
        return [outcomes[number] for number in range(len(jobs))]

    def _encoded(self, job: Job) -> Encoded:
        wish = Wish(
            upright=bool(job.params.use_exif_info),
            with_exif=bool(job.params.extract_exif),
            long_side=self.reduce_to if _only_faces(job) else None,
        )
        return Encoded(job.image.data, job.image.content_type, wish)

    def _detect(self, pictures: list[tuple[Job, Decoded]]) -> list[list[Detection]]:
        """The boxes of every picture; none where there is nothing to search for."""
        boxes: list[list[Detection]] = [[] for _ in pictures]
        whole = []
        for number, (job, picture) in enumerate(pictures):
            if job.params.image_type != RAW or not job.params.detect_face:
                continue
            if job.image.face_bounding_boxes:
                boxes[number] = faces_meant(picture.pixels, job.image.face_bounding_boxes, self.detector)
            else:
                whole.append(number)
        found = self.detector.detect([pictures[number][1].frame for number in whole])
        for number, faces in zip(whole, found, strict=True):
            boxes[number] = faces
        return boxes

    def _examine(self, job: Job, picture: Decoded, found: list[Detection]) -> Seen:
        params = job.params
        if params.image_type == FACE_WARP:
            return Seen(picture.exif, [Sighting(self._face_of_warp(job, picture.pixels), None)], Around())
        if params.image_type == BODY_WARP:
            return Seen(picture.exif, [Sighting(None, self._body_of_warp(job, picture.pixels))], Around())
        search = self.surroundings.search(picture)
        around = search.around(params, lambda: self._every_face(job, picture, found))
        return Seen(picture.exif, self._people(job, picture, found, search), around)

    def _every_face(self, job: Job, picture: Decoded, found: list[Detection]) -> list[Detection]:
        """All of a picture, also where none or only some of them were asked for."""
        if job.params.detect_face and not job.image.face_bounding_boxes:
            return found
        return self.detector.detect([picture.frame])[0]

    def _people(self, job: Job, picture: Decoded, found: list[Detection], search: Search) -> list[Sighting]:
        """The faces and bodies that the policy lets through. The best of those whose body shows a face is who has the
        best face; with policy 0 there may be one face and one body, which need not belong together."""
        policy = job.params.multiface_policy
        bodies = [_Boxed.of(each) for each in (search.bodies() if job.params.detect_body else [])]
        owned = paired([edges(each) for each in found], [edges(each.found) for each in bodies])
        faces = [_Boxed.of(each, bodies[owned[n]].found if n in owned else None) for n, each in enumerate(found)]
        kept = chosen(faces, policy)
        faceless = set(range(len(bodies))) - set(owned.values())
        allowed = chosen(bodies, ALLOW if policy == BEST else policy, Code.SEVERAL_BODIES)
        alone = [each for each in allowed if any(each is bodies[number] for number in faceless)]
        if policy == BEST:
            alone = [] if kept else chosen(alone, policy)
        paired_off = [
            Sighting(face, self._body(job, picture.pixels, each.body) if each.body else None)
            for face, each in zip(self._faces(job, picture, kept), kept, strict=True)
        ]
        return paired_off + [Sighting(None, self._body(job, picture.pixels, each.found)) for each in alone]

    def _faces(self, job: Job, picture: Decoded, boxed: list[_Boxed]) -> list[Face]:
        if picture.reduced > 1 and any(side(each.found) < _CHIP_SIDE for each in boxed):
            boxed = [_Boxed.of(enlarged(each.found, picture.reduced)) for each in boxed]
            wish = Wish(upright=bool(job.params.use_exif_info))
            picture = self.decoder.decode(job.image.data, job.image.content_type, wish)
        views = self._views(picture, [each.found for each in boxed])
        return [self._face(job, one, view) for one, view in zip(boxed, views, strict=True)]

    def _views(self, picture: Decoded, found: list[Detection]) -> list[FaceView]:
        if not found:
            return []
        corners = self.landmarks.locate([picture.frame], [np.array([landmark_box(each) for each in found])])
        chips = face_chips(picture.frame, corners, CHIP_SIZE, CHIP_PADDING)
        qualities = [measure(chip) for chip in in_memory(chips)]
        return [
            FaceView(picture, face_box(face), five, face.points, chip, quality, head_pose(five))
            for face, five, chip, quality in zip(found, corners, chips, qualities, strict=True)
        ]

    def _face(self, job: Job, boxed: _Boxed, view: FaceView) -> Face:
        points = view.corners if view.points is None else view.points
        return Face(
            rect=_Boxed.of(enlarged(boxed.found, view.reduced)).rect,
            score=boxed.score,
            landmarks=moved_apart(points, view.reduced),
            fitness=_fitness(boxed, view),
            findings=_findings(job, view),
            crops={name: self.croppers[name](view) for name in job.wanted if name in self.croppers},
            warp=encode_jpeg(_warp(view)) if job.params.estimate_face_warp else None,
        )

    def _face_of_warp(self, job: Job, pixels: Pixels) -> Face:
        """Of a face whose landmarks and pose are not known: those of the view are only what a warp is made by."""
        view = warp_view(pixels)
        return Face(
            rect=Rect(x=0, y=0, width=WARP_SIZE, height=WARP_SIZE),
            score=1.0,
            landmarks=None,
            fitness=score(view.quality),
            findings={"quality": view.quality},
            crops={
                name: self.croppers[name](view)
                for name in job.wanted
                if name in self.croppers and name in self.for_warps
            },
            warp=encode_jpeg(pixels) if job.params.estimate_face_warp else None,
        )

    def _body(self, job: Job, pixels: Pixels, found: Detection) -> Body:
        return body_in(pixels, found, self._body_croppers(job), with_warp=bool(job.params.estimate_body_warp))

    def _body_of_warp(self, job: Job, pixels: Pixels) -> Body:
        croppers = {name: crop for name, crop in self._body_croppers(job).items() if name in self.for_warps}
        return body_of_warp(pixels, croppers, with_warp=bool(job.params.estimate_body_warp))

    def _body_croppers(self, job: Job) -> dict[str, BodyCropper]:
        return {name: self.body_croppers[name] for name in job.wanted if name in self.body_croppers}


def _too_many(job: Job) -> MienError | None:
    """What is wrong with a job of more hints than a picture may have."""
    count = len(job.image.face_bounding_boxes or [])
    if count <= MAX_BOXES:
        return None
    return MienError(Code.TOO_MANY, f"{count} boxes; a picture may have {MAX_BOXES}")


def _unfit(job: Job, picture: Decoded) -> MienError | None:
    """What is wrong with a picture that is to be a warp and cannot be one."""
    if job.params.image_type not in WARPS:
        return None
    what, *size = WARPS[job.params.image_type]
    height, width = picture.frame.shape[:2]
    if size == [width, height]:
        return None
    return MienError(Code.BAD_IMAGE_SIZE, f"{width} x {height} pixels; {what} has {size[0]} x {size[1]}")


def warp_view(pixels: Pixels) -> FaceView:
    """The face of a warp, uint8 (250, 250, 3), taken for what :data:`WARP_SIZE` says it is: its middle is the chip."""
    edge = (WARP_SIZE - CHIP_SIZE) // 2
    chip = np.ascontiguousarray(pixels[edge:-edge, edge:-edge])
    corners = template(WARP_SIZE, WARP_PADDING).astype(np.float32)
    pose = HeadPose(pitch=0, roll=0, yaw=0)
    return FaceView(Picture(pixels), box_of(corners), corners, None, chip, measure(chip), pose)


class _Boxed(NamedTuple):
    """A detected face or body, its box in whole pixels for the wire, and the body of a face that has one."""

    rect: Rect
    found: Detection
    body: Detection | None = None

    @property
    def score(self) -> float:
        return self.found.score

    @classmethod
    def of(cls, box: Detection, body: Detection | None = None) -> _Boxed:
        return cls(rect_of(box), box, body)


def _only_faces(job: Job) -> bool:
    """Whether pixels are looked at only about faces that are yet to be found."""
    params = job.params
    other = params.detect_body or params.estimate_portrait or job.image.face_bounding_boxes or asks_around(params)
    return params.image_type == RAW and bool(params.detect_face) and not other


def _findings(job: Job, view: FaceView) -> Findings:
    found: Findings = {"quality": view.quality, "head_pose": view.pose}
    return {**found, "portrait": portrait(view)} if job.params.estimate_portrait else found


def _fitness(boxed: _Boxed, view: FaceView) -> float:
    points = view.corners
    height, width = view.picture.frame.shape[:2]
    return score(
        view.quality,
        eyes_px=float(np.linalg.norm(points[0] + points[1] - points[2] - points[3])) / 2 * view.reduced,
        pose=view.pose,
        confidence=boxed.score,
        inside=part_inside(boxed.rect, width, height),
    )


def _warp(view: FaceView) -> Pixels:
    return face_chips(view.pixels, view.corners[None], WARP_SIZE, WARP_PADDING)[0]
