"""Handler policies as plain data with every default written out. Section 9 of the wire contract."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, field_validator, model_validator

from libs.common.ids import Id
from libs.common.wire.base import Angle, Flag, Unit, Wire
from libs.common.wire.events import Tag
from libs.common.wire.matcher import Candidates
from libs.common.wire.sdk import Multiface


class LivenessPolicy(Wire):
    estimate: Flag = 0
    liveness_threshold: Unit = 0.88
    quality_threshold: Unit = 0.0


class DeepfakePolicy(Wire):
    estimate: Flag = 0
    real_threshold: Unit = 0.5


class FaceQualityCheck(Wire):
    """One check: numeric ones take ``{"min", "max"}``, categorical ones a list of allowed words."""

    estimate: Flag = 1
    threshold: dict[Literal["min", "max"], float] | list[str] | None = None


class FaceQualityPolicy(Wire):
    estimate: Flag = 0
    filter: Flag = 0
    checks: dict[str, FaceQualityCheck] = {}


class BodyAttributesPolicy(Wire):
    estimate_basic_attributes: Flag = 0
    estimate_upper_body: Flag = 0
    estimate_lower_body: Flag = 0
    estimate_accessories: Flag = 0


class DetectPolicy(Wire):
    detect_face: Flag = 1
    detect_body: Flag = 0
    multiface_policy: Multiface = 1
    detect_landmarks68: Flag = 0
    estimate_head_pose: Flag = 0
    extract_exif: Flag = 0
    estimate_quality: Flag = 0
    estimate_gaze: Flag = 0
    estimate_eyes_attributes: Flag = 0
    estimate_mouth_attributes: Flag = 0
    estimate_emotions: Flag = 0
    estimate_mask: Flag = 0
    estimate_glasses: Flag = 0
    estimate_face_occlusion: Flag = 0
    estimate_image_modification: Flag = 0
    estimate_people_count: Flag = 0
    pitch_threshold: Angle | None = None
    roll_threshold: Angle | None = None
    yaw_threshold: Angle | None = None
    mask_states: list[Annotated[int, Field(ge=1, le=3)]] | None = None
    liveness_states: list[Annotated[int, Field(ge=0, le=2)]] | None = None
    deepfake_states: list[Annotated[int, Field(ge=0, le=1)]] | None = None
    estimate_liveness: LivenessPolicy = LivenessPolicy()
    estimate_deepfake: DeepfakePolicy = DeepfakePolicy()
    face_quality: FaceQualityPolicy = FaceQualityPolicy()
    body_attributes: BodyAttributesPolicy = BodyAttributesPolicy()


class ExtractPolicy(Wire):
    extract_face_descriptor: Flag = 0
    extract_body_descriptor: Flag = 0
    extract_basic_attributes: Flag = 0
    fd_score_threshold: Unit = 0.0


class MatchCondition(Wire):
    """The top candidate of search ``label`` has a similarity in [gte, lt); no candidate counts as 0."""

    label: str
    similarity__gte: Unit | None = None
    similarity__lt: Unit | None = None


NonEmpty = Field(min_length=1)


class Filters(Wire):
    """Conditions ANDed, lists inside one condition ORed; absent or empty always passes."""

    gender: Literal[0, 1] | None = None
    age__gte: int | None = None
    age__lt: int | None = None
    ethnicities: Annotated[list[Annotated[int, Field(ge=1, le=4)]], NonEmpty] | None = None
    emotions: Annotated[list[Annotated[int, Field(ge=1, le=7)]], NonEmpty] | None = None
    mask: Annotated[list[Annotated[int, Field(ge=1, le=3)]], NonEmpty] | None = Field(
        default=None, validation_alias=AliasChoices("mask", "masks")
    )
    liveness: Annotated[list[Annotated[int, Field(ge=0, le=2)]], NonEmpty] | None = None
    deepfake: Annotated[list[Annotated[int, Field(ge=0, le=1)]], NonEmpty] | None = None
    match: Annotated[list[MatchCondition], NonEmpty] | None = None


class MatchPolicy(Wire):
    """One named search of every face (or body) that passes ``filters``."""

    label: str = Field(min_length=1, max_length=36)
    candidates: Candidates
    filters: Filters = Filters()
    limit: int = Field(default=3, ge=1)
    threshold: Unit = 0.0
    targets: list[str] | None = None
    descriptor: Literal["face", "body"] = "face"


class ConditionalTag(Wire):
    tag: Tag
    filters: Filters = Filters()


def _one_tag_each(rules: Any) -> Any:
    """Some clients send a list ``tags`` in a rule: it becomes a rule for each of them."""
    return [one for rule in rules for one in _split(rule)] if isinstance(rules, list) else rules


def _split(rule: Any) -> list[Any]:
    tags = rule.get("tags") if isinstance(rule, dict) and "tag" not in rule else None
    if not isinstance(tags, list) or not tags:
        return [rule]
    rest = {name: value for name, value in rule.items() if name != "tags"}
    return [{**rest, "tag": tag} for tag in tags]


class SamplePolicy(Wire):
    store_sample: Flag = 1
    filters: Filters = Filters()


class ImageOriginPolicy(Wire):
    store_image: Flag = 0
    filters: Filters = Filters()


class AttributePolicy(Wire):
    store_attribute: Flag = 0
    ttl: int = Field(default=300, ge=1, le=86400)
    filters: Filters = Filters()


class LinkToList(Wire):
    list_id: Id
    filters: Filters = Filters()


class FacePolicy(Wire):
    store_face: Flag = 0
    set_sample_as_avatar: Flag = 0
    link_to_lists_policy: Annotated[list[LinkToList], Field(max_length=100)] = []
    filters: Filters = Filters()


class EventPolicy(Wire):
    store_event: Flag = 1
    wait_saving: Flag = 1
    filters: Filters = Filters()


class NotificationPolicy(Wire):
    send_notification: Flag = 1
    filters: Filters = Filters()


class BasicAuthorization(Wire):
    type: Literal["basic"] = "basic"
    login: str
    password: str


class CallbackParams(Wire):
    timeout: float = Field(default=10.0, gt=0, le=60)
    content_type: Literal["application/json", "application/msgpack"] = "application/json"
    headers: Annotated[dict[str, str], Field(max_length=50)] = {}


class Callback(Wire):
    """Whom to tell. ``params`` fields are accepted at the top too, as older clients send them.

    ``secret`` is our extension: ``whsec_<base64>`` (docs/notifications.md), the key that signs http callbacks. It and
    the password are sealed (libs/common/sealing.py) wherever they are kept or sent, and longer by that.
    """

    type: Literal["http", "luna-ws-notification"]
    enable: Flag = 1
    url: Annotated[str, Field(max_length=2048)] | None = None
    authorization: BasicAuthorization | None = None
    secret: Annotated[str, Field(max_length=512)] | None = None
    params: CallbackParams = CallbackParams()
    filters: Filters = Filters()

    @model_validator(mode="before")
    @classmethod
    def _gather_params(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        flat = {name: value[name] for name in CallbackParams.model_fields if name in value}
        if not flat:
            return value
        rest = {name: item for name, item in value.items() if name not in flat}
        return {**rest, "params": {**flat, **(value.get("params") or {})}}

    @model_validator(mode="after")
    def _http_has_url(self) -> Self:
        if self.type == "http" and not self.url:
            raise ValueError("an http callback needs a url")
        return self


class StoragePolicy(Wire):
    face_sample_policy: SamplePolicy = SamplePolicy()
    body_sample_policy: SamplePolicy = SamplePolicy()
    image_origin_policy: ImageOriginPolicy = ImageOriginPolicy()
    attribute_policy: AttributePolicy = AttributePolicy()
    face_policy: FacePolicy = FacePolicy()
    event_policy: EventPolicy = EventPolicy()
    notification_policy: NotificationPolicy = NotificationPolicy()
    callbacks: Annotated[list[Callback], Field(max_length=20)] = []


class Policies(Wire):
    detect_policy: DetectPolicy = DetectPolicy()
    extract_policy: ExtractPolicy = ExtractPolicy()
    match_policy: Annotated[list[MatchPolicy], Field(max_length=30)] = []
    conditional_tags_policy: Annotated[list[ConditionalTag], BeforeValidator(_one_tag_each), Field(max_length=100)] = []
    storage_policy: StoragePolicy = StoragePolicy()

    @field_validator("match_policy")
    @classmethod
    def _labels_differ(cls, policies: list[MatchPolicy]) -> list[MatchPolicy]:
        labels = [policy.label for policy in policies]
        if len(set(labels)) != len(labels):
            raise ValueError("labels of match_policy must differ")
        return policies
