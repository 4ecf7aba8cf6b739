"""Use cases of faces, attributes and lists. Sections 16 and 17 of the wire contract."""

from __future__ import annotations

from collections.abc import Callable

from libs.common import clock
from libs.common.errors import Code, MienError, said_once
from libs.common.ids import Id, new_id
from libs.common.wire.base import Page, chunks
from libs.common.wire.faces import (
    Attribute,
    AttributeDraft,
    Face,
    FaceDraft,
    FaceFilter,
    FaceList,
    FacePatch,
    Link,
    ListDraft,
    ListFilter,
    TemporaryAttributeDraft,
)
from libs.common.wire.gallery import GalleryPage, Gap
from services.faces import attributes as rules
from services.faces.model import MAX_BATCH, MAX_CHANGES, FaceRecord, bound
from services.faces.ports import FaceStore, TemporaryAttributes


class Faces:
    """Faces, lists and attributes of every account. Satisfies :class:`libs.common.ports.Faces`.

    ``now_ms`` is the clock: it dates what is created and decides which temporary attributes have expired.
    """

    def __init__(
        self, store: FaceStore, temporary: TemporaryAttributes, now_ms: Callable[[], int] = clock.now_ms
    ) -> None:
        self._store = store
        self._temporary = temporary
        self._now_ms = now_ms

    # Faces

    async def create_faces(self, account: Id, drafts: list[FaceDraft]) -> list[Face]:
        """Store faces with their attributes and links, all or none, and answer them in order.

        A draft whose ``face_id`` the account has stored already is left as it is, whatever else it says. An
        attribute without content is no attribute. Raises LISTS_MISSING, ATTRIBUTE_MISSING (400),
        REQUEST_CONFLICT when an id belongs to another account, what :func:`attributes.check` raises, TOO_MANY.
        """
        bound(len(drafts), "faces")
        known = await self._store.faces(account, [draft.face_id for draft in drafts if draft.face_id])
        stored: dict[Id | None, Face] = {face.face_id: face for face in known}
        fresh = [draft for draft in drafts if draft.face_id not in stored]
        now_ms = self._now_ms()
        copied = await self._copied(account, [draft.attribute for draft in fresh if draft.attribute], now_ms)
        records = [_record(account, draft, copied, now_ms) for draft in fresh]
        with said_once(by_id=all(draft.face_id for draft in fresh)):
            added = iter(await self._store.add_faces(account, records, now_ms) if records else [])
        return [stored[draft.face_id] if draft.face_id in stored else next(added) for draft in drafts]

    async def put_face(self, account: Id, draft: FaceDraft) -> bool:
        """Create the face with the id of ``draft``, or replace all of it but its time of creation.

        Says whether it was created. Raises as :meth:`create_faces`.
        """
        now_ms = self._now_ms()
        copied = await self._copied(account, [draft.attribute] if draft.attribute else [], now_ms)
        return await self._store.put_face(account, _record(account, draft, copied, now_ms), now_ms)

    async def find_faces(self, account: Id, where: FaceFilter, page: Page) -> list[Face]:
        """Newest first, or by id when ``where`` bounds the id."""
        return await self._store.find_faces(account, where, page)

    async def select_faces(self, account: Id, where: FaceFilter) -> list[Id]:
        """The ids of every face that passes, in order of ids."""
        return await self._store.select_faces(account, where)

    async def count_faces(self, account: Id, where: FaceFilter) -> int:
        return await self._store.count_faces(account, where)

    async def count_faces_with_attributes(self, account: Id, where: FaceFilter) -> int:
        return await self._store.count_faces(account, where, with_attributes=True)

    async def face(self, account: Id, face_id: Id) -> Face:
        """Raises FACE_MISSING."""
        found = await self._store.faces(account, [face_id])
        if not found:
            raise _no_face(face_id)
        return found[0]

    async def patch_face(self, account: Id, face_id: Id, patch: FacePatch) -> None:
        """Change the fields that are set. Raises FACE_MISSING."""
        if not await self._store.patch_face(account, face_id, patch.model_dump(exclude_unset=True)):
            raise _no_face(face_id)

    async def delete_face(self, account: Id, face_id: Id) -> None:
        """Raises FACE_MISSING."""
        await self.face(account, face_id)
        await self.delete_faces(account, [face_id])

    async def delete_faces(self, account: Id, face_ids: list[Id], *, ignore_missing: bool = True) -> None:
        """Delete faces with their attributes and links. Raises FACES_MISSING unless ``ignore_missing``."""
        await self._store.delete_faces(account, face_ids, self._now_ms(), all_or_none=not ignore_missing)

    # A face's own attribute

    async def face_attributes(self, account: Id, face_ids: list[Id]) -> list[Attribute]:
        """Attributes of those faces that have one, in order of face ids."""
        return await self._store.face_attributes(account, face_ids)

    async def require_faces(self, account: Id, face_ids: list[Id]) -> None:
        """Raises FACES_MISSING (400) naming those the account does not have."""
        found = {face.face_id for face in await self._store.faces(account, face_ids)}
        if missing := sorted(set(face_ids) - found):
            raise MienError(Code.FACES_MISSING, f"faces {', '.join(missing)} were not found")

    async def face_attribute(self, account: Id, face_id: Id) -> Attribute:
        """Raises FACE_MISSING, NO_FACE_ATTRIBUTES."""
        found = await self._store.face_attributes(account, [face_id])
        if not found:
            await self.face(account, face_id)
            raise MienError(Code.NO_FACE_ATTRIBUTES, f"face {face_id} has no attributes")
        return found[0]

    async def put_face_attribute(self, account: Id, face_id: Id, draft: AttributeDraft) -> None:
        """Create or replace. Raises FACE_MISSING, ATTRIBUTE_MISSING (400), BAD_BODY when ``draft`` is empty."""
        now_ms = self._now_ms()
        copied = await self._copied(account, [draft], now_ms)
        attribute = _own(account, draft, copied, now_ms)
        if attribute is None:
            raise _empty()
        await self._store.edit_attribute(account, face_id, lambda _: attribute, now_ms)

    async def patch_face_attribute(self, account: Id, face_id: Id, draft: AttributeDraft) -> None:
        """Merge into what the face has. Raises FACE_MISSING, ATTRIBUTE_UPDATE_MISSING, SAMPLES_CONFLICT."""
        rules.check(draft)
        now_ms = self._now_ms()
        if draft.attribute_id:
            copied = await self._copied(account, [draft], now_ms)
            draft = rules.as_patch(copied[draft.attribute_id])

        def merged(stored: Attribute | None) -> Attribute | None:
            if stored is None:
                raise MienError(Code.ATTRIBUTE_UPDATE_MISSING, f"face {face_id} has no attribute to update")
            after = rules.merge(stored, draft)
            return None if rules.is_empty(after) else after

        await self._store.edit_attribute(account, face_id, merged, now_ms)

    async def delete_face_attribute(self, account: Id, face_id: Id) -> None:
        """The face stays. Raises FACE_MISSING."""
        await self._store.edit_attribute(account, face_id, lambda _: None, self._now_ms())

    # Temporary attributes

    async def create_attributes(self, account: Id, drafts: list[TemporaryAttributeDraft]) -> list[Id]:
        """Store attributes that expire, all or none; their ids, in order.

        An id the account has stored already is left as it is. Raises REQUEST_CONFLICT when an id belongs to
        another account, BAD_BODY when a draft is empty, what :func:`attributes.check` raises, TOO_MANY.
        """
        bound(len(drafts), "attributes")
        now_ms = self._now_ms()
        made = [_temporary(account, draft, now_ms) for draft in drafts]
        with said_once(by_id=all(draft.attribute_id for draft in drafts)):
            await self._temporary.add(account, made, now_ms)
        return [attribute.attribute_id for attribute in made]

    async def put_attribute(self, account: Id, draft: TemporaryAttributeDraft, *, force: bool) -> bool:
        """Create the attribute with the id of ``draft``, or replace it when ``force``; whether it was created.

        Raises REQUEST_CONFLICT when it exists and is not to be replaced or is another account's, and as
        :meth:`create_attributes`.
        """
        now_ms = self._now_ms()
        return await self._temporary.put(account, _temporary(account, draft, now_ms), now_ms, force=force)

    async def attributes(self, account: Id, attribute_ids: list[Id]) -> list[Attribute]:
        """Those that exist and have not expired, in order of ids."""
        return await self._temporary.get(account, attribute_ids, self._now_ms())

    async def attribute(self, account: Id, attribute_id: Id) -> Attribute:
        """Raises ATTRIBUTE_MISSING (404)."""
        found = await self.attributes(account, [attribute_id])
        if not found:
            raise _no_attributes([attribute_id])
        return found[0]

    async def delete_attribute(self, account: Id, attribute_id: Id) -> None:
        """Raises ATTRIBUTE_MISSING (404)."""
        if not await self._temporary.delete(account, [attribute_id], self._now_ms()):
            raise _no_attributes([attribute_id])

    async def delete_attributes(self, account: Id, attribute_ids: list[Id]) -> None:
        """Delete those that exist."""
        await self._temporary.delete(account, attribute_ids, self._now_ms())

    async def sweep(self) -> None:
        """Drop what has expired. Nobody sees the difference: expired attributes are invisible already."""
        now_ms = self._now_ms()
        while await self._temporary.sweep(now_ms, MAX_BATCH) == MAX_BATCH:
            continue

    # Lists

    async def create_list(self, account: Id, draft: ListDraft) -> Id:
        """A list the account has already is left as it is. Raises REQUEST_CONFLICT."""
        moment = clock.from_ms(self._now_ms())
        drawn = FaceList(
            list_id=draft.list_id or new_id(),
            account_id=account,
            user_data=draft.user_data,
            create_time=moment,
            last_update_time=moment,
        )
        with said_once(by_id=draft.list_id is not None):
            await self._store.add_list(account, drawn)
        return drawn.list_id

    async def find_lists(self, account: Id, where: ListFilter, page: Page) -> list[FaceList]:
        """Newest first, or by id when ``where`` bounds the id."""
        return await self._store.find_lists(account, where, page)

    async def count_lists(self, account: Id, where: ListFilter) -> int:
        return await self._store.count_lists(account, where)

    async def face_list(self, account: Id, list_id: Id) -> FaceList:
        """Raises LIST_MISSING (404)."""
        found = await self._store.lists(account, [list_id])
        if not found:
            raise _no_list(list_id)
        return found[0]

    async def members(self, account: Id, list_id: Id, page: Page) -> list[Id]:
        """Ids of the faces of a list, in order of ids."""
        return await self._store.members(account, list_id, page)

    async def require_lists(self, account: Id, list_ids: list[Id]) -> None:
        """Raises LISTS_MISSING (400) naming those the account does not have."""
        found = {one.list_id for one in await self._store.lists(account, list_ids)}
        if missing := sorted(set(list_ids) - found):
            raise MienError(Code.LISTS_MISSING, f"lists {', '.join(missing)} were not found")

    async def patch_list(self, account: Id, list_id: Id, user_data: str) -> None:
        """Does not count as an update of the list's faces. Raises LIST_MISSING (404)."""
        if not await self._store.patch_list(account, list_id, user_data):
            raise _no_list(list_id)

    async def delete_list(self, account: Id, list_id: Id, *, with_faces: bool) -> None:
        """As :meth:`delete_lists`. Raises LIST_MISSING (404)."""
        await self.face_list(account, list_id)
        await self.delete_lists(account, [list_id], with_faces=with_faces)

    async def delete_lists(self, account: Id, list_ids: list[Id], *, with_faces: bool) -> None:
        """Delete lists; their faces stay, or go as well ``with_faces``. Raises LISTS_MISSING before any work.

        Faces go first and a thousand at a time: one transaction of all would hold up every other writer, and
        a call cut short can be made again. Those that joined meanwhile go last.
        """
        await self.require_lists(account, list_ids)
        chunk = Page(page_size=MAX_BATCH)
        for list_id in list_ids if with_faces else []:
            while members := await self._store.members(account, list_id, chunk):
                await self.delete_faces(account, members)
        late = await self._store.delete_lists(account, list_ids)
        for some in chunks(late, MAX_BATCH) if with_faces else ():
            await self.delete_faces(account, some)

    async def link(self, account: Id, link: Link) -> None:
        """Attach faces to a list or detach them; doing it twice is harmless.

        Raises LIST_MISSING (400), FACES_MISSING; then nothing was changed.
        """
        move = self._store.attach if link.action == "attach" else self._store.detach
        await move(account, link.list_id, link.face_ids, self._now_ms())

    # The matcher's feed

    async def changes(self, after: int, limit: int, late: list[Gap]) -> GalleryPage:
        """Faces changed after a revision, of every account, at most ``limit`` and never more than MAX_CHANGES.

        A page whose revision is below ``after`` says that the store is not the one ``after`` came from.
        Raises BAD_QUERY when ``limit`` is below 1.
        """
        if limit < 1:
            raise MienError(Code.BAD_QUERY, f"limit: {limit}; should be at least 1")
        return await self._store.changes(after, min(limit, MAX_CHANGES), late)

    async def _copied(self, account: Id, drafts: list[AttributeDraft], now_ms: int) -> dict[Id, Attribute]:
        """The temporary attributes that ``drafts`` name, by id. Raises ATTRIBUTE_MISSING (400)."""
        wanted = {draft.attribute_id for draft in drafts if draft.attribute_id}
        found = await self._temporary.get(account, sorted(wanted), now_ms) if wanted else []
        missing = wanted - {attribute.attribute_id for attribute in found}
        if missing:
            raise _no_attributes(sorted(missing), status=400)
        return {attribute.attribute_id: attribute for attribute in found}


def _record(account: Id, draft: FaceDraft, copied: dict[Id, Attribute], now_ms: int) -> FaceRecord:
    face = Face(
        face_id=draft.face_id or new_id(),
        account_id=account,
        create_time=clock.from_ms(now_ms),
        event_id=draft.event_id,
        user_data=draft.user_data,
        external_id=draft.external_id,
        avatar=draft.avatar,
        lists=sorted(set(draft.lists)),
    )
    if draft.attribute is None:
        return FaceRecord(face, None)
    return FaceRecord(face, _own(account, draft.attribute, copied, now_ms, "attribute."))


def _own(
    account: Id, draft: AttributeDraft, copied: dict[Id, Attribute], now_ms: int, where: str = ""
) -> Attribute | None:
    """The attribute a face will own: a copy that keeps the id of what it was copied from, or the given data."""
    rules.check(draft, where)
    source = copied[draft.attribute_id] if draft.attribute_id else draft
    if rules.is_empty(source):
        return None
    return Attribute(
        attribute_id=draft.attribute_id or new_id(),
        account_id=account,
        create_time=clock.from_ms(now_ms),
        **rules.content(source),
    )


def _temporary(account: Id, draft: TemporaryAttributeDraft, now_ms: int) -> Attribute:
    rules.check(draft)
    if rules.is_empty(draft):
        raise _empty()
    return Attribute(
        attribute_id=draft.attribute_id or new_id(),
        account_id=account,
        create_time=clock.from_ms(now_ms),
        expires=clock.from_ms(now_ms + draft.ttl * 1000),
        **rules.content(draft),
    )


def _empty() -> MienError:
    return MienError(Code.BAD_BODY, "body: give basic_attributes, descriptors or samples")


def _no_face(face_id: Id) -> MienError:
    return MienError(Code.FACE_MISSING, f"face {face_id} was not found")


def _no_list(list_id: Id) -> MienError:
    return MienError(Code.LIST_MISSING, f"list {list_id} was not found")


def _no_attributes(attribute_ids: list[Id], status: int = 404) -> MienError:
    return MienError(
        Code.ATTRIBUTE_MISSING, f"attribute {', '.join(attribute_ids)} was not found or expired", status=status
    )
