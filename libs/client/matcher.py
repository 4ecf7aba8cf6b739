"""Search by similarity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from libs.client.calls import Calls, given, json_content
from libs.common.wire.matcher import CandidateBlock, Reference, ReferenceMatches

ReferenceLike = Reference | Mapping[str, Any]
BlockLike = CandidateBlock | Mapping[str, Any]


class Matcher:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def faces(
        self, references: Sequence[ReferenceLike], candidates: Sequence[BlockLike]
    ) -> list[ReferenceMatches]:
        """One element per reference, in it one per candidate block, best match first."""
        return await self._match("/matcher/faces", references, candidates)

    async def bodies(
        self, references: Sequence[ReferenceLike], candidates: Sequence[BlockLike]
    ) -> list[ReferenceMatches]:
        """As :meth:`faces`, by body descriptor, against events."""
        return await self._match("/matcher/bodies", references, candidates)

    async def raw(
        self,
        references: Sequence[ReferenceLike],
        candidates: Sequence[ReferenceLike],
        *,
        limit: int | None = None,
        threshold: float | None = None,
    ) -> list[ReferenceMatches]:
        """Given descriptors against given descriptors; nothing stored is read."""
        options = given(limit=limit, threshold=threshold)
        return await self._match("/matcher/raw", references, candidates, **options)

    async def _match(
        self, path: str, references: Sequence[Any], candidates: Sequence[Any], **options: Any
    ) -> list[ReferenceMatches]:
        body = {"references": list(references), "candidates": list(candidates), **options}
        return (await self._calls.send("POST", path, content=json_content(body))).read(list[ReferenceMatches])
