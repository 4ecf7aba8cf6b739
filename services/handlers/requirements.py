"""What policies ask of inference, and whether they fit together.

A fault is raised with the path of the policy that has it, before anything is stored or run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from libs.common.addresses import check_headers, read_address
from libs.common.errors import Code, MienError
from libs.common.ids import Id
from libs.common.webhooks import signing_key
from libs.common.wire.events import EVENT_TARGETS
from libs.common.wire.matcher import ATTRIBUTE_TARGETS, FACE_TARGETS, MAX_CANDIDATES, FaceCandidates
from libs.common.wire.policies import Filters, MatchPolicy, Policies
from libs.common.wire.sdk import SdkParams
from services.handlers import face_checks

TARGETS = {
    "faces": FACE_TARGETS,
    "events": tuple(target for target in EVENT_TARGETS if target != "match_result"),
    "attributes": ATTRIBUTE_TARGETS,
}
"""What may be kept of a candidate. An event that kept its candidates' own matches would grow with every event."""

USUAL_TARGETS = {
    "faces": FACE_TARGETS,
    "events": ("event_id", "create_time", "external_id", "handler_id", "source", "user_data"),
    "attributes": ATTRIBUTE_TARGETS,
}
"""What is kept when a search names no targets."""

MASK = "***"
"""What is shown in place of a callback's password and secret."""


def targets_of(policy: MatchPolicy) -> tuple[str, ...]:
    """The keys of a candidate that a search answers with."""
    return tuple(policy.targets) if policy.targets is not None else USUAL_TARGETS[policy.candidates.origin]


def sdk_params(policies: Policies, image_type: int = 0, use_exif_info: int = 1, aggregate: int = 0) -> SdkParams:
    """The one inference call that serves these policies."""
    detect, extract, storage = policies.detect_policy, policies.extract_policy, policies.storage_policy
    same = {name: getattr(detect, name) for name in _SAME_NAMES}
    from_warp = image_type != 0
    return SdkParams.model_validate(
        {
            **same,
            **dict.fromkeys(face_checks.flags(detect.face_quality), 1),
            "image_type": image_type,
            "use_exif_info": use_exif_info,
            "aggregate_attributes": aggregate,
            "estimate_landmarks5": int(not from_warp),
            "estimate_landmarks68": detect.detect_landmarks68,
            "estimate_liveness": detect.estimate_liveness.estimate,
            "liveness_threshold": detect.estimate_liveness.liveness_threshold,
            "quality_threshold": detect.estimate_liveness.quality_threshold,
            "estimate_deepfake": detect.estimate_deepfake.estimate,
            "estimate_body_basic_attributes": detect.body_attributes.estimate_basic_attributes,
            "estimate_upper_body": detect.body_attributes.estimate_upper_body,
            "estimate_lower_body": detect.body_attributes.estimate_lower_body,
            "estimate_accessories": detect.body_attributes.estimate_accessories,
            "estimate_basic_attributes": extract.extract_basic_attributes,
            "estimate_face_descriptor": extract.extract_face_descriptor,
            "estimate_body_descriptor": extract.extract_body_descriptor,
            "score_threshold": extract.fd_score_threshold,
            "estimate_face_warp": int(bool(detect.detect_face and storage.face_sample_policy.store_sample)),
            "estimate_body_warp": int(bool(detect.detect_body and storage.body_sample_policy.store_sample)),
        }
    )


_SAME_NAMES = (
    "detect_face",
    "detect_body",
    "multiface_policy",
    "extract_exif",
    "estimate_head_pose",
    "estimate_quality",
    "estimate_gaze",
    "estimate_eyes_attributes",
    "estimate_mouth_attributes",
    "estimate_emotions",
    "estimate_mask",
    "estimate_glasses",
    "estimate_face_occlusion",
    "estimate_image_modification",
    "estimate_people_count",
    "pitch_threshold",
    "roll_threshold",
    "yaw_threshold",
    "mask_states",
    "liveness_states",
    "deepfake_states",
)
"""Parameters of ``/sdk`` that a detect policy has under the same name."""


def lists_in(policies: Policies) -> list[Id]:
    """Every list the policies name, once."""
    searched = [
        policy.candidates.list_id
        for policy in policies.match_policy
        if isinstance(policy.candidates, FaceCandidates) and policy.candidates.list_id
    ]
    linked = [link.list_id for link in policies.storage_policy.face_policy.link_to_lists_policy]
    return list(dict.fromkeys(searched + linked))


def check(policies: Policies, *, callbacks_allowed: bool) -> None:
    """Raises BAD_POLICIES (or TOO_MANY_CANDIDATES) naming the path of the first fault."""
    _check_searches(policies)
    _check_storage(policies)
    _check_face_checks(policies)
    for path, filters in filters_in(policies):
        _check_filter(policies, path, filters)
    _check_callbacks(policies, allowed=callbacks_allowed)


def unmask(policies: Policies, stored: Policies | None) -> None:
    """Give a handler that was shown, changed and sent back the passwords and secrets its masks stand for.

    A mask that stands for nothing stored of that URL (and login) is left, for :func:`check` to refuse.
    """
    before = stored.storage_policy.callbacks if stored else []
    known = {
        (callback.url, callback.authorization.login): callback.authorization.password
        for callback in before
        if callback.authorization
    }
    secrets = {callback.url: callback.secret for callback in before if callback.secret}
    for callback in policies.storage_policy.callbacks:
        if callback.secret == MASK:
            callback.secret = secrets.get(callback.url, MASK)
        if (sign := callback.authorization) and sign.password == MASK:
            sign.password = known.get((callback.url, sign.login), MASK)


def filters_in(policies: Policies) -> Iterator[tuple[str, Filters]]:
    """Every filter object with its path inside the policies."""
    for number, policy in enumerate(policies.match_policy):
        yield f"match_policy.{number}.filters", policy.filters
    for number, tag in enumerate(policies.conditional_tags_policy):
        yield f"conditional_tags_policy.{number}.filters", tag.filters
    storage = policies.storage_policy
    for name in _WITH_FILTERS:
        yield f"storage_policy.{name}.filters", getattr(storage, name).filters
    for number, link in enumerate(storage.face_policy.link_to_lists_policy):
        yield f"storage_policy.face_policy.link_to_lists_policy.{number}.filters", link.filters
    for number, callback in enumerate(storage.callbacks):
        yield f"storage_policy.callbacks.{number}.filters", callback.filters


_WITH_FILTERS = (
    "face_sample_policy",
    "body_sample_policy",
    "image_origin_policy",
    "attribute_policy",
    "face_policy",
    "event_policy",
    "notification_policy",
)


def _check_searches(policies: Policies) -> None:
    extract = policies.extract_policy
    for number, policy in enumerate(policies.match_policy):
        path = f"match_policy.{number}"
        if policy.limit > MAX_CANDIDATES:
            raise MienError(Code.TOO_MANY_CANDIDATES, f"policies.{path}.limit: at most {MAX_CANDIDATES}")
        if policy.descriptor == "face" and not extract.extract_face_descriptor:
            raise _fault(path, "a face search needs extract_policy.extract_face_descriptor 1")
        if policy.descriptor == "body" and not extract.extract_body_descriptor:
            raise _fault(path, "a body search needs extract_policy.extract_body_descriptor 1")
        if policy.descriptor == "body" and policy.candidates.origin != "events":
            raise _fault(f"{path}.candidates.origin", "bodies are searched among events only")
        _check_targets(path, policy)


def _check_targets(path: str, policy: MatchPolicy) -> None:
    known = (*TARGETS[policy.candidates.origin], "similarity")
    for target in policy.targets or ():
        if target not in known:
            raise _fault(f"{path}.targets", f"{target} is not one of {', '.join(known)}")


def _check_storage(policies: Policies) -> None:
    storage, extract = policies.storage_policy, policies.extract_policy
    if storage.attribute_policy.store_attribute and not (
        extract.extract_face_descriptor or extract.extract_basic_attributes
    ):
        raise _fault("storage_policy.attribute_policy.store_attribute", "extract_policy extracts nothing to store")
    face = storage.face_policy
    if face.store_face and face.set_sample_as_avatar and not storage.face_sample_policy.store_sample:
        raise _fault("storage_policy.face_policy.set_sample_as_avatar", "needs face_sample_policy.store_sample 1")


def _check_face_checks(policies: Policies) -> None:
    face_quality = policies.detect_policy.face_quality
    for name in face_quality.checks:
        path = f"detect_policy.face_quality.checks.{name}"
        if name not in face_checks.enabled(face_quality):
            continue
        if name not in face_checks.CHECKS:
            raise MienError(
                Code.ESTIMATOR_MISSING,
                f"policies.{path}: no model is installed for it; there are {', '.join(face_checks.CHECKS)}",
            )
        if reason := face_checks.wrong(name, face_quality):
            raise _fault(f"{path}.threshold", reason)


def _check_callbacks(policies: Policies, *, allowed: bool) -> None:
    for number, callback in enumerate(policies.storage_policy.callbacks):
        path = f"storage_policy.callbacks.{number}"
        if callback.type == "http" and callback.enable and not allowed:
            raise _fault(f"{path}.url", "this deployment makes no calls to URLs: set MIEN_FETCH_ALLOW_URLS")
        if callback.authorization and callback.authorization.password == MASK:
            raise _fault(f"{path}.authorization.password", f"{MASK} is shown in place of one; send the password itself")
        _check_secret(f"{path}.secret", callback.secret)
        if callback.url is not None:
            _check_call(path, callback.url, callback.params.headers)


def _check_call(path: str, url: str, headers: Mapping[str, str]) -> None:
    """A call that can never be made is better refused now than given up with every event."""
    try:
        read_address(url)
    except MienError as wrong:
        raise _fault(f"{path}.url", wrong.detail) from None
    try:
        check_headers(headers)
    except MienError as wrong:
        raise _fault(f"{path}.params", wrong.detail) from None


def _check_secret(path: str, secret: str | None) -> None:
    if secret == MASK:
        raise _fault(path, f"{MASK} is shown in place of one; send the secret itself")
    try:
        if secret is not None:
            signing_key(secret)
    except ValueError as wrong:
        raise _fault(path, str(wrong)) from None


def _check_filter(policies: Policies, path: str, filters: Filters) -> None:
    detect, extract = policies.detect_policy, policies.extract_policy
    needs = (
        ("gender", extract.extract_basic_attributes, "extract_policy.extract_basic_attributes"),
        ("age__gte", extract.extract_basic_attributes, "extract_policy.extract_basic_attributes"),
        ("age__lt", extract.extract_basic_attributes, "extract_policy.extract_basic_attributes"),
        ("ethnicities", extract.extract_basic_attributes, "extract_policy.extract_basic_attributes"),
        ("emotions", detect.estimate_emotions, "detect_policy.estimate_emotions"),
        ("mask", detect.estimate_mask or detect.mask_states, "detect_policy.estimate_mask"),
        (
            "liveness",
            detect.estimate_liveness.estimate or detect.liveness_states,
            "detect_policy.estimate_liveness.estimate",
        ),
        (
            "deepfake",
            detect.estimate_deepfake.estimate or detect.deepfake_states,
            "detect_policy.estimate_deepfake.estimate",
        ),
    )
    for name, made, flag in needs:
        if getattr(filters, name) is not None and not made:
            raise _fault(f"{path}.{name}", f"needs {flag} 1")
    labels = {policy.label for policy in policies.match_policy}
    for number, condition in enumerate(filters.match or ()):
        if condition.label not in labels:
            raise _fault(f"{path}.match.{number}.label", f"no search is labelled {condition.label!r}")


def _fault(path: str, reason: str) -> MienError:
    return MienError(Code.BAD_POLICIES, f"policies.{path}: {reason}")
