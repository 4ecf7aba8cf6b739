"""The slots of inference: which model fills each, and what would fill the empty ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from libs.common.descriptors import CURRENT_FACE
from libs.common.errors import Code, MienError
from libs.common.wire.sdk import Estimator, SdkParams
from services.remote_sdk.networks.files import LICENCE, PACKAGE, SOURCE, ModelFile

BODY_WARP = 2


@dataclass(frozen=True)
class Slot:
    """One kind of estimation.

    ``file`` names the model file that fills it; ``measure`` a formula of this service that does (it needs the
    landmarks' file all the same, to find the face). An empty slot has neither and names what ``fits``. ``sensitive``
    is the word by which the operator has to allow it.
    """

    file: str | None = None
    measure: str | None = None
    fits: str = ""
    sensitive: str | None = None
    descriptor_version: int | None = None


_OMZ = "of Open Model Zoo, Apache-2.0"

SLOTS = {
    "face_detection": Slot(file="dlib-mmod"),
    "landmarks5": Slot(file="dlib-sp5"),
    "face_descriptor": Slot(file="dlib-resnet", descriptor_version=CURRENT_FACE),
    "head_pose": Slot(measure="mien-pose-5pt"),
    "quality": Slot(measure="mien-quality"),
    "landmarks68": Slot(fits="face_api face_landmark_68 (MIT)"),
    "gaze": Slot(fits=f"gaze-estimation-adas-0002 ({_OMZ})"),
    "eyes": Slot(fits=f"open-closed-eye-0001 ({_OMZ})"),
    "mouth": Slot(fits="a network on face_api face_landmark_68 (MIT)"),
    "emotions": Slot(fits="face_api face_expression (MIT)", sensitive="emotion"),
    "mask": Slot(fits="AIZOO FaceMaskDetection (MIT)"),
    "glasses": Slot(fits="glasses_detector MobileNetV3 (Apache-2.0)"),
    "liveness": Slot(fits="the MiniFASNet pair of Silent-Face-Anti-Spoofing (Apache-2.0)"),
    "deepfake": Slot(fits="no model we know"),
    "basic_attributes": Slot(fits="face_api age_gender (MIT), without ethnicity"),
    "ethnicity": Slot(fits="no model we know", sensitive="ethnicity"),
    "face_occlusion": Slot(fits="no model we know"),
    "image_modification": Slot(fits="no model we know"),
    "body_detection": Slot(fits=f"pedestrian-detection-adas-0002 ({_OMZ})"),
    "body_descriptor": Slot(fits=f"person-reidentification-retail-0287 ({_OMZ})"),
    "body_basic_attributes": Slot(fits=f"person-attributes-recognition-crossroad-0230 ({_OMZ})"),
    "upper_body": Slot(fits=f"person-attributes-recognition-crossroad-0230 ({_OMZ})"),
    "lower_body": Slot(fits=f"person-attributes-recognition-crossroad-0230 ({_OMZ})"),
    "accessories": Slot(fits=f"person-attributes-recognition-crossroad-0230 ({_OMZ})"),
    "people_count": Slot(fits=f"pedestrian-detection-adas-0002 ({_OMZ})"),
    "iso": Slot(fits="no model we know for the ISO checks beyond pose, size and quality"),
}

_FLAGS = {
    "detect_body": "body_detection",
    "estimate_head_pose": "head_pose",
    "estimate_landmarks5": "landmarks5",
    "estimate_landmarks68": "landmarks68",
    "estimate_quality": "quality",
    "estimate_gaze": "gaze",
    "estimate_eyes_attributes": "eyes",
    "estimate_mouth_attributes": "mouth",
    "estimate_emotions": "emotions",
    "estimate_mask": "mask",
    "mask_states": "mask",
    "estimate_glasses": "glasses",
    "estimate_liveness": "liveness",
    "liveness_states": "liveness",
    "estimate_deepfake": "deepfake",
    "deepfake_states": "deepfake",
    "estimate_basic_attributes": "basic_attributes",
    "estimate_face_occlusion": "face_occlusion",
    "estimate_image_modification": "image_modification",
    "estimate_face_descriptor": "face_descriptor",
    "estimate_face_warp": "landmarks5",
    "estimate_body_descriptor": "body_descriptor",
    "estimate_body_warp": "body_detection",
    "estimate_body_basic_attributes": "body_basic_attributes",
    "estimate_upper_body": "upper_body",
    "estimate_lower_body": "lower_body",
    "estimate_accessories": "accessories",
    "estimate_people_count": "people_count",
}
"""The slot that a parameter needs when it is set. A filter by state needs what it filters by."""


class Catalogue:
    """What this deployment can estimate."""

    def __init__(self, files: list[ModelFile], allow: list[str]) -> None:
        """``files``: the models that are there; ``allow``: the sensitive estimators the operator allows."""
        self._files = {file.name: file for file in files}
        self._allow = set(allow)

    def estimators(self) -> dict[str, Estimator]:
        """Every slot by name, filled or not."""
        return {name: self._estimator(name, slot) for name, slot in SLOTS.items()}

    def require(self, params: SdkParams) -> None:
        """Raises ESTIMATOR_REFUSED (403) when the parameters ask for a sensitive estimator that is not allowed,
        ESTIMATOR_MISSING naming every parameter whose slot is empty."""
        missing = []
        for flag, name in _asked(params):
            self._check_allowed(flag, name)
            if reason := self._missing(name):
                missing.append(f"{flag}: {reason}")
        if missing:
            raise MienError(Code.ESTIMATOR_MISSING, "; ".join(missing))

    def require_slot(self, name: str) -> None:
        """Raises ESTIMATOR_MISSING when the slot is empty."""
        if reason := self._missing(name):
            raise MienError(Code.ESTIMATOR_MISSING, reason)

    def models_for(self, params: SdkParams) -> dict[str, str]:
        """The model and version behind each slot these parameters use, by slot."""
        names = {name for _, name in _asked(params)}
        used = (self._estimator(name, slot) for name, slot in SLOTS.items() if name in names)
        return {each.name: f"{each.model} {each.version}" for each in used if each.available}

    def _check_allowed(self, flag: str, name: str) -> None:
        word = SLOTS[name].sensitive
        if word and word not in self._allow:
            raise MienError(
                Code.ESTIMATOR_REFUSED,
                f"{flag}: {name} is sensitive; the operator has to allow it (MIEN_SDK_ALLOW={word})",
            )

    def _missing(self, name: str) -> str | None:
        slot = SLOTS[name]
        if slot.fits:
            return f"no model is installed for {name}, and this release cannot add one; what fits: {slot.fits}"
        if self._file(slot) is None:
            return f"no model is installed for {name}: pip install {PACKAGE}"
        return None

    def _file(self, slot: Slot) -> ModelFile | None:
        return self._files.get(slot.file or "dlib-sp5")

    def _estimator(self, name: str, slot: Slot) -> Estimator:
        missing = self._missing(name)
        if slot.measure:
            model, version, licence, source = slot.measure, "1", "Apache-2.0", "geometry and plain measures, no network"
        elif slot.file:
            model, version, licence, source = slot.file, "1", LICENCE, SOURCE
        else:
            return Estimator(name=name, available=False, missing=missing)
        return Estimator(
            name=name,
            available=missing is None,
            model=model,
            version=version,
            licence=licence,
            source=source,
            missing=missing,
            descriptor_version=slot.descriptor_version,
        )


def _asked(params: SdkParams) -> Iterator[tuple[str, str]]:
    """The parameters that ask for something, each with the slot it needs."""
    if params.image_type == BODY_WARP:
        yield "image_type", "body_descriptor"
    elif params.detect_face and not params.image_type:
        yield "detect_face", "face_detection"
    for flag, name in _FLAGS.items():
        if getattr(params, flag):
            yield flag, name
    if any(getattr(params, f"{angle}_threshold") is not None for angle in ("pitch", "roll", "yaw")):
        yield "pitch_threshold, roll_threshold, yaw_threshold", "head_pose"
