"""Telling others of events never costs the events themselves."""

from libs.common import clock
from libs.common.bus.port import Consumer, Message
from libs.common.errors import Code, MienError
from libs.common.ids import new_id
from libs.common.wire.estimations import FaceAttributes
from libs.common.wire.handlers import EmitQuery
from libs.common.wire.policies import Policies
from services.handlers.emission import Draft, Emission
from services.handlers.ports import Services
from services.handlers.steps.telling import notify


class FullBus:
    """A bus whose queue of callbacks is full."""

    async def publish(self, message: Message) -> None:
        raise MienError(Code.OVERLOADED, f"{message.topic} is full", retry_after_s=1)

    def subscribe(self, topic: str, subscriber: str, consume: Consumer, at_once: int = 1) -> None: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


async def test_a_receiver_that_is_down_does_not_stop_events_from_being_stored() -> None:
    callbacks = [{"type": "http", "url": "http://down.example/"}]
    emission = Emission(
        account=new_id(),
        handler_id=new_id(),
        policies=Policies.model_validate({"storage_policy": {"callbacks": callbacks}}),
        query=EmitQuery(),
        meta=None,
        created=clock.now(),
        ended=None,
        pictures=[],
        drafts=[Draft(new_id(), [], FaceAttributes(), None, None, [])],
    )
    absent = None
    services = Services(absent, absent, absent, absent, absent, FullBus())  # type: ignore[arg-type]
    await notify(emission, services)
