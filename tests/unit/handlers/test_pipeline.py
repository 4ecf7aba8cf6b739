"""What becomes of an emission that does not come to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from libs.common import clock
from libs.common.errors import Code, MienError
from libs.common.ids import Id, new_id
from libs.common.wire.estimations import Descriptor, Rect
from libs.common.wire.events import Event
from libs.common.wire.faces import FaceDraft
from libs.common.wire.handlers import EmitQuery
from libs.common.wire.images import ImageDraft
from libs.common.wire.notices import Notice
from libs.common.wire.policies import Policies
from libs.common.wire.sdk import ErrorBody, FaceResult, Image, ImageResult, Person, SdkParams, SdkResult
from services.handlers import pipeline
from services.handlers.emission import Emission, Picture
from services.handlers.journal import Traces
from services.handlers.ports import Services


@dataclass
class Notebook:
    """Satisfies Journal, in memory; what is in ``taken`` somebody settles already."""

    entries: dict[Id, Traces] = field(default_factory=dict)
    taken: bool = False

    async def begin(self, traces: Traces) -> None:
        self.entries[traces.emission_id] = traces

    async def end(self, account: Id, emission_id: Id) -> bool:
        return not self.taken and self.entries.pop(emission_id, None) is not None

    async def take(self, limit: int) -> list[Traces]:
        return list(self.entries.values())

    async def settled(self, traces: Traces) -> None:
        del self.entries[traces.emission_id]


@dataclass
class Platform:
    """The services beside an emission, as far as it stores anything; ``fail`` is raised when faces are stored."""

    fail: BaseException
    undo_fails: bool = False
    stored: set[Id] = field(default_factory=set)

    async def estimate(self, images: list[Image], params: SdkParams) -> SdkResult:
        face = FaceResult(
            rect=Rect(x=0, y=0, width=9, height=9),
            score=1,
            warp=b"warp",
            descriptor=Descriptor(version=1001, data=bytes(512), score=1),
        )
        done = ErrorBody(error_code=0, desc="Success")
        return SdkResult(
            images=[
                ImageResult(filename=one.filename, status=1, error=done, persons=[Person(face=face)]) for one in images
            ]
        )

    async def put(self, account: Id, images: list[ImageDraft]) -> None:
        self.stored |= {image.image_id for image in images}

    async def delete(self, account: Id, bucket: str, image_ids: list[Id]) -> None:
        self.stored -= set(image_ids)

    async def create_faces(self, account: Id, drafts: list[FaceDraft]) -> Any:
        self.stored |= {draft.face_id for draft in drafts if draft.face_id}
        raise self.fail

    async def delete_faces(self, account: Id, face_ids: list[Id]) -> None:
        if self.undo_fails:
            raise OSError("the disk is gone")
        self.stored -= set(face_ids)


@dataclass
class Saving:
    """The same, but faces are stored and ``outcome`` decides what becomes of the events."""

    outcome: Callable[[], Awaitable[None]]
    stored: set[Id] = field(default_factory=set)
    saved: set[Id] = field(default_factory=set)
    began: asyncio.Event = field(default_factory=asyncio.Event)

    estimate = Platform.estimate
    put = Platform.put
    delete = Platform.delete

    async def save(self, account: Id, events: list[Event], notices: list[Notice]) -> None:
        self.began.set()
        await self.outcome()
        self.saved |= {event.event_id for event in events}


async def emit(platform: Any, storage: dict[str, Any] | None = None, journal: Notebook | None = None) -> None:
    if storage is None:
        storage = {"face_policy": {"store_face": 1}, "image_origin_policy": {"store_image": 1}}
    services = Services(platform, platform, platform, platform, platform, platform)
    emission = Emission(
        account=new_id(),
        handler_id=new_id(),
        policies=Policies.model_validate({"storage_policy": storage}),
        query=EmitQuery(),
        meta=None,
        created=clock.now(),
        ended=None,
        pictures=[Picture("a.jpg", Image(filename="a.jpg", data=b"jpeg"))],
    )
    await pipeline.run(emission, services, journal or Notebook())


@pytest.mark.parametrize("fail", [OSError("disk full"), asyncio.CancelledError()])
async def test_a_failed_or_cancelled_emission_takes_back_what_it_had_stored(fail: BaseException) -> None:
    platform = Platform(fail)
    with pytest.raises(type(fail)):
        await emit(platform)
    assert platform.stored == set()


async def test_what_cannot_be_taken_back_does_not_keep_the_rest_and_stays_in_the_journal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    platform, journal = Platform(MienError(Code.LISTS_MISSING, "no such list"), undo_fails=True), Notebook()
    with pytest.raises(MienError, match="no such list"):
        await emit(platform, journal=journal)
    [traces] = journal.entries.values()
    assert platform.stored == set(traces.faces)
    assert "the disk is gone" in caplog.text


@pytest.mark.parametrize(
    ("failure", "is_kept"),
    [
        (MienError(Code.LISTS_MISSING, "no"), False),
        (MienError(Code.REQUEST_TIMEOUT, "late"), True),
        (asyncio.CancelledError(), True),
    ],
    ids=str,
)
async def test_what_may_still_be_stored_after_it_was_taken_back_stays_in_the_journal(
    failure: BaseException, is_kept: bool
) -> None:
    journal = Notebook()
    with pytest.raises(type(failure)):
        await emit(Platform(failure), journal=journal)
    assert bool(journal.entries) is is_kept


PICTURES = {"image_origin_policy": {"store_image": 1}}


async def test_a_caller_that_hangs_up_while_events_are_saved_loses_neither_them_nor_their_pictures() -> None:
    answered = asyncio.Event()

    async def outcome() -> None:
        await answered.wait()

    platform = Saving(outcome)
    call = asyncio.create_task(emit(platform, PICTURES))
    await platform.began.wait()
    call.cancel()
    await asyncio.sleep(0)
    answered.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (len(platform.saved), len(platform.stored)) == (1, 2)


@pytest.mark.parametrize(
    ("code", "kept"),
    [(Code.REQUEST_CONFLICT, 0), (Code.OVERLOADED, 0), (Code.STORE_UNAVAILABLE, 2), (Code.REQUEST_TIMEOUT, 2)],
)
async def test_pictures_are_taken_back_and_may_be_sent_again_only_if_it_is_certain_that_their_events_are_not_saved(
    code: Code, kept: int
) -> None:
    async def outcome() -> None:
        raise MienError(code, "no", retry_after_s=1)

    platform = Saving(outcome)
    with pytest.raises(MienError) as refusal:
        await emit(platform, PICTURES)
    assert len(platform.stored) == kept
    assert refusal.value.retry_after_s == (None if kept else 1), "clients send again what says when to come back"


async def test_an_emission_names_what_it_stores_in_the_journal_first_and_is_struck_out_before_it_is_answered() -> None:
    seen: list[Traces] = []
    journal = Notebook()

    async def outcome() -> None:
        seen.extend(journal.entries.values())
        assert set().union(*seen[0].images.values()) == platform.stored

    platform = Saving(outcome)
    await emit(platform, PICTURES, journal)
    assert set(seen[0].events) == platform.saved
    assert journal.entries == {}


async def test_an_emission_that_was_taken_for_dead_is_not_acknowledged_and_leaves_nothing() -> None:
    async def outcome() -> None: ...

    platform = Saving(outcome)
    with pytest.raises(MienError) as late:
        await emit(platform, PICTURES, Notebook(taken=True))
    assert (late.value.code, late.value.retry_after_s) == (Code.REQUEST_TIMEOUT, None)
    assert platform.stored == set()


async def test_an_emission_that_only_saves_events_costs_no_entry() -> None:
    async def outcome() -> None:
        assert journal.entries == {}

    journal = Notebook()
    await emit(Saving(outcome), {"face_sample_policy": {"store_sample": 0}}, journal)
