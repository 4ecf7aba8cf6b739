"""Use cases of similarity search. Section 18 of the wire contract."""

from __future__ import annotations

from concurrent.futures import Executor

import numpy as np

from libs.common.descriptors import Kind, Version, version_of
from libs.common.errors import Code, MienError
from libs.common.ids import Id
from libs.common.ports import Events, Faces
from libs.common.wire.matcher import (
    MAX_CANDIDATES,
    MAX_REFERENCES,
    BlockMatches,
    CandidateBlock,
    Match,
    MatchRequest,
    RawMatchRequest,
    ReferenceMatches,
)
from services.matcher.engine import Hits
from services.matcher.gallery import Gallery, Query
from services.matcher.origins import (
    AttributeOrigin,
    EventOrigin,
    FaceOrigin,
    Origin,
    among,
    check_targets,
)
from services.matcher.references import Probe, References, given

MAX_RAW_CANDIDATES = 10_000
MAX_RESULTS = 100_000
"""Rows of one answer."""

DISTANCE_SLACK = 1e-6
"""Added to a threshold's distance before the search; the similarity itself then decides, so that a threshold
taken from an earlier answer keeps the candidate it was taken from."""


class Matcher:
    """Similarity search for every account. Satisfies :class:`libs.common.ports.Matcher`."""

    def __init__(
        self, faces: Faces, events: Events, face_gallery: Gallery, event_gallery: Gallery, thread: Executor
    ) -> None:
        self._references = References(faces, events)
        self._thread = thread
        self._origins: dict[str, Origin] = {
            "faces": FaceOrigin(faces, face_gallery),
            "events": EventOrigin(events, event_gallery),
            "attributes": AttributeOrigin(faces, thread),
        }

    async def match_faces(self, account: Id, request: MatchRequest) -> list[ReferenceMatches]:
        """Match by face descriptor. One element per reference, in it one per candidate block, in request order.

        A reference that is an external or track id gives one element per object that has it. Candidates without
        a descriptor of the matching version are none. Raises what :meth:`References.resolve` raises, LISTS_MISSING,
        TOO_MANY_CANDIDATES, TOO_MANY, FACE_TARGET_UNKNOWN or BAD_BODY for an unknown target.
        """
        return await self._match(account, request, "face")

    async def match_bodies(self, account: Id, request: MatchRequest) -> list[ReferenceMatches]:
        """Match by body descriptor: events and given descriptors against events. Raises as :meth:`match_faces`."""
        for number, block in enumerate(request.candidates):
            if block.filters.origin != "events":
                detail = f"candidates.{number}.filters.origin: {block.filters.origin} have no body descriptors"
                raise MienError(Code.BAD_BODY, detail)
        return await self._match(account, request, "body")

    async def match_raw(self, request: RawMatchRequest) -> list[ReferenceMatches]:
        """Match given descriptors with given descriptors; nothing stored takes part.

        Equal similarities keep the order of the request. Raises BAD_DESCRIPTOR, DESCRIPTOR_VERSION_UNKNOWN,
        MIXED_VERSIONS, TOO_MANY, TOO_MANY_CANDIDATES.
        """
        _bound(len(request.candidates), MAX_RAW_CANDIDATES, "candidates", Code.TOO_MANY_CANDIDATES)
        limit = min(request.limit, len(request.candidates))
        _check_size(len(request.references), [request.limit], len(request.references) * limit)
        probes = [given(reference) for reference in request.references]
        candidates = [given(candidate) for candidate in request.candidates]
        version = _one_version([*probes, *candidates])
        places = {f"{place:05d}": candidate.descriptor for place, candidate in enumerate(candidates)}
        hits = await among(self._thread, places, _query(version, probes, limit, request.threshold))
        return [
            ReferenceMatches(
                reference=probe.echo,
                matches=[
                    BlockMatches(
                        filters={},
                        result=[
                            Match(candidate=candidates[int(place)].echo, similarity=similarity)
                            for place, similarity in _similar(found, version, request.threshold)
                        ],
                    )
                ],
            )
            for probe, found in zip(probes, hits, strict=True)
        ]

    async def _match(self, account: Id, request: MatchRequest, kind: Kind) -> list[ReferenceMatches]:
        limits = [block.limit for block in request.candidates]
        _check_size(len(request.references), limits, len(request.references) * sum(limits))
        for number, block in enumerate(request.candidates):
            check_targets(self._origins[block.filters.origin], block.targets, f"candidates.{number}.targets")
        probes = await self._references.resolve(account, request.references, kind)
        _check_size(len(probes), limits, len(probes) * sum(limits))
        blocks = [await self._search(account, block, probes) for block in request.candidates]
        return [
            ReferenceMatches(reference=probe.echo, matches=list(matches))
            for probe, matches in zip(probes, zip(*blocks, strict=True), strict=True)
        ]

    async def _search(self, account: Id, block: CandidateBlock, probes: list[Probe]) -> list[BlockMatches]:
        """One block for all references: one search, then the records of whoever was found."""
        origin = self._origins[block.filters.origin]
        version = version_of(probes[0].version)
        hits = await origin.search(account, block.filters, _query(version, probes, block.limit, block.threshold))
        found = [_similar(one, version, block.threshold) for one in hits]
        winners = sorted({candidate for one in found for candidate, _ in one})
        targets = set(origin.targets if block.targets is None else block.targets)
        records = await origin.records(account, winners, targets)
        filters = block.filters.model_dump(mode="json", exclude_none=True)
        return [
            BlockMatches(
                filters=filters,
                result=[
                    Match.model_validate({origin.kind: records[candidate], "similarity": similarity})
                    for candidate, similarity in one
                    if candidate in records
                ],
            )
            for one in found
        ]


def _query(version: Version, probes: list[Probe], limit: int, threshold: float) -> Query:
    reach = max(version.distance(threshold), 0.0) + DISTANCE_SLACK
    return Query(version.number, np.stack([probe.descriptor for probe in probes]), limit, reach)


def _similar(hits: Hits, version: Version, threshold: float) -> list[tuple[str, float]]:
    """Ids and similarities of what one reference found, best first, those below ``threshold`` left out."""
    ids, distances = hits
    similarities = version.similarity(distances).tolist()
    return [found for found in zip(ids, similarities, strict=True) if found[1] >= threshold]


def _one_version(probes: list[Probe]) -> Version:
    versions = sorted({probe.version for probe in probes})
    if len(versions) > 1:
        raise MienError(Code.MIXED_VERSIONS, f"versions {', '.join(map(str, versions))} in one match")
    return version_of(versions[0])


def _check_size(references: int, limits: list[int], rows: int) -> None:
    """Raises TOO_MANY, TOO_MANY_CANDIDATES for a match whose answer would be too large."""
    _bound(references, MAX_REFERENCES, "references", Code.TOO_MANY)
    for limit in limits:
        _bound(limit, MAX_CANDIDATES, "limit", Code.TOO_MANY_CANDIDATES)
    _bound(rows, MAX_RESULTS, "references times limits", Code.TOO_MANY_CANDIDATES)


def _bound(asked: int, most: int, what: str, code: Code) -> None:
    if asked > most:
        raise MienError(code, f"{what}: {asked}; at most {most}")
