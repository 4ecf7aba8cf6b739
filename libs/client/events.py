"""Events: what was seen, when and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Unpack, overload

from libs.client.calls import Calls, json_content
from libs.client.options import EventWhere
from libs.common.wire.events import Event, StatsFilter, StatsGroup, StatsRequest, StatsResult, StatsTarget
from libs.common.wire.matcher import RawDescriptor

COUNT = (StatsTarget(column="event_id"),)


class Events:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def save(self, events: Sequence[Event], *, wait: bool = True) -> None:
        """Store ready events. One whose id is stored already is left as it is."""
        body = json_content({"events": list(events)})
        await self._calls.send("POST", "/events", query={"wait_events_saving": wait}, content=body)

    @overload
    async def find(
        self,
        *,
        targets: None = None,
        page: int = 1,
        page_size: int = 10,
        order: Literal["asc", "desc"] = "desc",
        **where: Unpack[EventWhere],
    ) -> list[Event]: ...

    @overload
    async def find(
        self,
        *,
        targets: Sequence[str],
        page: int = 1,
        page_size: int = 10,
        order: Literal["asc", "desc"] = "desc",
        **where: Unpack[EventWhere],
    ) -> list[dict[str, Any]]: ...

    async def find(
        self,
        *,
        targets: Sequence[str] | None = None,
        page: int = 1,
        page_size: int = 10,
        order: Literal["asc", "desc"] = "desc",
        **where: Unpack[EventWhere],
    ) -> Any:
        """Events that pass every condition; newest first unless ``order`` is ``asc``.

        With ``targets`` only those keys of each event, as plain data.
        """
        query = {**where, "targets": targets, "page": page, "page_size": page_size, "order": order}
        answer = await self._calls.send("GET", "/events", query=query)
        return answer.items("events", Event) if targets is None else answer.field("events")

    async def get(self, event_id: str) -> Event:
        return (await self._calls.send("GET", f"/events/{event_id}")).read(Event)

    async def check(self, event_id: str) -> bool:
        return await self._calls.exists(f"/events/{event_id}")

    async def descriptor(
        self,
        event_id: str,
        *,
        descriptor_type: Literal["face", "body"] = "face",
        descriptor_version: int | None = None,
    ) -> RawDescriptor:
        """The stored descriptor: little-endian float32 of the length its version has."""
        query = {"descriptor_type": descriptor_type, "descriptor_version": descriptor_version}
        answer = await self._calls.send(
            "GET", f"/events/{event_id}/descriptor", query=query, headers={"Accept": "application/json"}
        )
        return answer.read(RawDescriptor)

    async def stats(
        self,
        targets: Sequence[StatsTarget] = COUNT,
        *,
        filters: Sequence[StatsFilter] = (),
        group_by: Sequence[StatsGroup] = (),
    ) -> StatsResult:
        """Count events; one row without ``group_by``, else one for each group that has events."""
        request = StatsRequest(targets=list(targets), filters=list(filters), group_by=list(group_by))
        return (await self._calls.send("POST", "/events/stats", content=json_content(request))).read(StatsResult)
