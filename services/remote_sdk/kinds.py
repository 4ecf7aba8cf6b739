"""The kinds of models: the name in a manifest, the code that runs it, and the slots it fills."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from libs.common.settings import SdkSettings
from services.remote_sdk.detectors.fastestdet import FastestDet
from services.remote_sdk.detectors.mmod import Mmod
from services.remote_sdk.detectors.omz_ssd import OmzSsd
from services.remote_sdk.detectors.port import Detector
from services.remote_sdk.detectors.scrfd import Scrfd
from services.remote_sdk.detectors.ultraface import UltraFace
from services.remote_sdk.detectors.yolo import Yolo
from services.remote_sdk.detectors.yunet import YuNet
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.estimators.basic_attributes import AgeAndSex
from services.remote_sdk.estimators.body_attributes import BodyAttributesOmz
from services.remote_sdk.estimators.body_descriptor import BodyDescriptor
from services.remote_sdk.estimators.descriptor import ArcFace, Describer, DlibDescriptor
from services.remote_sdk.estimators.dlib_gender import DlibGender
from services.remote_sdk.estimators.emotions import Emotions
from services.remote_sdk.estimators.eyes import EyeStates
from services.remote_sdk.estimators.gaze import Gaze
from services.remote_sdk.estimators.glasses import Glasses
from services.remote_sdk.estimators.head_pose import HeadPose
from services.remote_sdk.estimators.landmarks68 import Landmarks68
from services.remote_sdk.estimators.liveness import Liveness
from services.remote_sdk.estimators.mask import Mask
from services.remote_sdk.estimators.plates import PlateText
from services.remote_sdk.estimators.port import BodyEstimator, FaceEstimator
from services.remote_sdk.estimators.tags import Tags
from services.remote_sdk.estimators.vehicle_color import VehicleColor
from services.remote_sdk.models.files import ModelFile
from services.remote_sdk.models.library import Model
from services.remote_sdk.models.manifest import BadManifest
from services.remote_sdk.networks.mmod import FaceDetector
from services.remote_sdk.networks.precision import Precision
from services.remote_sdk.networks.resnet import Adopt, FaceDescriber
from services.remote_sdk.slots import THING_DETECTION
from services.remote_sdk.stages.bodies import PERSON
from services.remote_sdk.stages.surroundings import VEHICLES

FACE_ESTIMATORS: dict[str, Callable[[Loaded], FaceEstimator]] = {
    "age-and-sex": AgeAndSex,
    "aizoo-mask": Mask,
    "dlib-gender": DlibGender,
    "emotions": Emotions,
    "glasses": Glasses,
    "landmarks68": Landmarks68,
    "minifasnet": Liveness,
    "omz-eyes": EyeStates,
    "omz-gaze": Gaze,
    "omz-head-pose": HeadPose,
}

BODY_ESTIMATORS: dict[str, Callable[[Loaded], BodyEstimator]] = {
    "body-descriptor": BodyDescriptor,
    "omz-person-attributes": BodyAttributesOmz,
}

THING_ESTIMATORS: dict[str, Callable[[Loaded], BodyEstimator]] = {
    "imagenet-tags": Tags,
    "lprnet": PlateText,
    "omz-vehicle-attributes": VehicleColor,
}
"""What looks at vehicles, at plates, or at whole pictures."""

MEASURES = frozenset({"measure"})
"""What the chain computes by itself, without a network."""

LANDMARKS = frozenset({"dlib-sp5"})
"""What the chain aligns faces by, whoever detected them."""


@dataclass(frozen=True)
class Given:
    """What a detector or describer is built from. ``loaded``: its networks, for models that an engine runs; ``adopt``
    has an engine run a network that torch defines, where one does."""

    model: Model
    loaded: Loaded | None
    precision: Precision
    settings: SdkSettings
    adopt: Adopt

    @property
    def networks(self) -> Loaded:
        """Raises BadManifest for a model without any."""
        if self.loaded is None:
            raise BadManifest(f"model {self.model.name} of kind {self.model.manifest.kind} has no networks")
        return self.loaded

    @property
    def file(self) -> ModelFile:
        """The only file of a model that torch runs. Raises BadManifest for a model with several."""
        files = list(self.model.files.values())
        if len(files) != 1:
            raise BadManifest(f"model {self.model.name} of kind {self.model.manifest.kind} has one file")
        return files[0]


def _mmod(given: Given) -> Detector:
    settings = given.settings
    network = FaceDetector(given.precision, given.file)
    return Mmod(network, settings.detect_long_side, settings.detect_pyramid, settings.detect_threshold)


def _dlib_descriptor(given: Given) -> Describer:
    described = given.model.manifest.descriptor
    if described is None:
        raise BadManifest(f"model {given.model.name}: kind dlib-resnet needs a [descriptor]")
    return DlibDescriptor(described.version, FaceDescriber(given.precision, given.file, adopt=given.adopt))


DETECTORS: dict[str, Callable[[Given], Detector]] = {
    "dlib-mmod": _mmod,
    "fastestdet": lambda given: FastestDet(given.networks),
    "omz-ssd": lambda given: OmzSsd(given.networks),
    "scrfd": lambda given: Scrfd(given.networks, given.settings.detect_long_side, given.settings.detect_threshold),
    "ultraface": lambda given: UltraFace(given.networks, given.settings.detect_threshold),
    "yolo": lambda given: Yolo(given.networks, given.settings.detect_threshold),
    "yunet": lambda given: YuNet(given.networks, given.settings.detect_long_side, given.settings.detect_threshold),
}

DESCRIBERS: dict[str, Callable[[Given], Describer]] = {
    "arcface": lambda given: ArcFace(given.networks),
    "dlib-resnet": _dlib_descriptor,
}

RUNNABLE = frozenset().union(
    FACE_ESTIMATORS, BODY_ESTIMATORS, THING_ESTIMATORS, DETECTORS, DESCRIBERS, MEASURES, LANDMARKS
)

_DETECTION = frozenset({"face_detection", "landmarks5", *THING_DETECTION})

FILLS: dict[str, frozenset[str]] = {
    **dict.fromkeys(("omz-ssd", "yolo"), _DETECTION),
    **dict.fromkeys(("scrfd", "yunet"), frozenset({"face_detection", "landmarks5"})),
    **dict.fromkeys(("dlib-mmod", "ultraface"), frozenset({"face_detection"})),
    "fastestdet": frozenset(THING_DETECTION),
    **dict.fromkeys(("arcface", "dlib-resnet"), frozenset({"face_descriptor"})),
    "dlib-sp5": frozenset({"landmarks5"}),
    "measure": frozenset({"head_pose", "quality"}),
    **dict.fromkeys(("age-and-sex", "dlib-gender"), frozenset({"basic_attributes"})),
    "aizoo-mask": frozenset({"mask"}),
    "emotions": frozenset({"emotions"}),
    "glasses": frozenset({"glasses"}),
    "landmarks68": frozenset({"landmarks68", "mouth"}),
    "minifasnet": frozenset({"liveness"}),
    "omz-eyes": frozenset({"eyes"}),
    "omz-gaze": frozenset({"gaze"}),
    "omz-head-pose": frozenset({"head_pose"}),
    "body-descriptor": frozenset({"body_descriptor"}),
    "omz-person-attributes": frozenset({"body_basic_attributes", "upper_body", "lower_body", "accessories"}),
    "imagenet-tags": frozenset({"image_tags"}),
    "lprnet": frozenset({"plate_text"}),
    "omz-vehicle-attributes": frozenset({"vehicle_attributes"}),
}
"""The slots that a kind can fill; a manifest claims some of them."""

NAMES_CLASSES = frozenset({"yolo"})
"""The kinds whose manifests name the classes of what they find, by ``options.classes`` and ``options.wanted``."""

LOOKED_FOR: dict[str, frozenset[str]] = {
    **dict.fromkeys(("body_detection", "people_count"), frozenset({PERSON})),
    "vehicle_detection": VEHICLES,
}
"""The classes that a slot looks for in what a detector finds. Of one that names its classes all others are passed
over."""
