"""Use cases of the image store: buckets, pictures and objects."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from libs.common import clock
from libs.common.errors import Code, MienError
from libs.common.ids import Id, new_id
from libs.common.media import JPEG
from libs.common.wire.images import PLATFORM_BUCKETS, Bucket, ImageDraft, StoredImage
from services.image_store.pictures import kind_of, normalised
from services.image_store.ports import ImageIndex, Kind, ObjectStore, Record, bucket_missing

MAX_TTL_S = 365 * 86400
MAX_META = 32
MAX_META_BYTES = 1024
ORPHAN_AGE = timedelta(hours=1)
"""Bytes without a row are left alone this long: a write may be under way."""
PURGED = 1000
DECODED_AT_ONCE = 2
WRITTEN_AT_ONCE = 8

BUCKET_NAME = re.compile(r"[a-z0-9-]{3,63}")
META_NAME = re.compile(r"[a-z0-9_-]{1,64}")
META_VALUE = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]*")

log = logging.getLogger("mien.image_store")


@dataclass(frozen=True)
class Upload:
    """Bytes somebody brings: their content type, how long they live (seconds, None = for ever), their metadata."""

    data: bytes
    content_type: str
    ttl_s: int | None = None
    meta: dict[str, str] = field(default_factory=dict)


class Saved(NamedTuple):
    """What became of an upload; ``created`` is False when it replaced what was there."""

    record: Record
    created: bool


class Images:
    """Buckets, pictures and objects. Knows no HTTP and no database; satisfies ``libs.common.ports.Images``.

    An item exists from the moment its row is committed (its bytes are durable before that) until its row is
    gone or has expired; the bytes are removed afterwards. A failure in between leaves bytes without a row, for
    :meth:`sweep`, and never a row without bytes.
    """

    def __init__(self, index: ImageIndex, objects: ObjectStore, now_ms: Callable[[], int] = clock.now_ms) -> None:
        self._index = index
        self._now_ms = now_ms
        self._objects = objects
        self._decoding = asyncio.Semaphore(DECODED_AT_ONCE)
        self._writing = asyncio.Semaphore(WRITTEN_AT_ONCE)

    async def create_bucket(self, account: Id, name: str) -> None:
        """Raises BAD_QUERY when the name is not ``[a-z0-9-]``, 3 to 63 characters; BUCKET_EXISTS."""
        if not BUCKET_NAME.fullmatch(name):
            raise MienError(Code.BAD_QUERY, f"bucket: {name[:80]!r} is not 3 to 63 of a-z, 0-9 and -")
        await self._index.add_bucket(account, name, self._now_ms())

    async def buckets(self, account: Id) -> list[Bucket]:
        """The platform's buckets and the account's own."""
        return await self._index.buckets(account)

    async def bucket(self, account: Id, name: str) -> Bucket:
        """Raises BUCKET_MISSING."""
        return await self._index.bucket(account, name)

    async def delete_bucket(self, account: Id, name: str) -> None:
        """Delete an own bucket and all it holds. Raises BUCKET_MISSING; METHOD_NOT_ALLOWED for a platform bucket."""
        if name in PLATFORM_BUCKETS:
            raise MienError(Code.METHOD_NOT_ALLOWED, f"bucket {name} belongs to the platform")
        if not await self._index.delete_bucket(account, name, self._now_ms()):
            raise bucket_missing(name)

    # libs.common.ports.Images

    async def put(self, account: Id, images: list[ImageDraft]) -> None:
        for bucket in {draft.bucket for draft in images}:
            await self._index.bucket(account, bucket)
        await self._store(
            account,
            "image",
            [
                (draft.bucket, draft.image_id, Upload(draft.data, kind_of(draft.data), draft.ttl_s, draft.meta))
                for draft in images
            ],
        )

    async def get(self, account: Id, bucket: str, image_id: Id) -> StoredImage:
        record, data = await self.read(account, bucket, "image", image_id)
        expires = None if record.expire_ms is None else clock.from_ms(record.expire_ms)
        return StoredImage(data=data, content_type=record.content_type, meta=record.meta, expires=expires)

    async def delete(self, account: Id, bucket: str, image_ids: list[Id]) -> None:
        await self._delete(account, bucket, "image", image_ids)

    # What users bring

    async def save_image(self, account: Id, bucket: str, image_id: Id, upload: Upload) -> Saved:
        """Store a picture as JPEG. Raises BUCKET_MISSING, BAD_HEADER (metadata), CONTENT_MISMATCH, IMAGE_TOO_LARGE,
        BROKEN_IMAGE."""
        await self._index.bucket(account, bucket)
        async with self._decoding:
            data = await asyncio.to_thread(normalised, upload.data, upload.content_type)
        kept = replace(upload, data=data, content_type=JPEG)
        return await self._save(account, "image", bucket, image_id, kept)

    async def save_object(self, account: Id, bucket: str, object_id: Id, upload: Upload) -> Saved:
        """Store an object as it is. Raises BUCKET_MISSING, BAD_HEADER (metadata)."""
        await self._index.bucket(account, bucket)
        return await self._save(account, "object", bucket, object_id, upload)

    async def describe(self, account: Id, bucket: str, kind: Kind, item_id: Id) -> Record:
        """Raises IMAGE_MISSING or OBJECT_MISSING."""
        record = await self._index.get(account, bucket, kind, item_id, self._now_ms())
        if record is None:
            raise _missing(bucket, kind, item_id)
        return record

    async def read(self, account: Id, bucket: str, kind: Kind, item_id: Id) -> tuple[Record, bytes]:
        """An item and its bytes. Raises IMAGE_MISSING or OBJECT_MISSING."""
        tried = None
        while (record := await self.describe(account, bucket, kind, item_id)).key != tried:
            data = await self._objects.get(record.key)
            if data is not None:
                return record, data
            tried = record.key  # replaced or deleted since the row was read: the row of this moment decides
        log.error("bytes of %s %s in %s are lost (%s)", kind, item_id, bucket, tried)
        raise _missing(bucket, kind, item_id)

    async def remove(self, account: Id, bucket: str, kind: Kind, item_id: Id) -> None:
        """Raises IMAGE_MISSING or OBJECT_MISSING."""
        if not await self._delete(account, bucket, kind, [item_id]):
            raise _missing(bucket, kind, item_id)

    async def remove_many(self, account: Id, bucket: str, kind: Kind, item_ids: list[Id]) -> None:
        """Delete those that exist. Raises BUCKET_MISSING."""
        await self._index.bucket(account, bucket)
        await self._delete(account, bucket, kind, item_ids)

    # Housekeeping, on any number of processes at the same time

    async def check(self) -> None:
        """Whether pictures can be stored and read. Raises STORE_UNAVAILABLE, or what the index's database raises."""
        await self._index.check()
        await self._objects.check()

    async def purge(self) -> int:
        """Remove what has expired and what deleted buckets held; returns how many items."""
        count = 0
        while keys := await self._index.purge(self._now_ms(), PURGED):
            await self._free(keys)
            count += len(keys)
        return count

    async def sweep(self, age: timedelta = ORPHAN_AGE) -> int:
        """Remove bytes older than ``age`` that no row refers to, left by a process that died; returns how many."""
        count = 0
        async for keys in self._objects.keys(clock.from_ms(self._now_ms()) - age):
            orphans = sorted(set(keys) - await self._index.known(keys))
            await self._objects.delete(orphans)
            count += len(orphans)
        return count

    async def sweep_in_turn(self, every: timedelta) -> int:
        """As :meth:`sweep`, unless one of all processes began one less than ``every`` ago: it reads every key."""
        is_due = await self._index.take_turn(self._now_ms(), every // timedelta(milliseconds=1))
        return await self.sweep() if is_due else 0

    async def _save(self, account: Id, kind: Kind, bucket: str, item_id: Id, upload: Upload) -> Saved:
        records, replaced = await self._store(account, kind, [(bucket, item_id, upload)])
        return Saved(records[0], created=not replaced)

    async def _store(
        self, account: Id, kind: Kind, items: list[tuple[str, Id, Upload]]
    ) -> tuple[list[Record], list[str]]:
        """Write the bytes, then commit the rows that make them count, then drop what was replaced (the keys)."""
        moment = clock.from_ms(self._now_ms())
        records = await asyncio.to_thread(lambda: [_record(account, kind, *item, moment) for item in items])
        await asyncio.gather(
            *(self._write(record.key, upload.data) for record, (_, _, upload) in zip(records, items, strict=True))
        )
        replaced = await self._index.put(records)
        await self._free(replaced)
        return records, replaced

    async def _write(self, key: str, data: bytes) -> None:
        async with self._writing:
            await self._objects.put(key, data)

    async def _delete(self, account: Id, bucket: str, kind: Kind, item_ids: list[Id]) -> int:
        keys = await self._index.delete(account, bucket, kind, item_ids, self._now_ms())
        await self._free(keys)
        return len(keys)

    async def _free(self, keys: list[str]) -> None:
        """Remove bytes that no row refers to any more; those that cannot be removed now are swept later."""
        try:
            await self._objects.delete(keys)
        except MienError as failure:
            log.warning("%d items without a row are left for the sweep: %s", len(keys), failure.detail)


def _record(account: Id, kind: Kind, bucket: str, item_id: Id, upload: Upload, moment: datetime) -> Record:
    """The row of an upload. Raises BAD_QUERY (time to live), BAD_HEADER (metadata)."""
    if upload.ttl_s is not None and not 1 <= upload.ttl_s <= MAX_TTL_S:
        raise MienError(Code.BAD_QUERY, f"ttl: {upload.ttl_s} is not 1 to {MAX_TTL_S} seconds")
    token = new_id()
    return Record(
        account=account,
        bucket=bucket,
        kind=kind,
        item_id=item_id,
        key=f"{bucket}/{moment:%Y/%m/%d/%H}/{token[:2]}/{token}",
        content_type=upload.content_type,
        size_bytes=len(upload.data),
        sha256=hashlib.sha256(upload.data).hexdigest(),
        create_ms=clock.to_ms(moment),
        expire_ms=None if upload.ttl_s is None else clock.to_ms(moment) + upload.ttl_s * 1000,
        meta=_checked_meta(upload.meta),
    )


def _checked_meta(meta: dict[str, str]) -> dict[str, str]:
    """Names in lower case. Raises BAD_HEADER, because that is how they come and go."""
    if len(meta) > MAX_META:
        raise MienError(Code.BAD_HEADER, f"X-Luna-Meta: {len(meta)} entries; an item may have {MAX_META}")
    for name, value in meta.items():
        if not META_NAME.fullmatch(name.lower()):
            raise MienError(Code.BAD_HEADER, f"X-Luna-Meta-{name[:80]}: a name has 1 to 64 letters, digits, - and _")
        if not META_VALUE.fullmatch(value) or len(value.encode()) > MAX_META_BYTES:
            raise MienError(Code.BAD_HEADER, f"X-Luna-Meta-{name}: a value is text of up to {MAX_META_BYTES} bytes")
    return {name.lower(): value for name, value in meta.items()}


def _missing(bucket: str, kind: Kind, item_id: Id) -> MienError:
    code = Code.IMAGE_MISSING if kind == "image" else Code.OBJECT_MISSING
    return MienError(code, f"{kind} {item_id} in bucket {bucket}")
