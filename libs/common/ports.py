"""What services may ask of each other. The only doors between them.

Every method is asynchronous, takes and returns wire models, ids and plain data, names the account first,
and may be called twice with the same arguments without doing harm. A service's own class satisfies its
port directly (in process); ``libs.common.rpc.remote`` makes the same port out of an address (HTTP).
"""

from __future__ import annotations

from typing import Protocol

from libs.common.ids import Id
from libs.common.wire.base import Page
from libs.common.wire.events import Event, EventFilter, EventPage
from libs.common.wire.faces import Attribute, Face, FaceDraft, FaceFilter, TemporaryAttributeDraft
from libs.common.wire.gallery import GalleryPage, Gap
from libs.common.wire.images import ImageDraft, StoredImage
from libs.common.wire.matcher import MatchRequest, ReferenceMatches
from libs.common.wire.notices import Notice
from libs.common.wire.sdk import Capabilities, Image, SdkParams, SdkResult


class Sdk(Protocol):
    """Inference. Stores nothing."""

    async def capabilities(self) -> Capabilities: ...

    async def require(self, params: SdkParams) -> None:
        """Raises ESTIMATOR_MISSING or ESTIMATOR_REFUSED when the parameters ask for what is not there."""
        ...

    async def estimate(self, images: list[Image], params: SdkParams) -> SdkResult:
        """Detect, filter, estimate and describe. A bad image fails alone, in its own ``ImageResult``.

        Raises ESTIMATOR_MISSING or ESTIMATOR_REFUSED before any work, OVERLOADED when the queue is full,
        SEVERAL_FACES and SEVERAL_BODIES when aggregation meets an image with more than one.
        """
        ...


class Faces(Protocol):
    """Faces, lists and attributes."""

    async def require_lists(self, account: Id, list_ids: list[Id]) -> None:
        """Raises LISTS_MISSING (400) naming those the account does not have."""
        ...

    async def create_attributes(self, account: Id, drafts: list[TemporaryAttributeDraft]) -> list[Id]: ...

    async def delete_attributes(self, account: Id, attribute_ids: list[Id]) -> None: ...

    async def create_faces(self, account: Id, drafts: list[FaceDraft]) -> list[Face]:
        """Store faces with their attributes and links, all or none. Drafts that carry a ``face_id`` already
        stored for this account are left as they are. Raises LISTS_MISSING, ATTRIBUTE_MISSING."""
        ...

    async def delete_faces(self, account: Id, face_ids: list[Id]) -> None:
        """Delete those that exist."""
        ...

    async def find_faces(self, account: Id, where: FaceFilter, page: Page) -> list[Face]: ...

    async def select_faces(self, account: Id, where: FaceFilter) -> list[Id]:
        """The ids of every face that passes, without paging: for the matcher."""
        ...

    async def face_attributes(self, account: Id, face_ids: list[Id]) -> list[Attribute]:
        """Attributes of those faces that have one, descriptors included; ``face_id`` is set."""
        ...

    async def attributes(self, account: Id, attribute_ids: list[Id]) -> list[Attribute]:
        """Temporary attributes that exist and have not expired."""
        ...

    async def changes(self, after: int, limit: int, late: list[Gap]) -> GalleryPage:
        """Faces and links changed after a revision, of every account: the matcher's feed. ``late`` is that of the page
        before."""
        ...


class Events(Protocol):
    """Events of every handler."""

    async def save(self, account: Id, events: list[Event], notices: list[Notice]) -> None:
        """Store events durably, and with them what is to be told of them. An event id already stored is left as it is,
        and nothing is stored under one that was deleted.

        ``notices`` are published after the events are stored, each at least once under its id, and only if this call
        is the one that stored the last event: saving the same events again tells nobody. Raises BAD_BODY when an event
        names another account or there are notices without events.
        """
        ...

    async def delete(self, account: Id, event_ids: list[Id]) -> None:
        """Delete those that exist, for good: a save that comes later stores nothing under any of the ids."""
        ...

    async def find(self, account: Id, where: EventFilter, page: EventPage) -> list[Event]: ...

    async def select(self, account: Id, where: EventFilter) -> list[Id]:
        """The ids of every event that passes, without paging: for the matcher."""
        ...

    async def with_descriptors(self, account: Id, event_ids: list[Id]) -> list[Event]:
        """Those events that exist, descriptors included."""
        ...

    async def changes(self, after: int, limit: int, late: list[Gap]) -> GalleryPage:
        """Events with a face descriptor stored or deleted after a revision, of every account. ``late`` as in Faces."""
        ...


class Images(Protocol):
    """Pictures by bucket and id."""

    async def put(self, account: Id, images: list[ImageDraft]) -> None:
        """Store pictures durably, as they are. Raises BUCKET_MISSING, BROKEN_IMAGE."""
        ...

    async def get(self, account: Id, bucket: str, image_id: Id) -> StoredImage:
        """Raises IMAGE_MISSING, also when the picture belongs to another account."""
        ...

    async def delete(self, account: Id, bucket: str, image_ids: list[Id]) -> None:
        """Delete those that exist."""
        ...


class Matcher(Protocol):
    """Similarity search."""

    async def match_faces(self, account: Id, request: MatchRequest) -> list[ReferenceMatches]:
        """One element per reference, in it one per candidate block, both in request order."""
        ...

    async def match_bodies(self, account: Id, request: MatchRequest) -> list[ReferenceMatches]: ...
