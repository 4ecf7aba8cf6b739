"""Steps that say whom the people resemble, and tag accordingly."""

from __future__ import annotations

from libs.common.wire.base import chunks
from libs.common.wire.estimations import Descriptor
from libs.common.wire.matcher import (
    MAX_REFERENCES,
    CandidateBlock,
    MatchRequest,
    RawDescriptor,
    RawReference,
)
from libs.common.wire.policies import MatchPolicy
from services.handlers import requirements
from services.handlers.emission import Draft, Emission
from services.handlers.filters import passes
from services.handlers.ports import Services


async def match(emission: Emission, services: Services) -> None:
    """Run every search for the drafts that pass its filters, all of them in one call."""
    for policy in emission.policies.match_policy:
        wanted = [draft for draft in emission.drafts if _searched(draft, policy)]
        for some in chunks(wanted, MAX_REFERENCES):
            await _search(emission, services, policy, some)


def _searched(draft: Draft, policy: MatchPolicy) -> bool:
    return _descriptor(draft, policy) is not None and passes(policy.filters, draft.facts())


def _descriptor(draft: Draft, policy: MatchPolicy) -> Descriptor | None:
    return draft.descriptor if policy.descriptor == "face" else draft.body_descriptor


async def _search(emission: Emission, services: Services, policy: MatchPolicy, drafts: list[Draft]) -> None:
    references = [_reference(draft, policy) for draft in drafts]
    block = CandidateBlock(
        filters=policy.candidates, limit=policy.limit, threshold=policy.threshold, targets=_targets(policy)
    )
    request = MatchRequest(references=list(references), candidates=[block])
    ask = services.matcher.match_faces if policy.descriptor == "face" else services.matcher.match_bodies
    for draft, answer in zip(drafts, await ask(emission.account, request), strict=True):
        draft.matches[policy.label] = answer.matches[0].result


def _reference(draft: Draft, policy: MatchPolicy) -> RawReference:
    descriptor = _descriptor(draft, policy)
    assert descriptor is not None
    return RawReference(
        type="raw_descriptor",
        id=draft.event_id,
        data=RawDescriptor(descriptor=descriptor.data, version=descriptor.version),
    )


def _targets(policy: MatchPolicy) -> list[str]:
    """The asked keys, and the ids, which the event's top match needs; records drop what was not asked."""
    kind = policy.candidates.origin.removesuffix("s")
    needed = [f"{kind}_id"] if kind == "attribute" else [f"{kind}_id", "external_id"]
    return list(dict.fromkeys([*requirements.targets_of(policy), *needed]))


async def tag(emission: Emission, _: Services) -> None:
    """Conditional tags, after those of the query, none twice."""
    for draft in emission.drafts:
        facts = draft.facts()
        for rule in emission.policies.conditional_tags_policy:
            if rule.tag not in draft.tags and passes(rule.filters, facts):
                draft.tags.append(rule.tag)
