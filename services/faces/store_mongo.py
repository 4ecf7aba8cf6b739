"""Faces, attributes and lists in MongoDB.

Each face is one document, each change of it one write of that document, made only if the document is still as it was
read (its revision says so) and read again otherwise. A call that changes many faces sends them together, after it has
looked at all of them; it is not one transaction: a process that dies in the middle leaves some of them changed, each
wholly, and the call made again changes the others. The times of update of lists follow their faces, and may miss a
change whose process died.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from typing import Any

from pymongo import DESCENDING, IndexModel, InsertOne, UpdateOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from libs.common import clock
from libs.common.errors import Code, MienError
from libs.common.ids import Id
from libs.common.storage import mongo, revisions
from libs.common.storage.mongo import DUPLICATE, Collection, Document, Owned, reached
from libs.common.storage.revisions import Revisions, Stamp
from libs.common.wire.base import Page, chunks
from libs.common.wire.faces import Attribute, Face, FaceFilter, FaceList, ListFilter
from libs.common.wire.gallery import GalleryPage, Gap
from services.faces.conditions_mongo import FACE_CONDITIONS, compiled
from services.faces.documents import (
    CANDIDATE,
    OWNED,
    RECORD,
    TOMBSTONE,
    Links,
    attribute_fields,
    face_fields,
    link_fields,
    read_attribute,
    read_face,
    read_links,
    read_row,
)
from services.faces.lists_mongo import LISTS, MARK_MS, Marks, MongoLists
from services.faces.model import FaceRecord
from services.faces.ports import Edit

FACES = Collection(
    "faces",
    (
        IndexModel([("account_id", 1), ("create_ms", DESCENDING), ("face_id", 1)]),
        IndexModel([("account_id", 1), ("face_id", 1)]),
        IndexModel([("account_id", 1), ("lists", 1), ("face_id", 1)]),
        IndexModel([("account_id", 1), ("external_id", 1)]),
        IndexModel([("account_id", 1), ("event_id", 1)]),
        IndexModel([("account_id", 1), ("attribute_id", 1)]),
        revisions.INDEX,
    ),
)
COLLECTIONS = (FACES, LISTS, revisions.COUNTERS)
CHUNK = 1000
"""Faces taken out of a deleted list at a time."""
TRIES = 20
"""Of changing a face that others change at the same moment."""
AT_ONCE = 250
"""Faces in one operation: it has :data:`mongo.CALL_MS` for all of them."""

Change = Callable[[Document], Document | None]
"""What to set in a face's document; None is nothing. Made again of what it made, it must be None."""
Written = tuple[Document, Document]
"""A document as it was read, and what to set in it. One without a revision is not there."""


class MongoFaceStore:
    """Satisfies :class:`services.faces.ports.FaceStore`. ``now_ms`` is the clock, milliseconds since 1970."""

    def __init__(self, database: AsyncDatabase[Document], now_ms: Callable[[], int] = clock.now_ms) -> None:
        self._database = database
        self._documents = database[FACES.name]
        self._lists = MongoLists(database)
        self._revisions = Revisions(database, FACES.name, now_ms)
        self._now_ms = now_ms

    async def check(self) -> None:
        await mongo.check(self._database)

    # Faces

    async def add_faces(self, account: Id, records: list[FaceRecord], now_ms: int) -> list[Face]:
        drawn = {record.face.face_id: record for record in reversed(records)}
        numbers: set[str] = set()
        for _ in range(TRIES):
            places = await self._places(account, drawn)
            fresh = [record for face_id, record in drawn.items() if _is_free(places.get(face_id))]
            links = await self._lists.require(account, _lists_of(fresh))
            numbers.update(links.values())
            if await self._make(account, fresh, places, links):
                break  # otherwise somebody was quicker with one of them
        else:
            raise _contended([*drawn])
        gone = await self._touch(account, [*drawn], numbers, now_ms)
        answers = {face_id: record.face for face_id, record in drawn.items()}
        if gone or len(fresh) < len(drawn):
            answers |= {face.face_id: face for face in await self.faces(account, [*drawn])}
        return [answers[record.face.face_id] for record in records]

    async def put_face(self, account: Id, record: FaceRecord, now_ms: int) -> bool:
        face_id, lists = record.face.face_id, set(record.face.lists)
        for _ in range(TRIES):
            places = await self._places(account, [face_id])
            links = await self._lists.require(account, lists)
            place = places.get(face_id)
            drawn = record if place is None or place["deleted"] else _created(record, place["create_ms"])
            if await self._make(account, [drawn], places, links):
                left = set(place["numbers"]) if place else set[str]()
                await self._touch(account, [face_id], left | set(links.values()), now_ms)
                return drawn is record
        raise _contended([face_id])

    async def patch_face(self, account: Id, face_id: Id, changes: dict[str, Any]) -> bool:
        """Setting the account to itself lets an empty patch, too, tell whether the face exists."""
        if "user_data" in changes:
            changes = changes | {"folded": changes["user_data"].casefold()}
        owned = self._of(account)
        condition = owned.where({"_id": face_id, "deleted": False})
        with reached():
            done = await owned.collection.update_one(condition, {"$set": {"account_id": account, **changes}})
        return done.matched_count == 1

    async def delete_faces(self, account: Id, face_ids: list[Id], now_ms: int, *, all_or_none: bool) -> None:
        if all_or_none:
            await self._require(account, face_ids)
        left: set[str] = set()

        def bury(document: Document) -> Document:
            left.update(document["numbers"])
            return TOMBSTONE

        if await self._change(account, face_ids, bury):
            await self._lists.touch(account, left, now_ms)

    async def faces(self, account: Id, face_ids: list[Id]) -> list[Face]:
        return [read_face(document) for document in await self._read(account, face_ids, RECORD)]

    async def find_faces(self, account: Id, where: FaceFilter, page: Page) -> list[Face]:
        by_id = where.face_id__gte is not None or where.face_id__lt is not None
        order = [("face_id", 1)] if by_id else [("create_ms", DESCENDING), ("face_id", 1)]
        owned = self._of(account)
        with reached():
            query = owned.collection.find(owned.where(_alive(where)), _only(RECORD)).sort(order)
            found = await query.skip(page.offset).limit(page.page_size).to_list()
        return [read_face(document) for document in found]

    async def select_faces(self, account: Id, where: FaceFilter) -> list[Id]:
        owned = self._of(account)
        with reached():
            found = owned.collection.find(owned.where(_alive(where)), {"_id": 1}).sort("face_id", 1)
            return [document["_id"] async for document in found]

    async def count_faces(self, account: Id, where: FaceFilter, *, with_attributes: bool = False) -> int:
        owned = self._of(account)
        condition = _alive(where)
        if with_attributes:
            condition["attribute_id"] = {"$gt": "", **condition.get("attribute_id", {})}
        with reached():
            return await owned.collection.count_documents(owned.where(condition))

    # Attributes

    async def face_attributes(self, account: Id, face_ids: list[Id]) -> list[Attribute]:
        found = [read_attribute(document) for document in await self._read(account, face_ids, OWNED)]
        return [attribute for attribute in found if attribute is not None]

    async def edit_attribute(self, account: Id, face_id: Id, edit: Edit, now_ms: int) -> None:
        for _ in range(TRIES):
            found = await self._read(account, [face_id], (*OWNED, "numbers", "revision"))
            if not found:
                raise MienError(Code.FACE_MISSING, f"face {face_id} was not found")
            [document] = found
            fields = attribute_fields(edit(read_attribute(document)))
            if await self._write(account, [(document, fields)]):
                await self._lists.touch(account, set(document["numbers"]), now_ms)
                return
        raise _contended([face_id])

    # Lists and links

    async def add_list(self, account: Id, drawn: FaceList) -> None:
        if await self._lists.add(drawn):  # faces of a deleted one that had its id must not seem to be in it
            await self._unlink(account, await self._lists.marks(account, [drawn.list_id]))

    async def lists(self, account: Id, list_ids: list[Id]) -> list[FaceList]:
        return await self._lists.get(account, list_ids)

    async def find_lists(self, account: Id, where: ListFilter, page: Page) -> list[FaceList]:
        return await self._lists.find(account, where, page)

    async def count_lists(self, account: Id, where: ListFilter) -> int:
        return await self._lists.count(account, where)

    async def members(self, account: Id, list_id: Id, page: Page) -> list[Id]:
        owned = self._of(account)
        with reached():
            query = owned.collection.find(owned.where({"lists": {"$in": [list_id]}}), {"_id": 1}).sort("face_id", 1)
            return [one["_id"] for one in await query.skip(page.offset).limit(page.page_size).to_list()]

    async def patch_list(self, account: Id, list_id: Id, user_data: str) -> bool:
        return await self._lists.patch(account, list_id, user_data)

    async def delete_lists(self, account: Id, list_ids: list[Id]) -> list[Id]:
        marked = await self._lists.mark(account, list_ids, self._now_ms())
        left = await self._unlink(account, await self._lists.marks(account, list_ids))
        return [face_id for face_id, numbers in left.items() if marked & numbers]

    async def finish_deletions(self) -> None:
        """Take faces out of deleted lists of every account, for those who died on the way, and forget old lists."""
        before_ms = self._now_ms() - MARK_MS
        for account, marks in (await self._lists.marks_of_all()).items():
            for some in chunks(list(marks.items()), CHUNK):
                await self._unlink(account, dict(some))
                await self._lists.drop_marks(account, dict(some), before_ms)

    async def attach(self, account: Id, list_id: Id, face_ids: list[Id], now_ms: int) -> None:
        number = await self._linkable(account, list_id, face_ids)
        if await self._change(account, face_ids, _relinked(lambda links: {**links, list_id: number})):
            await self._touch(account, face_ids, {number}, now_ms)

    async def detach(self, account: Id, list_id: Id, face_ids: list[Id], now_ms: int) -> None:
        number = await self._linkable(account, list_id, face_ids)
        if await self._change(account, face_ids, _relinked(lambda links: _without(links, {number}))):
            await self._lists.touch(account, {number}, now_ms)

    async def _linkable(self, account: Id, list_id: Id, face_ids: list[Id]) -> str:
        """The list's number."""
        links = await self._lists.links(account, [list_id])
        if not links:
            raise MienError(Code.LIST_MISSING, f"list {list_id} was not found", status=400)
        await self._require(account, face_ids)
        return links[list_id]

    async def _touch(self, account: Id, face_ids: Sequence[Id], numbers: set[str], now_ms: int) -> bool:
        """Move the lists' times of update, and take the faces out of those that were deleted meanwhile; whether any
        was."""
        gone = await self._lists.touch(account, numbers, now_ms)
        return bool(gone) and await self._change(account, face_ids, _relinked(lambda links: _without(links, gone)))

    async def _unlink(self, account: Id, marks: Marks) -> dict[Id, set[str]]:
        """Take every face out of deleted lists; which those were, with the numbers each had."""
        left: dict[Id, set[str]] = {}
        owned = self._of(account)
        linked = owned.where({"lists": {"$in": sorted(set(marks.values()))}, "numbers": {"$in": sorted(marks)}})
        leave = _relinked(lambda links: _without(links, marks.keys()))
        while marks:
            with reached():
                some = await owned.collection.find(linked, {"_id": 1, "numbers": 1}).limit(CHUNK).to_list()
            if not some:
                break
            await self._change(account, [one["_id"] for one in some], leave)
            left |= {one["_id"]: set(one["numbers"]) for one in some}
        return left

    # The feed

    async def changes(self, after: int, limit: int, late: list[Gap]) -> GalleryPage:
        return await self._revisions.page(after, limit, late, CANDIDATE, read_row)

    # One document a face

    def _of(self, account: Id) -> Owned:
        return Owned(self._documents, account)

    async def _read(self, account: Id, face_ids: Sequence[Id], fields: Iterable[str]) -> list[Document]:
        """Live faces in order of ids."""
        if not face_ids:
            return []
        owned = self._of(account)
        wanted = owned.where({"_id": {"$in": list(face_ids)}, "deleted": False})
        with reached():
            return await owned.collection.find(wanted, _only(fields)).sort("face_id", 1).to_list()

    async def _require(self, account: Id, face_ids: list[Id]) -> None:
        found = {document["_id"] for document in await self._read(account, face_ids, ("_id",))}
        if absent := sorted(set(face_ids) - found):
            raise MienError(Code.FACES_MISSING, f"faces {', '.join(absent)} were not found")

    async def _places(self, account: Id, face_ids: Iterable[Id]) -> dict[Id, Document]:
        """What is under these ids, faces and tombstones. Raises REQUEST_CONFLICT when one is another account's: the
        feed names faces by id alone."""
        fields = _only(("account_id", "deleted", "create_ms", "numbers", "revision"))
        with reached():
            found = await self._documents.find({"_id": {"$in": sorted(face_ids)}}, fields).to_list()
        if taken := sorted(place["_id"] for place in found if place["account_id"] != account):
            raise MienError(Code.REQUEST_CONFLICT, f"faces {', '.join(taken)}: the id is in use")
        return {place["_id"]: place for place in found}

    async def _make(self, account: Id, records: Iterable[FaceRecord], places: dict[Id, Document], links: Links) -> bool:
        """Store whole faces over what was read of their places; whether all of those were as they were read."""
        return await self._write(
            account,
            [
                (places.get(record.face.face_id, {"_id": record.face.face_id}), face_fields(record, links))
                for record in records
            ],
        )

    async def _change(self, account: Id, face_ids: Sequence[Id], change: Change) -> bool:
        """Change those that exist; whether any was to be changed."""
        changed = False
        for _ in range(TRIES):
            found = await self._read(account, face_ids, ("lists", "numbers", "revision"))
            wanted = [(document, fields) for document in found if (fields := change(document)) is not None]
            if not wanted:
                return changed
            changed = True
            if await self._write(account, wanted):
                return True
        raise _contended(face_ids)

    async def _write(self, account: Id, changes: Sequence[Written]) -> bool:
        """Make all changes, some at a time; whether all documents were as they were read. Those that were not stay."""
        as_read = [await self._write_some(account, some) for some in chunks(list(changes), AT_ONCE)]
        return all(as_read)

    async def _write_some(self, account: Id, changes: Sequence[Written]) -> bool:
        owned = self._of(account)

        def operation(document: Document, fields: Document, stamp: Stamp) -> InsertOne[Document] | UpdateOne:
            face_id = document["_id"]
            if "revision" not in document:
                own = {"_id": face_id, "face_id": face_id, "account_id": account}
                return InsertOne({**own, **fields, **stamp.fields})
            as_read = owned.where({"_id": face_id, "revision": document["revision"]})
            return UpdateOne(as_read, {"$set": {**fields, **stamp.fields}})

        async with self._revisions.stamped([document["_id"] for document, _ in changes]) as stamps:
            operations = [operation(document, fields, stamps[document["_id"]]) for document, fields in changes]
            try:
                with reached():
                    done = await owned.collection.bulk_write(operations, ordered=False)
            except BulkWriteError as refused:
                codes = {error["code"] for error in refused.details["writeErrors"]}
                if codes == {DUPLICATE}:
                    return False
                # not as it is: it quotes the documents, and they hold descriptors
                raise MienError(Code.INTERNAL, f"MongoDB refused to write faces: codes {sorted(codes)}") from None
        return done.inserted_count + done.matched_count == len(changes)


def _only(fields: Iterable[str]) -> Document:
    return dict.fromkeys(fields, 1)


def _alive(where: FaceFilter) -> Document:
    return {**compiled(where, FACE_CONDITIONS), "deleted": False}


def _is_free(place: Document | None) -> bool:
    return place is None or place["deleted"]


def _lists_of(records: Iterable[FaceRecord]) -> set[Id]:
    return {list_id for record in records for list_id in record.face.lists}


def _created(record: FaceRecord, create_ms: int) -> FaceRecord:
    """With the time of creation of the face it replaces."""
    return FaceRecord(record.face.model_copy(update={"create_time": clock.from_ms(create_ms)}), record.attribute)


def _relinked(moved: Callable[[Links], Links]) -> Change:
    """The change of a face's links."""

    def change(document: Document) -> Document | None:
        links = read_links(document)
        after = moved(links)
        return link_fields(after) if after != links else None

    return change


def _without(links: Links, numbers: Set[str]) -> Links:
    return {list_id: number for list_id, number in links.items() if number not in numbers}


def _contended(ids: Sequence[Id]) -> MienError:
    detail = f"{', '.join(ids[:5])}: changed by too many at the same moment"
    return MienError(Code.OVERLOADED, detail, retry_after_s=1)
