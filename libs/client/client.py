"""The asynchronous client of a Mien gateway."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Self, Unpack

from libs.client.attributes import Attributes
from libs.client.calls import Calls
from libs.client.events import Events
from libs.client.faces import Faces
from libs.client.handlers import Handlers
from libs.client.images import Images
from libs.client.inputs import Boxes, content_with
from libs.client.lists import Lists
from libs.client.matcher import Matcher
from libs.client.notices import Notice, notices
from libs.client.options import IsoOptions, LivenessOptions, NoticeWhere, SdkOptions
from libs.client.pictures import Pictures
from libs.common.wire.sdk import Capabilities

DEFAULT_URL = "http://127.0.0.1:5000"


class MienClient:
    """Every public route of the platform, for one account::

        async with MienClient(account=account) as client:
            result = await client.handlers.emit(handler_id, Path("gate.jpg"))

    ``timeout_s`` bounds one attempt; ``retries`` says how often a call is sent again that was refused because
    of an overload. Every method raises MienApiError when the platform refuses and MienUnreachable when there is
    no answer.
    """

    def __init__(self, url: str = DEFAULT_URL, *, account: str, timeout_s: float = 60.0, retries: int = 3) -> None:
        calls = Calls(url, account, timeout_s, retries)
        self._calls = calls
        self.handlers = Handlers(calls)
        self.events = Events(calls)
        self.faces = Faces(calls)
        self.attributes = Attributes(calls)
        self.lists = Lists(calls)
        self.matcher = Matcher(calls)
        self.images = Images(calls)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. The next call would open new ones."""
        await self._calls.close()

    async def sdk(
        self,
        images: Pictures = (),
        *,
        urls: Sequence[str] = (),
        samples: Sequence[str] = (),
        image_ids: Sequence[str] = (),
        face_bounding_boxes: Boxes | None = None,
        **options: Unpack[SdkOptions],
    ) -> dict[str, Any]:
        """Detect, estimate and describe without storing anything: the contract's ``images_estimations`` and so on.

        ``samples`` are ids of stored warps (with ``image_type``), ``image_ids`` of stored pictures;
        ``face_bounding_boxes`` say by file name where the faces are. The answer has ``urls`` first, then ``samples``,
        ``image_ids`` and ``images``.
        """
        content = await content_with(images, urls=urls, samples=samples, image_ids=image_ids, boxes=face_bounding_boxes)
        return (await self._calls.send("POST", "/sdk", query=options, content=content)).json()

    async def liveness(
        self,
        images: Pictures = (),
        *,
        urls: Sequence[str] = (),
        image_ids: Sequence[str] = (),
        face_bounding_boxes: Boxes | None = None,
        **options: Unpack[LivenessOptions],
    ) -> dict[str, Any]:
        """Whether living people were photographed: under ``images`` the ``liveness`` of every face."""
        content = await content_with(images, urls=urls, image_ids=image_ids, boxes=face_bounding_boxes)
        return (await self._calls.send("POST", "/liveness", query=options, content=content)).json()

    async def iso(
        self,
        images: Pictures = (),
        *,
        urls: Sequence[str] = (),
        image_ids: Sequence[str] = (),
        face_bounding_boxes: Boxes | None = None,
        **options: Unpack[IsoOptions],
    ) -> dict[str, Any]:
        """Checks of every face after ISO/IEC 19794-5; without ``checks`` all there are."""
        content = await content_with(images, urls=urls, image_ids=image_ids, boxes=face_bounding_boxes)
        return (await self._calls.send("POST", "/iso", query=options, content=content)).json()

    def subscribe(
        self, *, cursor: str | None = None, patience_s: float = 300.0, **where: Unpack[NoticeWhere]
    ) -> AsyncGenerator[Notice, None]:
        """Events that pass every condition, as they happen::

            async for notice in client.subscribe(sources=["gate-1"]):
                print(notice.event.event_id)

        From now on or, with the ``cursor`` of an earlier notice, from what followed that. A connection that breaks is
        opened again, for at most ``patience_s``, from where it was: nothing is missed and nothing told twice.

        Closing the client ends the iteration. It raises MienApiError when the platform refuses (29002: what followed
        the cursor is no longer kept), MienUnreachable when it does not answer at first, or for longer than
        ``patience_s``.
        """
        return notices(self._calls, where, cursor, patience_s)

    async def capabilities(self) -> Capabilities:
        """What this deployment can estimate, with which models."""
        return (await self._calls.send("GET", "/capabilities")).read(Capabilities)

    async def version(self) -> dict[str, Any]:
        return (await self._calls.send("GET", "/version")).json()

    async def health(self) -> dict[str, Any]:
        """Raises MienApiError while the platform is not ready."""
        return (await self._calls.send("GET", "/healthcheck", prefix="")).json()
