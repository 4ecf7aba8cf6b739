"""Temporary attributes: descriptors and basic attributes that expire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from libs.client.answers import AttributeSamples, FaceAttribute
from libs.client.calls import Calls, json_content
from libs.client.faces import AttributeLike
from libs.client.pictures import Content
from libs.common.wire.faces import AttributeDraft


class Attributes:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(self, attribute: AttributeLike, *, ttl: int = 300) -> str:
        """Keep ``attribute`` for ``ttl`` seconds (1..86400); answers its id."""
        return (await self._calls.send("POST", "/attributes", content=_body(attribute, ttl))).field("attribute_id")

    async def find(
        self,
        attribute_ids: Sequence[str],
        *,
        targets: Sequence[str] | None = None,
        descriptor_version: int | None = None,
    ) -> list[FaceAttribute]:
        """Those that exist and have not expired."""
        query = {"attribute_ids": attribute_ids, "targets": targets, "descriptor_version": descriptor_version}
        return (await self._calls.send("GET", "/attributes", query=query)).items("attributes", FaceAttribute)

    async def get(
        self, attribute_id: str, *, targets: Sequence[str] | None = None, descriptor_version: int | None = None
    ) -> FaceAttribute:
        query = {"targets": targets, "descriptor_version": descriptor_version}
        return (await self._calls.send("GET", f"/attributes/{attribute_id}", query=query)).read(FaceAttribute)

    async def check(self, attribute_id: str) -> bool:
        return await self._calls.exists(f"/attributes/{attribute_id}")

    async def put(self, attribute_id: str, attribute: AttributeLike, *, ttl: int = 300, force: bool = False) -> None:
        """Create it under this id; with ``force`` also in place of an existing one."""
        path, query = f"/attributes/{attribute_id}", {"force": force}
        await self._calls.send("PUT", path, query=query, content=_body(attribute, ttl))

    async def delete(self, attribute_id: str) -> None:
        await self._calls.send("DELETE", f"/attributes/{attribute_id}")

    async def samples(self, attribute_id: str) -> AttributeSamples:
        return (await self._calls.send("GET", f"/attributes/{attribute_id}/samples")).read(AttributeSamples)


def _body(attribute: AttributeLike, ttl: int) -> Content:
    fields: Mapping[str, Any] = (
        attribute.model_dump(exclude_unset=True) if isinstance(attribute, AttributeDraft) else attribute
    )
    return json_content({**fields, "ttl": ttl})
