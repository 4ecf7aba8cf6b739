"""Faces, lists, attributes. Sections 16 and 17 of the wire contract."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from libs.common.clock import Time, TimeText
from libs.common.ids import Id
from libs.common.wire.base import Blob, Commas, Flag, Unit, Wire

UserData = Annotated[str, Field(max_length=128)]
ExternalId = Annotated[str, Field(max_length=36)]
Avatar = Annotated[str, Field(max_length=256)]


class StoredBasicAttributes(Wire):
    """Basic attributes as a face keeps them: ids instead of words."""

    age: Annotated[int, Field(ge=0, le=150)] | None = None
    gender: Literal[0, 1] | None = None
    ethnicity: Annotated[int, Field(ge=1, le=4)] | None = None


class DescriptorDraft(Wire):
    """A raw descriptor with its version; ``score`` is our extension."""

    descriptor: Blob
    version: int
    score: Unit | None = None


class AttributeData(Wire):
    """What an attribute holds. Samples are the warps the data was made from."""

    basic_attributes: StoredBasicAttributes | None = None
    descriptors: Annotated[list[DescriptorDraft], Field(max_length=16)] = []
    face_descriptor_samples: Annotated[list[Id], Field(max_length=1000)] = []
    basic_attributes_samples: Annotated[list[Id], Field(max_length=1000)] = []


class AttributeDraft(AttributeData):
    """A face's attribute: either the id of a temporary attribute to copy, or the data itself."""

    attribute_id: Id | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = self.basic_attributes or self.descriptors
        if self.attribute_id and (given or self.face_descriptor_samples or self.basic_attributes_samples):
            raise ValueError("attribute_id excludes the other fields")
        return self


class TemporaryAttributeDraft(AttributeData):
    """Body of POST and PUT /attributes. ``attribute_id`` lets the caller choose the id, so that a retry is
    harmless; ``ttl`` is in seconds."""

    attribute_id: Id | None = None
    ttl: int = Field(default=300, ge=1, le=86400)


class FaceDraft(Wire):
    """Body of POST and PUT /faces. ``face_id`` lets a service choose the id, so that a retry is harmless."""

    face_id: Id | None = None
    event_id: Id | None = None
    user_data: UserData = ""
    external_id: ExternalId | None = None
    avatar: Avatar | None = None
    lists: Annotated[list[Id], Field(max_length=1000)] = []
    attribute: AttributeDraft | None = None


class FacePatch(Wire):
    """Only the fields that are present change; null clears."""

    event_id: Id | None = None
    user_data: UserData = ""
    external_id: ExternalId | None = None
    avatar: Avatar | None = None


class Face(Wire):
    face_id: Id
    account_id: Id
    create_time: Time
    event_id: Id | None = None
    user_data: str = ""
    external_id: str | None = None
    avatar: str | None = None
    lists: list[Id] = []


class FaceFilter(Wire):
    """Which faces; conditions are ANDed, lists are ORed. Also the candidate filter of origin ``faces``."""

    user_data: str | None = None
    event_id: Id | None = None
    list_id: Id | None = None
    face_ids: Annotated[list[Id], Commas] | None = None
    attribute_ids: Annotated[list[Id], Commas] | None = None
    external_ids: Annotated[list[str], Commas] | None = None
    face_id__gte: Id | None = None
    face_id__lt: Id | None = None
    create_time__gte: TimeText | None = None
    create_time__lt: TimeText | None = None


class Attribute(AttributeData):
    """A face's own attribute, or a temporary one (then with ``expires``).

    A face's attribute keeps the id of the temporary one it was copied from; such ids need not be unique.
    """

    attribute_id: Id
    account_id: Id
    create_time: Time
    face_id: Id | None = None
    expires: Time | None = None


class ListDraft(Wire):
    list_id: Id | None = None
    user_data: UserData = ""


class FaceList(Wire):
    list_id: Id
    account_id: Id
    user_data: str
    create_time: Time
    last_update_time: Time


class ListFilter(Wire):
    """Which lists; ``user_data`` is a case-sensitive substring."""

    user_data: str | None = None
    user_data__eq: str | None = None
    create_time__gte: TimeText | None = None
    create_time__lt: TimeText | None = None
    last_update_time__gte: TimeText | None = None
    last_update_time__lt: TimeText | None = None
    list_ids: Annotated[list[Id], Commas] | None = None
    list_id__gte: Id | None = None
    list_id__lt: Id | None = None


class FaceLinks(Wire):
    """Body of PATCH /lists/{id}/faces. Attaching or detaching twice is harmless."""

    face_ids: Annotated[list[Id], Field(min_length=1, max_length=1000)]
    action: Literal["attach", "detach"]


class Link(FaceLinks):
    """Body of PATCH /linker."""

    list_id: Id


class FaceIds(Wire):
    """Body of DELETE /faces and POST /faces/attributes."""

    face_ids: Annotated[list[Id], Field(min_length=1, max_length=1000)]


class ListIds(Wire):
    """Body of DELETE /lists."""

    list_ids: Annotated[list[Id], Field(min_length=1, max_length=1000)]


class WithFaces(Wire):
    with_faces: Flag = 0
