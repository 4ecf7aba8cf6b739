"""Lists of faces: galleries to search in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Unpack

from libs.client.answers import ListWithFaces
from libs.client.calls import Calls, given, json_content
from libs.client.options import ListWhere
from libs.common.wire.faces import FaceList


class Lists:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(self, user_data: str = "", *, list_id: str | None = None) -> str:
        """Store a list; answers its id. With a ``list_id`` of the caller's, doing it again is harmless."""
        body = json_content(given(user_data=user_data, list_id=list_id))
        return (await self._calls.send("POST", "/lists", content=body)).field("list_id")

    async def find(self, *, page: int = 1, page_size: int = 10, **where: Unpack[ListWhere]) -> list[FaceList]:
        answer = await self._calls.send("GET", "/lists", query={**where, "page": page, "page_size": page_size})
        return answer.items("lists", FaceList)

    async def count(self, **where: Unpack[ListWhere]) -> int:
        return (await self._calls.send("GET", "/lists/count", query=where)).field("lists_count")

    async def get(self, list_id: str, *, page: int = 1, page_size: int = 10) -> ListWithFaces:
        """The list and one page of the ids of its faces."""
        query = {"page": page, "page_size": page_size}
        return (await self._calls.send("GET", f"/lists/{list_id}", query=query)).read(ListWithFaces)

    async def check(self, list_id: str) -> bool:
        return await self._calls.exists(f"/lists/{list_id}")

    async def patch(self, list_id: str, *, user_data: str) -> None:
        await self._calls.send("PATCH", f"/lists/{list_id}", content=json_content({"user_data": user_data}))

    async def delete(self, list_id: str, *, with_faces: bool = False) -> None:
        """Delete the list; its faces stay, unless ``with_faces``."""
        await self._calls.send("DELETE", f"/lists/{list_id}", query={"with_faces": with_faces})

    async def delete_many(self, list_ids: Sequence[str], *, with_faces: bool = False) -> None:
        """Delete up to 1000 lists. Raises MienApiError 22005 when one is missing."""
        body = json_content({"list_ids": list(list_ids)})
        await self._calls.send("DELETE", "/lists", query={"with_faces": with_faces}, content=body)

    async def attach(self, list_id: str, face_ids: Sequence[str]) -> None:
        """Put up to 1000 faces on the list; those that are on it stay."""
        await self._link(list_id, face_ids, "attach")

    async def detach(self, list_id: str, face_ids: Sequence[str]) -> None:
        """Take up to 1000 faces off the list; the faces themselves stay."""
        await self._link(list_id, face_ids, "detach")

    async def _link(self, list_id: str, face_ids: Sequence[str], action: Literal["attach", "detach"]) -> None:
        body = {"list_id": list_id, "face_ids": list(face_ids), "action": action}
        await self._calls.send("PATCH", "/linker", content=json_content(body))
