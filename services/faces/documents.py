"""Faces and lists as MongoDB documents.

A face's document holds all that changes together: its record, its links, its attribute with descriptors, and its
revision. A deleted face leaves the document as a tombstone, which keeps the id from passing to another account.
"""

from __future__ import annotations

import msgpack

from libs.common import clock
from libs.common.storage.mongo import Document
from libs.common.wire.base import pack
from libs.common.wire.faces import Attribute, AttributeData, DescriptorDraft, Face, FaceList
from libs.common.wire.gallery import GalleryRow
from services.faces.model import FaceRecord

NO_ATTRIBUTE: Document = {"attribute_id": None, "attribute_ms": None, "content": None, "descriptors": []}
NO_LINKS: Document = {"lists": [], "numbers": []}
TOMBSTONE: Document = {
    "deleted": True,
    "create_ms": None,
    "event_id": None,
    "user_data": "",
    "folded": "",
    "external_id": None,
    "avatar": None,
    **NO_LINKS,
    **NO_ATTRIBUTE,
}
"""What is left of a face."""
RECORD = ("_id", "account_id", "create_ms", "event_id", "user_data", "external_id", "avatar", "lists")
"""Fields that :func:`read_face` reads."""
OWNED = ("_id", "account_id", *NO_ATTRIBUTE)
"""Fields that :func:`read_attribute` reads."""
CANDIDATE = ("_id", "account_id", "deleted", "descriptors", "lists")
"""Fields that :func:`read_row` reads."""


Links = dict[str, str]
"""Lists by id, each with its number: a list that was deleted and made again under its id is another one."""


def face_fields(record: FaceRecord, links: Links) -> Document:
    """All of a live face but its id, account and revision. ``links`` are those of the face's lists at least."""
    face = record.face
    return {
        "deleted": False,
        "create_ms": clock.to_ms(face.create_time),
        "event_id": face.event_id,
        "user_data": face.user_data,
        "folded": face.user_data.casefold(),
        "external_id": face.external_id,
        "avatar": face.avatar,
        **link_fields({list_id: links[list_id] for list_id in face.lists}),
        **attribute_fields(record.attribute),
    }


def link_fields(links: Links) -> Document:
    """Two arrays, one beside the other."""
    return {"lists": sorted(links), "numbers": [links[list_id] for list_id in sorted(links)]}


def read_links(document: Document) -> Links:
    return dict(zip(document["lists"], document["numbers"], strict=True))


def attribute_fields(attribute: Attribute | None) -> Document:
    if attribute is None:
        return NO_ATTRIBUTE
    return {
        "attribute_id": attribute.attribute_id,
        "attribute_ms": clock.to_ms(attribute.create_time),
        "content": pack(attribute.model_dump(include=set(AttributeData.model_fields) - {"descriptors"})),
        "descriptors": [
            {"version": draft.version, "data": draft.descriptor, "score": draft.score}
            for draft in attribute.descriptors
        ],
    }


def read_face(document: Document) -> Face:
    return Face(
        face_id=document["_id"],
        account_id=document["account_id"],
        create_time=clock.from_ms(document["create_ms"]),
        event_id=document["event_id"],
        user_data=document["user_data"],
        external_id=document["external_id"],
        avatar=document["avatar"],
        lists=document["lists"],
    )


def read_attribute(document: Document) -> Attribute | None:
    """The attribute of a face that has one."""
    if document["attribute_id"] is None:
        return None
    return Attribute(
        attribute_id=document["attribute_id"],
        account_id=document["account_id"],
        create_time=clock.from_ms(document["attribute_ms"]),
        face_id=document["_id"],
        descriptors=[
            DescriptorDraft(descriptor=one["data"], version=one["version"], score=one["score"])
            for one in document["descriptors"]
        ],
        **msgpack.unpackb(document["content"]),
    )


def read_row(document: Document) -> GalleryRow:
    return GalleryRow.model_construct(  # it was valid when it was stored; checking again nearly doubles a page's cost
        object_id=document["_id"],
        account_id=document["account_id"],
        deleted=bool(document["deleted"]),
        descriptors={one["version"]: one["data"] for one in document["descriptors"]},
        lists=document["lists"],
    )


def list_document(drawn: FaceList, number: str) -> Document:
    """``place`` is what no other list may have: the id while the list is there."""
    return {
        "_id": number,
        "place": drawn.list_id,
        "list_id": drawn.list_id,
        "account_id": drawn.account_id,
        "deleted": False,
        "deleted_ms": None,
        "create_ms": clock.to_ms(drawn.create_time),
        "update_ms": clock.to_ms(drawn.last_update_time),
        "user_data": drawn.user_data,
    }


def read_list(document: Document) -> FaceList:
    return FaceList(
        list_id=document["list_id"],
        account_id=document["account_id"],
        user_data=document["user_data"],
        create_time=clock.from_ms(document["create_ms"]),
        last_update_time=clock.from_ms(document["update_ms"]),
    )
