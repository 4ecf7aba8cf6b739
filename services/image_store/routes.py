"""HTTP of the image store. Section 19 of the wire contract."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import Field

from libs.common import clock
from libs.common.errors import Code, MienError, said_once
from libs.common.http.routes import JSON, Call, Reply, Routes
from libs.common.ids import Id, new_id
from libs.common.media import JPEG, PICTURES, essence, well_formed
from libs.common.wire.base import Flag, Wire
from libs.common.wire.images import Bucket, image_path
from services.image_store.ports import Kind, Record
from services.image_store.service import Images, Saved, Upload

routes = Routes("image-store", "/1")
IMAGES = web.AppKey("images", Images)

META = "X-Luna-Meta-"
EXPIRY = "X-Luna-Expiry-Date"
OBJECTS = ("text/plain", JSON, "application/zip", "application/pdf", "application/octet-stream")


class BucketQuery(Wire):
    bucket: str


class StoreQuery(Wire):
    ttl: int | None = Field(None, description="seconds until it is forgotten, at most a year")


class ReadQuery(Wire):
    with_meta: Flag = 0


class DeleteImages(Wire):
    images: Annotated[list[Id], Field(min_length=1, max_length=1000)]


class DeleteObjects(Wire):
    objects: Annotated[list[Id], Field(min_length=1, max_length=1000)]


class ImageCreated(Wire):
    image_id: Id
    url: str


class ObjectCreated(Wire):
    object_id: Id
    url: str


@routes.post("/buckets", status=201, public=False)
async def create_bucket(call: Call, query: BucketQuery) -> Reply:
    """Create a bucket that only this account sees."""
    await call.service(IMAGES).create_bucket(call.account_or_nil, query.bucket)
    url = f"{routes.prefix}/buckets/{query.bucket}"
    return Reply({"url": url}, headers={"Location": url})


@routes.get("/buckets", public=False, answer=list[Bucket])
async def list_buckets(call: Call) -> list[Bucket]:
    """The platform's buckets and the account's own."""
    return await call.service(IMAGES).buckets(call.account_or_nil)


@routes.get("/buckets/{bucket}", public=False)
async def get_bucket(call: Call) -> Bucket:
    """One bucket."""
    return await call.service(IMAGES).bucket(call.account_or_nil, call.path("bucket"))


@routes.head("/buckets/{bucket}", public=False)
async def head_bucket(call: Call) -> None:
    """Whether there is such a bucket."""
    await call.service(IMAGES).bucket(call.account_or_nil, call.path("bucket"))


@routes.delete("/buckets/{bucket}", status=202, public=False)
async def delete_bucket(call: Call) -> None:
    """Delete an own bucket with all it holds; the bytes are removed in the background."""
    await call.service(IMAGES).delete_bucket(call.account_or_nil, call.path("bucket"))


@routes.post("/buckets/{bucket}/images", status=201, public=False, consumes=PICTURES, answer=ImageCreated)
async def create_image(call: Call, query: StoreQuery) -> Reply:
    """Store a picture; one that is not JPEG is converted."""
    with said_once(by_id=False):
        return await _save_image(call, query, new_id())


@routes.put("/buckets/{bucket}/images/{image_id}", status=201, public=False, consumes=PICTURES, answer=ImageCreated)
async def put_image(call: Call, query: StoreQuery) -> Reply:
    """Store a picture under a chosen id; 200 when it replaced one."""
    return await _save_image(call, query, call.chosen_id("image_id"))


@routes.get("/buckets/{bucket}/images/{image_id}", public=False)
async def get_image(call: Call, query: ReadQuery) -> Reply:
    """The picture; its metadata in ``X-Luna-Meta-*`` headers with ``with_meta=1``."""
    return await _read(call, query, "image", call.path("image_id"))


@routes.head("/buckets/{bucket}/images/{image_id}", public=False)
async def head_image(call: Call, query: ReadQuery) -> Reply:
    """What GET answers, without the picture."""
    return await _describe(call, query, "image", call.path("image_id"))


@routes.delete("/buckets/{bucket}/images/{image_id}", status=204, public=False)
async def delete_image(call: Call) -> None:
    """Delete one picture."""
    await call.service(IMAGES).remove(call.account_or_nil, call.path("bucket"), "image", call.path("image_id"))


@routes.delete("/buckets/{bucket}/images", status=204, public=False)
async def delete_images(call: Call, body: DeleteImages) -> None:
    """Delete those of up to 1000 pictures that exist."""
    await call.service(IMAGES).remove_many(call.account_or_nil, call.path("bucket"), "image", body.images)


@routes.post("/buckets/{bucket}/objects", status=201, public=False, consumes=OBJECTS, answer=ObjectCreated)
async def create_object(call: Call, query: StoreQuery) -> Reply:
    """Store an object as it is."""
    with said_once(by_id=False):
        return await _save_object(call, query, new_id())


@routes.put("/buckets/{bucket}/objects/{object_id}", status=201, public=False, consumes=OBJECTS, answer=ObjectCreated)
async def put_object(call: Call, query: StoreQuery) -> Reply:
    """Store an object under a chosen id; 200 when it replaced one."""
    return await _save_object(call, query, call.chosen_id("object_id"))


@routes.get("/buckets/{bucket}/objects/{object_id}", public=False)
async def get_object(call: Call, query: ReadQuery) -> Reply:
    """The object; its metadata in ``X-Luna-Meta-*`` headers with ``with_meta=1``."""
    return await _read(call, query, "object", call.path("object_id"))


@routes.head("/buckets/{bucket}/objects/{object_id}", public=False)
async def head_object(call: Call, query: ReadQuery) -> Reply:
    """What GET answers, without the object."""
    return await _describe(call, query, "object", call.path("object_id"))


@routes.delete("/buckets/{bucket}/objects/{object_id}", status=204, public=False)
async def delete_object(call: Call) -> None:
    """Delete one object."""
    await call.service(IMAGES).remove(call.account_or_nil, call.path("bucket"), "object", call.path("object_id"))


@routes.delete("/buckets/{bucket}/objects", status=204, public=False)
async def delete_objects(call: Call, body: DeleteObjects) -> None:
    """Delete those of up to 1000 objects that exist."""
    await call.service(IMAGES).remove_many(call.account_or_nil, call.path("bucket"), "object", body.objects)


async def _save_image(call: Call, query: StoreQuery, image_id: Id) -> Reply:
    upload = await _upload(call, query, PICTURES, JPEG)
    saved = await call.service(IMAGES).save_image(call.account_or_nil, call.path("bucket"), image_id, upload)
    url = image_path(call.path("bucket"), image_id)
    return _created(ImageCreated(image_id=image_id, url=url), url, saved)


async def _save_object(call: Call, query: StoreQuery, object_id: Id) -> Reply:
    upload = await _upload(call, query, OBJECTS, JSON)
    saved = await call.service(IMAGES).save_object(call.account_or_nil, call.path("bucket"), object_id, upload)
    url = f"{routes.prefix}/buckets/{call.path('bucket')}/objects/{object_id}"
    return _created(ObjectCreated(object_id=object_id, url=url), url, saved)


def _created(content: Wire, url: str, saved: Saved) -> Reply:
    status = 201 if saved.created else 200
    return Reply(content, status=status, headers={"Location": url, **_expiry(saved.record)})


async def _read(call: Call, query: ReadQuery, kind: Kind, item_id: Id) -> Reply:
    record, data = await call.service(IMAGES).read(call.account_or_nil, call.path("bucket"), kind, item_id)
    return Reply(data, headers=_headers(record, query))


async def _describe(call: Call, query: ReadQuery, kind: Kind, item_id: Id) -> Reply:
    record = await call.service(IMAGES).describe(call.account_or_nil, call.path("bucket"), kind, item_id)
    return Reply(headers={**_headers(record, query), "Content-Length": str(record.size_bytes)})


def _headers(record: Record, query: ReadQuery) -> dict[str, str]:
    meta = {META + name: value for name, value in record.meta.items()} if query.with_meta else {}
    return {
        "Content-Type": record.content_type,
        "ETag": f'"{record.sha256}"',
        "X-Content-Type-Options": "nosniff",
        **_expiry(record),
        **meta,
    }


def _expiry(record: Record) -> dict[str, str]:
    return {} if record.expire_ms is None else {EXPIRY: clock.render(clock.from_ms(record.expire_ms))}


async def _upload(call: Call, query: StoreQuery, kinds: tuple[str, ...], default: str) -> Upload:
    """The body of a request. Raises BAD_CONTENT_TYPE, UNSUPPORTED_MEDIA, BAD_HEADER, EMPTY_BODY, BODY_TOO_LARGE."""
    header = call.request.headers.get("Content-Type", default)
    if not well_formed(header) or len(header) > 128:
        raise MienError(Code.BAD_CONTENT_TYPE, f"Content-Type: {header[:128]}")
    if essence(header) not in kinds:
        raise MienError(Code.UNSUPPORTED_MEDIA, f"Content-Type: {essence(header)}; send one of {', '.join(kinds)}")
    meta = _meta(call.request)
    data = await call.request.read()
    if not data:
        raise MienError(Code.EMPTY_BODY, "nothing to store")
    return Upload(data, essence(header) if kinds is PICTURES else header, query.ttl, meta)


def _meta(request: web.Request) -> dict[str, str]:
    meta: dict[str, str] = {}
    for header, value in request.headers.items():
        if header.lower().startswith(META.lower()):
            name = header[len(META) :].lower()
            if name in meta:
                raise MienError(Code.BAD_HEADER, f"{META}{name}: given twice")
            meta[name] = value
    return meta
