"""Handlers: policies stored once, applied to pictures many times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Unpack

from libs.client.calls import Calls, given, json_content
from libs.client.inputs import Boxes, content_with
from libs.client.options import EmitOptions, HandlerWhere
from libs.client.pictures import Pictures
from libs.common.clock import render
from libs.common.wire.handlers import Emission, Handler
from libs.common.wire.policies import Policies

PoliciesLike = Policies | Mapping[str, Any]
Found = list[Handler]


class Handlers:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(
        self,
        policies: PoliciesLike | None = None,
        *,
        description: str = "",
        handler_type: Literal[0, 1] = 0,
    ) -> str:
        """Store a handler; answers its id. Type 0 is static and needs policies, 1 brings them with each emission."""
        body = _draft(policies, description, handler_type)
        return (await self._calls.send("POST", "/handlers", content=json_content(body))).field("handler_id")

    async def validate(self, policies: PoliciesLike) -> None:
        """Raises MienApiError (400) naming the path of the fault."""
        await self._calls.send("POST", "/handlers/validator", content=json_content({"policies": policies}))

    async def get(self, handler_id: str) -> Handler:
        """The handler, every default of its policies written out."""
        return (await self._calls.send("GET", f"/handlers/{handler_id}")).read(Handler)

    async def list(self, *, page: int = 1, page_size: int = 10, **where: Unpack[HandlerWhere]) -> Found:
        answer = await self._calls.send("GET", "/handlers", query={**where, "page": page, "page_size": page_size})
        return answer.items("handlers", Handler)

    async def count(self, **where: Unpack[HandlerWhere]) -> int:
        return (await self._calls.send("GET", "/handlers/count", query=where)).field("handlers_count")

    async def replace(
        self,
        handler_id: str,
        policies: PoliciesLike | None = None,
        *,
        description: str = "",
        handler_type: Literal[0, 1] = 0,
    ) -> None:
        """Put this in place of the stored handler; nothing of the old one is kept."""
        body = _draft(policies, description, handler_type)
        await self._calls.send("PUT", f"/handlers/{handler_id}", content=json_content(body))

    async def delete(self, handler_id: str) -> None:
        await self._calls.send("DELETE", f"/handlers/{handler_id}")

    async def check(self, handler_id: str) -> bool:
        return await self._calls.exists(f"/handlers/{handler_id}")

    async def emit(
        self,
        handler_id: str,
        images: Pictures = (),
        *,
        urls: Sequence[str] = (),
        samples: Sequence[str] = (),
        image_ids: Sequence[str] = (),
        policies: PoliciesLike | None = None,
        meta: Mapping[str, Any] | None = None,
        face_bounding_boxes: Boxes | None = None,
        event_time: datetime | str | None = None,
        event_end_time: datetime | str | None = None,
        **query: Unpack[EmitOptions],
    ) -> Emission:
        """Generate events from pictures: given here, fetched from ``urls``, or stored already.

        ``samples`` are ids of stored warps, ``image_ids`` of stored pictures; ``policies`` go with a dynamic
        handler only; ``face_bounding_boxes`` say by file name where the faces are. A picture that fails is
        reported in the answer's ``images`` and leaves the others alone.
        """
        content = await content_with(
            images,
            urls=urls,
            samples=samples,
            image_ids=image_ids,
            boxes=face_bounding_boxes,
            parts=given(policies=policies, meta=meta),
        )
        headers = {"Luna-Event-Time": event_time, "Luna-Event-End-Time": event_end_time}
        answer = await self._calls.send(
            "POST", f"/handlers/{handler_id}/events", query=query, content=content, headers=_times(headers)
        )
        return answer.read(Emission)

    async def save_event(self, handler_id: str, event: Mapping[str, Any], *, wait_saving: bool = True) -> str:
        """Store a ready event as if this handler had generated it; answers the event's id.

        ``event`` has the form of an emitted event without ``url``, plus optionally ``event_create_time``,
        ``event_end_time`` and descriptors. With an ``event_id`` of the caller's, sending it twice is harmless.
        """
        path = f"/handlers/{handler_id}/events/raw"
        answer = await self._calls.send(
            "POST", path, query={"wait_saving": wait_saving}, content=json_content(dict(event))
        )
        return answer.field("event_id")


def _draft(policies: PoliciesLike | None, description: str, handler_type: int) -> dict[str, Any]:
    return given(policies=policies, description=description, handler_type=handler_type)


def _times(headers: dict[str, datetime | str | None]) -> dict[str, str]:
    return {
        name: render(value) if isinstance(value, datetime) else value
        for name, value in headers.items()
        if value is not None
    }
