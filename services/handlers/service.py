"""Use cases of handlers: stored policies, and the events that pictures become under them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from libs.common import clock, event_rules
from libs.common.bus.topics import EVENTS_NOTIFY
from libs.common.errors import Code, MienError, said_once
from libs.common.ids import Id, new_id
from libs.common.sealing import Seal
from libs.common.wire import handlers as wire
from libs.common.wire.base import Page
from libs.common.wire.events import Event
from libs.common.wire.handlers import EmitQuery, FilteredDetections, Handler, HandlerDraft, HandlerFilter
from libs.common.wire.policies import Policies
from services.handlers import pipeline, requirements
from services.handlers.emission import Emission, Picture
from services.handlers.ports import HandlerStore, Journal, Services
from services.handlers.raw import RawEvent, event_of, told_of
from services.handlers.records import emitted
from services.handlers.secrets import opened, sealed
from services.handlers.steps.storing import save
from services.handlers.steps.telling import notice

REPLACES = 10
"""Tries to replace a handler that others replace, too."""


@dataclass(frozen=True)
class Request:
    """One call of generate-events, read and checked by whoever received it."""

    pictures: list[Picture]
    query: EmitQuery
    policies: Policies | None = None
    meta: dict[str, Any] | None = None
    event_time: datetime | None = None
    event_end_time: datetime | None = None


class Handlers:
    """Use cases of stored policies. Knows no HTTP and no database, and of the bus no more than its port.

    ``callbacks_allowed`` says whether this deployment calls URLs at all.
    """

    def __init__(
        self, store: HandlerStore, journal: Journal, services: Services, seal: Seal, *, callbacks_allowed: bool
    ) -> None:
        self._store = store
        self._journal = journal
        self._services = services
        self._seal = seal
        self._callbacks_allowed = callbacks_allowed

    async def create(self, account: Id, draft: HandlerDraft) -> Handler:
        """Store a handler with every default written out.

        Raises BAD_POLICIES naming the path of a fault, ESTIMATOR_MISSING, ESTIMATOR_REFUSED, LISTS_MISSING.
        """
        if draft.policies:
            await self.validate(account, draft.policies)
        moment = clock.now()
        handler = Handler(
            handler_id=new_id(),
            account_id=account,
            description=draft.description,
            handler_type=draft.handler_type,
            policies=draft.policies and sealed(draft.policies, self._seal),
            version=1,
            create_time=moment,
            last_update_time=moment,
        )
        with said_once(by_id=False):
            await self._store.add(handler)
        return handler

    async def check(self) -> None:
        """Whether handlers can be found. Raises STORE_UNAVAILABLE, or what the store's database raises."""
        await self._store.check()

    async def validate(self, account: Id, policies: Policies) -> Policies:
        """The policies with every default. Raises as :meth:`create`."""
        requirements.check(policies, callbacks_allowed=self._callbacks_allowed)
        await self._services.sdk.require(requirements.sdk_params(policies))
        await self._services.faces.require_lists(account, requirements.lists_in(policies))
        return policies

    async def get(self, account: Id, handler_id: Id) -> Handler:
        """Raises HANDLER_MISSING, HANDLER_CORRUPTED."""
        handler = await self._store.get(account, handler_id)
        if handler is None:
            raise MienError(Code.HANDLER_MISSING, f"handler {handler_id} was not found")
        return handler

    async def find(self, account: Id, where: HandlerFilter, page: Page) -> list[Handler]:
        return await self._store.find(account, where, page)

    async def count(self, account: Id, where: HandlerFilter) -> int:
        return await self._store.count(account, where)

    async def replace(self, account: Id, handler_id: Id, draft: HandlerDraft) -> int:
        """The new version. Raises HANDLER_MISSING, as :meth:`create`, and REQUEST_CONFLICT when others keep
        replacing it."""
        for _ in range(REPLACES):
            stored = await self.get(account, handler_id)
            handler = await self._successor(stored, draft.model_copy(deep=True))
            if await self._store.replace(handler):
                return handler.version
        raise MienError(
            Code.REQUEST_CONFLICT, f"handler {handler_id} was replaced by others {REPLACES} times meanwhile"
        )

    async def _successor(self, stored: Handler, draft: HandlerDraft) -> Handler:
        policies = draft.policies
        if policies:
            requirements.unmask(policies, stored.policies and opened(stored.policies, self._seal))
            await self.validate(stored.account_id, policies)
        return stored.model_copy(
            update={
                "description": draft.description,
                "handler_type": draft.handler_type,
                "policies": policies and sealed(policies, self._seal),
                "version": stored.version + 1,
                "last_update_time": clock.now(),
            }
        )

    async def delete(self, account: Id, handler_id: Id) -> None:
        """Raises HANDLER_MISSING."""
        if not await self._store.delete(account, handler_id):
            raise MienError(Code.HANDLER_MISSING, f"handler {handler_id} was not found")

    async def emit(self, account: Id, handler_id: Id, request: Request) -> wire.Emission:
        """Turn pictures into events under a handler's policies.

        A picture that fails is reported in ``images`` and never fails the others. Raises HANDLER_MISSING,
        NOT_DYNAMIC, POLICIES_MISSING, what the policies' steps raise, and OVERLOADED.
        """
        policies = await self._policies(account, handler_id, request.policies)
        emission = Emission(
            account=account,
            handler_id=handler_id,
            policies=policies,
            query=request.query,
            meta=request.meta,
            created=request.event_time or clock.now(),
            ended=request.event_end_time,
            pictures=request.pictures,
        )
        await pipeline.run(emission, self._services, self._journal)
        return wire.Emission(
            images=emission.reports(),
            events=[emitted(emission, draft) for draft in emission.drafts],
            filtered_detections=FilteredDetections(
                face_detections=emission.filtered, body_detections=emission.filtered_bodies
            ),
        )

    async def _policies(self, account: Id, handler_id: Id, given: Policies | None) -> Policies:
        """The policies an emission runs under: the handler's own, or the call's when it is dynamic."""
        handler = await self.get(account, handler_id)
        if handler.handler_type != wire.DYNAMIC:
            if given is not None:
                raise MienError(Code.NOT_DYNAMIC, f"handler {handler_id} is static; send no policies")
            if handler.policies is None:
                raise MienError(Code.HANDLER_CORRUPTED, f"handler {handler_id} has no policies")
            return handler.policies
        if given is None:
            raise MienError(Code.POLICIES_MISSING, f"handler {handler_id} is dynamic; send policies with the call")
        return sealed(await self.validate(account, given), self._seal)

    async def save_raw(self, account: Id, handler_id: Id, raw: RawEvent, *, wait: bool) -> Event:
        """Store an event made elsewhere, and have the account's subscribers told; the handler need not exist.

        Returns after the store's commit when ``wait``, else once the bus has it. Raises BAD_BODY, BAD_DESCRIPTOR,
        DESCRIPTOR_VERSION_UNKNOWN naming the field, OVERLOADED.
        """
        event = event_of(account, handler_id, raw)
        event_rules.check(account, event)
        notices = [notice(EVENTS_NOTIFY, handler_id, [told_of(event, raw)])]
        with said_once(by_id=raw.event_id is not None):
            await save(self._services, account, [event], notices, wait=wait)
        return event
