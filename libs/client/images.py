"""Stored pictures, samples and objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from libs.client.calls import Answer, Calls, json_content
from libs.client.pictures import Content, Picture, load
from libs.common.wire.images import StoredImage

META_HEADER, EXPIRY_HEADER = "X-Luna-Meta-", "X-Luna-Expiry-Date"


class Images:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(self, image: Picture, *, ttl: int | None = None, meta: Mapping[str, str] | None = None) -> str:
        """Store a picture as it is, for ``ttl`` seconds or for good; answers its id."""
        return await self._create("/images", image, ttl, meta or {})

    async def get(self, image_id: str) -> StoredImage:
        return _stored(await self._calls.send("GET", f"/images/{image_id}", query={"with_meta": 1}))

    async def check(self, image_id: str) -> bool:
        return await self._calls.exists(f"/images/{image_id}")

    async def put(
        self, image_id: str, image: Picture, *, ttl: int | None = None, meta: Mapping[str, str] | None = None
    ) -> None:
        """Store a picture under this id, in place of the one that may be there."""
        await self._put(f"/images/{image_id}", image, ttl, meta or {})

    async def delete(self, image_id: str) -> None:
        await self._calls.send("DELETE", f"/images/{image_id}")

    async def delete_many(self, image_ids: Sequence[str]) -> None:
        """Delete those of up to 1000 pictures that exist."""
        await self._calls.send("DELETE", "/images", content=json_content({"images": list(image_ids)}))

    async def create_face_sample(self, warp: Picture) -> str:
        """Store a face warp (250 x 250) made elsewhere; answers the sample's id."""
        return await self._create("/samples/faces", warp, None, {})

    async def get_face_sample(self, sample_id: str) -> StoredImage:
        return _stored(await self._calls.send("GET", f"/samples/faces/{sample_id}"))

    async def get_body_sample(self, sample_id: str) -> StoredImage:
        return _stored(await self._calls.send("GET", f"/samples/bodies/{sample_id}"))

    async def create_object(
        self, data: bytes, *, content_type: str = "application/json", ttl: int | None = None
    ) -> str:
        """Store text, JSON, a zip archive or a PDF; answers its id."""
        content = Content(data, content_type)
        return (await self._calls.send("POST", "/objects", query={"ttl": ttl}, content=content)).field("object_id")

    async def get_object(self, object_id: str) -> StoredImage:
        return _stored(await self._calls.send("GET", f"/objects/{object_id}"))

    async def check_object(self, object_id: str) -> bool:
        return await self._calls.exists(f"/objects/{object_id}")

    async def put_object(
        self, object_id: str, data: bytes, *, content_type: str = "application/json", ttl: int | None = None
    ) -> None:
        content = Content(data, content_type)
        await self._calls.send("PUT", f"/objects/{object_id}", query={"ttl": ttl}, content=content)

    async def delete_object(self, object_id: str) -> None:
        await self._calls.send("DELETE", f"/objects/{object_id}")

    async def delete_objects(self, object_ids: Sequence[str]) -> None:
        """Delete those of up to 1000 objects that exist."""
        await self._calls.send("DELETE", "/objects", content=json_content({"objects": list(object_ids)}))

    async def _create(self, path: str, image: Picture, ttl: int | None, meta: Mapping[str, str]) -> str:
        content, headers = await _content(image), _meta_headers(meta)
        answer = await self._calls.send("POST", path, query={"ttl": ttl}, content=content, headers=headers)
        return answer.field("image_id")

    async def _put(self, path: str, image: Picture, ttl: int | None, meta: Mapping[str, str]) -> None:
        content, headers = await _content(image), _meta_headers(meta)
        await self._calls.send("PUT", path, query={"ttl": ttl}, content=content, headers=headers)


async def _content(image: Picture) -> Content:
    (picture,) = await load(image)
    return Content(picture.data, picture.content_type)


def _meta_headers(meta: Mapping[str, str]) -> dict[str, str]:
    return {META_HEADER + name: value for name, value in meta.items()}


def _stored(answer: Answer) -> StoredImage:
    meta = {
        name[len(META_HEADER) :].lower(): value
        for name, value in answer.headers.items()
        if name.lower().startswith(META_HEADER.lower())
    }
    return StoredImage.model_validate(
        {
            "data": answer.data,
            "content_type": answer.headers.get("Content-Type", ""),
            "meta": meta,
            "expires": answer.headers.get(EXPIRY_HEADER),
        }
    )
