"""What is seen in a picture: boxes, landmarks, attributes, descriptors. Section 6 of the wire contract."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field

from libs.common.wire.base import Blob, Unit, Wire

EMOTIONS = {1: "anger", 2: "disgust", 3: "fear", 4: "happiness", 5: "neutral", 6: "sadness", 7: "surprise"}
MASKS = {1: "missing", 2: "medical_mask", 3: "occluded"}
LIVENESS = {0: "spoof", 1: "real", 2: "unknown"}
DEEPFAKE = {0: "fake", 1: "real"}
ETHNICITIES = {1: "indian", 2: "asian", 3: "african_american", 4: "caucasian"}
"""Ids as in the client description the project was given."""


def id_of(names: dict[int, str], name: str | None) -> int | None:
    """The contract's id of a word, or None when there is no word."""
    return next((number for number, word in names.items() if word == name), None)


Pixel = tuple[int, int]


_FAR = 2**31 - 1
"""Further than any picture reaches; larger numbers have no form in msgpack."""

Place = Annotated[int, Field(ge=-_FAR, le=_FAR)]
Side = Annotated[int, Field(ge=1, le=_FAR)]


class Rect(Wire):
    """A box in pixels of the EXIF-rotated source picture; may reach over its edge."""

    x: Place
    y: Place
    width: Side
    height: Side


class HeadPose(Wire):
    """Degrees, -180..180."""

    pitch: float
    roll: float
    yaw: float


class Gaze(Wire):
    pitch: float | None
    yaw: float | None


class Quality(Wire):
    """Plain image measures of a face, 0..1, 1 = good."""

    blurriness: Unit
    dark: Unit
    illumination: Unit
    specularity: Unit
    light: Unit


class Emotions(Wire):
    predominant_emotion: str
    estimations: dict[str, Unit]


class FaceOcclusionOfMask(Wire):
    predominant_occlusion: str
    estimations: dict[str, Unit]


class Mask(Wire):
    predominant_mask: str
    estimations: dict[str, Unit]
    face_occlusion: FaceOcclusionOfMask | None = None


class LivenessEstimations(Wire):
    quality: Unit
    probability: Unit = Field(validation_alias=AliasChoices("probability", "score"))


class Liveness(Wire):
    prediction: Literal["spoof", "real", "unknown"]
    estimations: LivenessEstimations


class Deepfake(Wire):
    prediction: Literal["real", "fake"]
    score: Unit


class Glasses(Wire):
    glasses: Literal["no_glasses", "eyeglasses", "sunglasses"]


class Ethnicities(Wire):
    predominant_ethnicity: str
    estimations: dict[str, Unit] = {}


class BasicAttributes(Wire):
    """Age in years, gender 0 female / 1 male; each may be unknown."""

    age: Annotated[int, Field(ge=0, le=150)] | None = None
    gender: Literal[0, 1] | None = None
    ethnicities: Ethnicities | None = None


class QualityCheck(Wire):
    """One face check: what was measured, what is allowed, and whether it passed."""

    name: str
    object_value: Any
    threshold: Any
    result: Literal[0, 1]


class FaceQuality(Wire):
    """``status`` is 1 when every check passed."""

    status: Literal[0, 1]
    checks: list[QualityCheck]


class Portrait(Wire):
    """The picture about a face, in the terms of ISO/IEC 19794-5: lengths in pixels of the upright picture.

    The head reaches from ear to ear, taken as from cheek to cheek, and from chin to crown, taken as twice the
    way from the eyes to the chin.
    """

    image_width: int
    image_height: int
    eye_distance: float = Field(description="between the centres of the eyes, px")
    horizontal_center: float = Field(description="middle between the eyes, in parts of the width from the left")
    vertical_center: float = Field(description="the same, in parts of the height from the top")
    head_width: float = Field(description="in parts of the width of the picture")
    head_height: float = Field(description="in parts of the height of the picture")
    indent_left: int = Field(description="from the edge of the picture to the head, px; below 0: it is cut")
    indent_right: int
    indent_upper: int
    indent_lower: int
    dynamic_range: float = Field(description="of the face: bits of its different brightnesses, 0..8")
    background_uniformity: Unit | None = Field(
        description="share of what is seen beside and above the head that has its usual colour; null: nothing is"
    )
    background_lightness: Unit | None = Field(description="mean brightness of the same")


class People(Wire):
    """Everybody in a picture; ``coordinates``: the centre of each head, where they were asked for."""

    count: int = Field(ge=0)
    coordinates: list[Pixel] | None = None


class ImageModification(Wire):
    """``status`` 1: nothing shows that the picture was tampered with; ``score``: how sure that is."""

    status: Literal[0, 1]
    score: Unit


class FoundObject(Wire):
    """A thing of a kind that the model knows, by the words of COCO."""

    rect: Rect
    score: Unit
    label: str


class Likely(Wire):
    """One of several words, and the share of each."""

    predominant: str
    estimations: dict[str, Unit]


class FoundVehicle(Wire):
    """``type``: "bicycle", "bus", "car", "motorbike" or "truck". ``color``: of buses, cars and trucks; null without a
    model for it."""

    rect: Rect
    score: Unit
    type: str
    color: Likely | None = None


class ImageTag(Wire):
    """A word for what a picture shows, and how sure it is."""

    label: str
    score: Unit


class FoundPlate(Wire):
    """What is read in a region. ``score``: the least sure of its characters; ``text`` is empty where none is read."""

    rect: Rect
    text: str
    score: Unit


class ImageEstimations(Wire):
    """What is estimated of a whole picture; null where it was not asked for. From ``objects`` on these are ours."""

    people: People | None = None
    image_modification: ImageModification | None = None
    objects: list[FoundObject] | None = None
    vehicles: list[FoundVehicle] | None = None
    tags: list[ImageTag] | None = None
    plates: list[FoundPlate] | None = None


class FaceAttributes(Wire):
    """Estimations of one face; a key that was not estimated is null."""

    head_pose: HeadPose | None = None
    gaze: Gaze | None = None
    eyes_attributes: dict[str, Any] | None = None
    mouth_attributes: dict[str, Any] | None = None
    emotions: Emotions | None = None
    mask: Mask | None = None
    glasses: Glasses | None = None
    liveness: Liveness | None = None
    quality: Quality | None = None
    deepfake: Deepfake | None = None
    face_occlusion: dict[str, Any] | None = None
    face_quality: FaceQuality | None = None
    basic_attributes: BasicAttributes | None = None


class BodyBasicAttributes(Wire):
    apparent_age: Annotated[int, Field(ge=0, le=150)] | None = None
    apparent_gender: Literal[0, 1, 2] | None = None


class Headwear(Wire):
    state: Literal[0, 1, 2] | None = None
    apparent_color: str | None = None


class Sleeve(Wire):
    length: str | None = None


class Colors(Wire):
    colors: list[str] = []


class UpperBody(Wire):
    headwear: Headwear | None = None
    sleeve: Sleeve | None = None
    upper_clothing: Colors | None = None


class LowerGarment(Wire):
    type: str | None = None
    colors: list[str] = []


class Shoes(Wire):
    apparent_color: str | None = None


class LowerBody(Wire):
    lower_garment: LowerGarment | None = None
    shoes: Shoes | None = None


class Backpack(Wire):
    state: Literal[0, 1, 2] | None = None


class Accessories(Wire):
    backpack: Backpack | None = None


class BodyAttributes(Wire):
    basic_attributes: BodyBasicAttributes | None = None
    upper_body: UpperBody | None = None
    lower_body: LowerBody | None = None
    accessories: Accessories | None = None


class Descriptor(Wire):
    """A descriptor as it travels between services.

    ``data`` is little-endian float32 of the length its ``version`` has in ``libs.common.descriptors``;
    ``score`` is the quality of the picture for recognition, 0..1.
    """

    version: int
    data: Blob
    score: Unit | None = None
