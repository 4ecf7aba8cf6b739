"""What the faces service needs of a store.

Times are milliseconds since 1970, UTC. Every method looks at one account's objects only, except the feed and
the sweep. A method that writes gives each face whose descriptors, links or existence it changes a new revision, in
one step with the change. Unless an adapter says otherwise, all of a method is one transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from libs.common.ids import Id
from libs.common.wire.base import Page
from libs.common.wire.faces import Attribute, Face, FaceFilter, FaceList, ListFilter
from libs.common.wire.gallery import GalleryPage, Gap
from services.faces.model import FaceRecord

Edit = Callable[[Attribute | None], Attribute | None]
"""What becomes of a face's attribute; None is no attribute. May raise, which leaves everything as it was."""


class FaceStore(Protocol):
    async def check(self) -> None:
        """Raises when the store does not answer."""
        ...

    async def add_faces(self, account: Id, records: list[FaceRecord], now_ms: int) -> list[Face]:
        """Store those whose id is new, all or none; answers each one as it is now, in order.

        Raises LISTS_MISSING, REQUEST_CONFLICT when an id is or was another account's.
        """
        ...

    async def put_face(self, account: Id, record: FaceRecord, now_ms: int) -> bool:
        """Create or replace, keeping the time of creation; whether it was created. Raises as ``add_faces``."""
        ...

    async def patch_face(self, account: Id, face_id: Id, changes: dict[str, Any]) -> bool:
        """Set the named columns of :class:`FacePatch`; whether the face exists."""
        ...

    async def delete_faces(self, account: Id, face_ids: list[Id], now_ms: int, *, all_or_none: bool) -> None:
        """Delete with links and attributes those that exist. ``all_or_none``: raises FACES_MISSING if one does not."""
        ...

    async def faces(self, account: Id, face_ids: list[Id]) -> list[Face]:
        """Those that exist, in order of ids."""
        ...

    async def find_faces(self, account: Id, where: FaceFilter, page: Page) -> list[Face]:
        """Newest first (then by id), or by id when ``where`` bounds the id."""
        ...

    async def select_faces(self, account: Id, where: FaceFilter) -> list[Id]:
        """Every id that passes, in order of ids."""
        ...

    async def count_faces(self, account: Id, where: FaceFilter, *, with_attributes: bool = False) -> int: ...

    async def face_attributes(self, account: Id, face_ids: list[Id]) -> list[Attribute]:
        """Attributes of those faces that have one, in order of face ids."""
        ...

    async def edit_attribute(self, account: Id, face_id: Id, edit: Edit, now_ms: int) -> None:
        """Replace a face's attribute by what ``edit`` makes of it. Raises FACE_MISSING (404)."""
        ...

    async def add_list(self, account: Id, drawn: FaceList) -> None:
        """Store a list; one the account has already stays as it is. Raises REQUEST_CONFLICT."""
        ...

    async def lists(self, account: Id, list_ids: list[Id]) -> list[FaceList]:
        """Those that exist, in order of ids."""
        ...

    async def find_lists(self, account: Id, where: ListFilter, page: Page) -> list[FaceList]:
        """Newest first (then by id), or by id when ``where`` bounds the id."""
        ...

    async def count_lists(self, account: Id, where: ListFilter) -> int: ...

    async def members(self, account: Id, list_id: Id, page: Page) -> list[Id]:
        """Ids of the faces of a list, in order."""
        ...

    async def patch_list(self, account: Id, list_id: Id, user_data: str) -> bool:
        """Set the user data; whether the list exists."""
        ...

    async def delete_lists(self, account: Id, list_ids: list[Id]) -> list[Id]:
        """Delete those that exist, and the links to them. Returns the faces that were in them until then."""
        ...

    async def finish_deletions(self) -> None:
        """Complete deletions of lists, of every account, that a process did not live to complete."""
        ...

    async def attach(self, account: Id, list_id: Id, face_ids: list[Id], now_ms: int) -> None:
        """Link faces that are not linked yet, all or none. Raises LIST_MISSING (400), FACES_MISSING."""
        ...

    async def detach(self, account: Id, list_id: Id, face_ids: list[Id], now_ms: int) -> None:
        """Unlink faces that are linked. Raises LIST_MISSING (400), FACES_MISSING."""
        ...

    async def changes(self, after: int, limit: int, late: list[Gap]) -> GalleryPage:
        """The present state of faces changed after a revision, of every account, oldest change first.

        ``late`` is that of the page before; a store that numbers in commit order has no use for it. A page whose
        revision is below ``after`` has no rows and names the newest there is.
        """
        ...


class TemporaryAttributes(Protocol):
    """Attributes that expire. What has expired is not there, whether or not it was dropped."""

    async def check(self) -> None:
        """Raises STORE_UNAVAILABLE, or what its database raises, while it cannot be reached."""
        ...

    async def add(self, account: Id, attributes: list[Attribute], now_ms: int) -> None:
        """Store those whose id is free, all or none. Raises REQUEST_CONFLICT when an id is another account's."""
        ...

    async def put(self, account: Id, attribute: Attribute, now_ms: int, *, force: bool) -> bool:
        """Create, or replace with ``force``; whether it was created. Raises REQUEST_CONFLICT."""
        ...

    async def get(self, account: Id, attribute_ids: list[Id], now_ms: int) -> list[Attribute]:
        """Those that exist, in order of ids."""
        ...

    async def delete(self, account: Id, attribute_ids: list[Id], now_ms: int) -> int:
        """Delete those that exist; how many did."""
        ...

    async def sweep(self, now_ms: int, limit: int) -> int:
        """Drop at most ``limit`` expired ones of every account; how many. None where the server does it."""
        ...
