"""What policies ask of each other, and the path of the fault when they contradict themselves."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from libs.common.errors import Code, MienError
from libs.common.http.routes import parse_json
from libs.common.wire.policies import Policies
from services.handlers import requirements

LIST = "1b1c0b0e-3a57-4b0f-9d63-3b6a1d6f0c11"
SEARCH = {"label": "staff", "candidates": {"origin": "faces", "list_id": LIST}}
EXTRACT = {"extract_face_descriptor": 1}


def policies(**parts: Any) -> Policies:
    return TypeAdapter(Policies).validate_python(parts)


@pytest.mark.parametrize(
    ("faulty", "path"),
    [
        (policies(match_policy=[SEARCH]), "policies.match_policy.0:"),
        (
            policies(extract_policy=EXTRACT, match_policy=[{**SEARCH, "targets": ["age"]}]),
            "policies.match_policy.0.targets:",
        ),
        (
            policies(extract_policy=EXTRACT, match_policy=[{**SEARCH, "filters": {"gender": 1}}]),
            "policies.match_policy.0.filters.gender:",
        ),
        (
            policies(conditional_tags_policy=[{"tag": "x", "filters": {"match": [{"label": "staff"}]}}]),
            "policies.conditional_tags_policy.0.filters.match.0.label:",
        ),
        (
            policies(storage_policy={"face_policy": {"store_face": 1, "filters": {"emotions": [1]}}}),
            "policies.storage_policy.face_policy.filters.emotions:",
        ),
        (
            policies(
                storage_policy={"face_policy": {"link_to_lists_policy": [{"list_id": LIST, "filters": {"mask": [1]}}]}}
            ),
            "policies.storage_policy.face_policy.link_to_lists_policy.0.filters.mask:",
        ),
        (
            policies(storage_policy={"attribute_policy": {"store_attribute": 1}}),
            "policies.storage_policy.attribute_policy.store_attribute:",
        ),
        (
            policies(
                storage_policy={
                    "face_sample_policy": {"store_sample": 0},
                    "face_policy": {"store_face": 1, "set_sample_as_avatar": 1},
                }
            ),
            "policies.storage_policy.face_policy.set_sample_as_avatar:",
        ),
        (
            policies(storage_policy={"callbacks": [{"type": "http", "url": "http://acs.example/hook"}]}),
            "policies.storage_policy.callbacks.0.url:",
        ),
    ],
)
def test_a_contradiction_is_refused_with_its_path(faulty: Policies, path: str) -> None:
    with pytest.raises(MienError) as refused:
        requirements.check(faulty, callbacks_allowed=False)
    assert refused.value.code is Code.BAD_POLICIES
    assert refused.value.detail.startswith(path)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"detect_policy": {"multiface_policy": 3}}', "policies.detect_policy.multiface_policy"),
        ('{"detect_policy": {"detect_face": "1x"}}', "policies.detect_policy.detect_face"),
        ('{"detect_policy": {"smile": 1}}', "policies.detect_policy.smile"),
        ('{"match_policy": [{"label": "a"}]}', "policies.match_policy.0.candidates"),
        (
            '{"conditional_tags_policy": [{"tag": "a", "filters": {"ethnicities": []}}]}',
            "policies.conditional_tags_policy.0.filters.ethnicities",
        ),
    ],
)
def test_a_schema_fault_names_its_path(text: str, path: str) -> None:
    with pytest.raises(MienError) as refused:
        parse_json(text, Policies, "policies")
    assert refused.value.code is Code.BAD_BODY
    assert refused.value.detail.startswith(path)


def test_more_candidates_than_the_platform_allows_is_34005() -> None:
    wanted = policies(extract_policy=EXTRACT, match_policy=[{**SEARCH, "limit": 100_000}])
    with pytest.raises(MienError) as refused:
        requirements.check(wanted, callbacks_allowed=False)
    assert refused.value.code is Code.TOO_MANY_CANDIDATES


def test_defaults_survive_a_round_trip() -> None:
    written = policies(extract_policy=EXTRACT, match_policy=[SEARCH]).model_dump_json()
    assert parse_json(written, Policies).model_dump_json() == written


def test_older_spellings_are_understood() -> None:
    old = policies(
        conditional_tags_policy=[{"tags": ["vip", "staff"], "filters": {"masks": [1]}}, {"tag": "seen"}],
        storage_policy={"callbacks": [{"type": "http", "url": "http://a.example/", "timeout": 5}]},
    )
    rules = [(rule.tag, rule.filters.mask) for rule in old.conditional_tags_policy]
    assert rules == [("vip", [1]), ("staff", [1]), ("seen", None)]
    assert old.storage_policy.callbacks[0].params.timeout == 5


def test_one_inference_call_carries_all_that_the_policies_ask() -> None:
    asked = requirements.sdk_params(
        policies(
            detect_policy={"multiface_policy": 2, "yaw_threshold": 30, "estimate_mask": 1},
            extract_policy={"extract_face_descriptor": 1, "fd_score_threshold": 0.4},
            storage_policy={"face_sample_policy": {"store_sample": 0}},
        ),
        aggregate=1,
    )
    assert (asked.multiface_policy, asked.yaw_threshold, asked.estimate_mask) == (2, 30, 1)
    assert (asked.estimate_face_descriptor, asked.score_threshold) == (1, 0.4)
    assert (asked.estimate_face_warp, asked.aggregate_attributes) == (0, 1)


@pytest.mark.parametrize("secret", ["***", "hunter2", "whsec_hunter2", "whsec_aHVudGVyMg=="])
def test_a_callbacks_secret_that_signs_nothing_is_refused_and_not_quoted(secret: str) -> None:
    callback = {"type": "http", "url": "http://a/", "secret": secret}
    with pytest.raises(MienError) as refused:
        requirements.check(policies(storage_policy={"callbacks": [callback]}), callbacks_allowed=True)
    assert refused.value.detail.startswith("policies.storage_policy.callbacks.0.secret:")
    assert secret == "***" or secret not in refused.value.detail


@pytest.mark.parametrize(
    ("callback", "path"),
    [
        ({"url": "ftp://a.example/hook"}, "url"),
        ({"url": "a.example/hook"}, "url"),
        ({"url": "http:///hook"}, "url"),
        ({"url": "http://a.example:99999/"}, "url"),
        ({"url": "http://me:hunter2@a.example/"}, "url"),
        ({"url": "http://a.example/", "headers": {"Content-Length": "3"}}, "params"),
        ({"url": "http://a.example/", "headers": {"X-Gate": "7\r\nHost: hunter2"}}, "params"),
        ({"url": "http://a.example/", "headers": {"X Gate": "hunter2"}}, "params"),
    ],
)
def test_a_callback_that_could_never_be_made_is_refused_by_its_place(callback: dict[str, Any], path: str) -> None:
    callbacks = [{"type": "http", "url": "http://a.example/"}, {"type": "http", **callback}]
    with pytest.raises(MienError) as refused:
        requirements.check(policies(storage_policy={"callbacks": callbacks}), callbacks_allowed=True)
    assert refused.value.code is Code.BAD_POLICIES
    assert refused.value.detail.startswith(f"policies.storage_policy.callbacks.1.{path}:")
    assert "hunter2" not in refused.value.detail


def test_every_list_is_named_once() -> None:
    wanted = policies(
        extract_policy=EXTRACT,
        match_policy=[SEARCH, {**SEARCH, "label": "again"}],
        storage_policy={"face_policy": {"link_to_lists_policy": [{"list_id": LIST}]}},
    )
    assert requirements.lists_in(wanted) == [LIST]


def test_a_mask_sent_back_keeps_the_password_of_the_same_receiver_only() -> None:
    def calling(login: str, password: str) -> Policies:
        sign = {"type": "basic", "login": login, "password": password}
        return policies(storage_policy={"callbacks": [{"type": "http", "url": "http://a/", "authorization": sign}]})

    kept, lost = calling("me", "***"), calling("you", "***")
    for sent_back in (kept, lost):
        requirements.unmask(sent_back, calling("me", "secret"))
    assert (kept, lost) == (calling("me", "secret"), calling("you", "***"))
    with pytest.raises(MienError, match=r"callbacks\.0\.authorization\.password"):
        requirements.check(lost, callbacks_allowed=True)
