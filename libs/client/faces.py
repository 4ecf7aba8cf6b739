"""Faces: who is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack, overload

from libs.client.answers import AttributeSamples, FaceAttribute
from libs.client.calls import Calls, given, json_content
from libs.client.options import FaceChange, FaceWhere
from libs.client.pictures import Content
from libs.common.wire.faces import AttributeDraft, Face

AttributeLike = AttributeDraft | Mapping[str, Any]


class Faces:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(
        self,
        *,
        user_data: str = "",
        external_id: str | None = None,
        avatar: str | None = None,
        event_id: str | None = None,
        lists: Sequence[str] = (),
        attribute: AttributeLike | None = None,
        face_id: str | None = None,
    ) -> str:
        """Store a face; answers its id. With a ``face_id`` of the caller's, doing it again is harmless.

        ``attribute`` is copied: ``AttributeDraft(attribute_id=...)`` of a temporary one, or the data itself.
        """
        body = _draft(user_data, external_id, avatar, event_id, lists, attribute, face_id=face_id)
        return (await self._calls.send("POST", "/faces", content=body)).field("face_id")

    @overload
    async def find(
        self, *, targets: None = None, page: int = 1, page_size: int = 10, **where: Unpack[FaceWhere]
    ) -> list[Face]: ...

    @overload
    async def find(
        self, *, targets: Sequence[str], page: int = 1, page_size: int = 10, **where: Unpack[FaceWhere]
    ) -> list[dict[str, Any]]: ...

    async def find(
        self,
        *,
        targets: Sequence[str] | None = None,
        page: int = 1,
        page_size: int = 10,
        **where: Unpack[FaceWhere],
    ) -> Any:
        """Faces that pass every condition; with ``targets`` only those keys of each, as plain data."""
        query = {**where, "targets": targets, "page": page, "page_size": page_size}
        answer = await self._calls.send("GET", "/faces", query=query)
        return answer.items("faces", Face) if targets is None else answer.field("faces")

    async def count(self, **where: Unpack[FaceWhere]) -> int:
        return (await self._calls.send("GET", "/faces/count", query=where)).field("faces_count")

    async def count_with_attributes(self, **where: Unpack[FaceWhere]) -> int:
        """How many of those faces can be matched, that is, have an attribute."""
        return (await self._calls.send("GET", "/faces/attributes/count", query=where)).field("faces_count")

    async def get(self, face_id: str) -> Face:
        return (await self._calls.send("GET", f"/faces/{face_id}")).read(Face)

    async def check(self, face_id: str) -> bool:
        return await self._calls.exists(f"/faces/{face_id}")

    async def put(
        self,
        face_id: str,
        *,
        user_data: str = "",
        external_id: str | None = None,
        avatar: str | None = None,
        event_id: str | None = None,
        lists: Sequence[str] = (),
        attribute: AttributeLike | None = None,
    ) -> None:
        """Create the face under this id, or replace all of it."""
        body = _draft(user_data, external_id, avatar, event_id, lists, attribute)
        await self._calls.send("PUT", f"/faces/{face_id}", content=body)

    async def patch(self, face_id: str, **change: Unpack[FaceChange]) -> None:
        """Change the fields that are given; None clears one."""
        await self._calls.send("PATCH", f"/faces/{face_id}", content=json_content(change))

    async def delete(self, face_id: str) -> None:
        await self._calls.send("DELETE", f"/faces/{face_id}")

    async def delete_many(self, face_ids: Sequence[str], *, ignore_missing: bool = False) -> None:
        """Delete up to 1000 faces. Raises MienApiError 22004 when one is missing, unless that may be."""
        body = json_content({"face_ids": list(face_ids)})
        await self._calls.send("DELETE", "/faces", query={"ignore": ignore_missing}, content=body)

    async def get_attributes(
        self, face_id: str, *, targets: Sequence[str] | None = None, descriptor_version: int | None = None
    ) -> FaceAttribute:
        """The face's own attribute. Raises MienApiError 11032 when it has none."""
        query = {"targets": targets, "descriptor_version": descriptor_version}
        return (await self._calls.send("GET", f"/faces/{face_id}/attributes", query=query)).read(FaceAttribute)

    async def attribute_ids(self, face_ids: Sequence[str]) -> dict[str, str]:
        """The id of each face's attribute, by face id; faces without one are left out."""
        answer = await self._calls.send("POST", "/faces/attributes", content=json_content({"face_ids": list(face_ids)}))
        return {pair["face_id"]: pair["attribute_id"] for pair in answer.field("attributes")}

    async def put_attributes(self, face_id: str, attribute: AttributeLike) -> None:
        """Give the face this attribute in place of the one it has."""
        await self._calls.send("PUT", f"/faces/{face_id}/attributes", content=json_content(attribute))

    async def patch_attributes(self, face_id: str, attribute: AttributeLike) -> None:
        """Merge: add or replace a descriptor version, change basic attributes."""
        await self._calls.send("PATCH", f"/faces/{face_id}/attributes", content=json_content(attribute))

    async def delete_attributes(self, face_id: str) -> None:
        await self._calls.send("DELETE", f"/faces/{face_id}/attributes")

    async def attribute_samples(self, face_id: str) -> AttributeSamples:
        return (await self._calls.send("GET", f"/faces/{face_id}/attributes/samples")).read(AttributeSamples)


def _draft(
    user_data: str,
    external_id: str | None,
    avatar: str | None,
    event_id: str | None,
    lists: Sequence[str],
    attribute: AttributeLike | None,
    face_id: str | None = None,
) -> Content:
    return json_content(
        given(
            user_data=user_data,
            external_id=external_id,
            avatar=avatar,
            event_id=event_id,
            lists=list(lists),
            attribute=attribute,
            face_id=face_id,
        )
    )
