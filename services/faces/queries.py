"""What the routes take in their query strings and answer with, where that is not a stored object itself."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AliasChoices, Field

from libs.common import descriptors
from libs.common.clock import Time, TimeText
from libs.common.errors import Code, MienError
from libs.common.ids import Id
from libs.common.wire.base import Commas, Flag, Page, Wire
from libs.common.wire.faces import (
    Attribute,
    DescriptorDraft,
    Face,
    FaceFilter,
    FaceList,
    ListFilter,
    StoredBasicAttributes,
    UserData,
)

FACE_TARGETS = tuple(Face.model_fields)
ATTRIBUTE_TARGETS = (
    "attribute_id",
    "account_id",
    "create_time",
    "face_descriptor",
    "basic_attributes",
    "face_descriptor_samples",
    "basic_attributes_samples",
)
ALIASES = {"descriptor": "face_descriptor", "face_descriptors_samples": "face_descriptor_samples"}
"""Other spellings of attribute targets that clients use."""


class Targets(Wire):
    """Keys of the record to answer with; all by default."""

    targets: Annotated[list[str], Commas, Field(max_length=50)] | None = None


class CountQuery(FaceFilter):
    """``time__gte`` and ``time__lt`` are older names of the bounds of ``create_time``."""

    create_time__gte: TimeText | None = Field(None, validation_alias=AliasChoices("create_time__gte", "time__gte"))
    create_time__lt: TimeText | None = Field(None, validation_alias=AliasChoices("create_time__lt", "time__lt"))


class FaceQuery(CountQuery, Page, Targets):
    """Query of GET /faces."""


class AttributeQuery(Targets):
    """Query of one attribute. ``descriptor_version`` is the current one by default."""

    descriptor_version: int | None = None


class AttributesQuery(AttributeQuery):
    attribute_ids: Annotated[list[Id], Commas, Field(max_length=1000)]


class ListQuery(ListFilter, Page):
    """Query of GET /lists."""


class Ignore(Wire):
    """``ignore=1``: missing ids are no error."""

    ignore: Flag = 0


class Force(Wire):
    """``force=1``: replace what exists."""

    force: Flag = 0


class ListPatch(Wire):
    user_data: UserData


class FaceCreated(Wire):
    face_id: Id
    url: str
    external_url: str


class AttributeCreated(Wire):
    attribute_id: Id
    url: str


class ListCreated(Wire):
    list_id: Id
    url: str


class FacesFound(Wire):
    faces: list[Face]


class FacesCount(Wire):
    faces_count: int


class ListsFound(Wire):
    lists: list[FaceList]


class ListsCount(Wire):
    lists_count: int


class ListWithFaces(FaceList):
    """A list and one page of the ids of its faces, in order of ids."""

    face_ids: list[Id]


class Samples(Wire):
    face_descriptor_samples: list[Id]
    basic_attributes_samples: list[Id]


class FaceAttributeId(Wire):
    face_id: Id
    attribute_id: Id


class FaceAttributeIds(Wire):
    """Of those faces that have an attribute."""

    attributes: list[FaceAttributeId]


class AttributeAnswer(Wire):
    """An attribute with the descriptor of one version."""

    attribute_id: Id
    account_id: Id
    create_time: Time
    face_descriptor: DescriptorDraft | None
    basic_attributes: StoredBasicAttributes | None
    face_descriptor_samples: list[Id]
    basic_attributes_samples: list[Id]


class AttributesFound(Wire):
    attributes: list[AttributeAnswer]


def face_answer(face: Face, targets: list[str] | None) -> dict[str, Any]:
    return face.model_dump(include=set(targets or FACE_TARGETS))


def check_face_targets(targets: list[str] | None) -> None:
    """Raises FACE_TARGET_UNKNOWN naming the targets that a face does not have."""
    _check(targets or [], FACE_TARGETS)


def check_attribute_query(query: AttributeQuery) -> None:
    """Raises FACE_TARGET_UNKNOWN, DESCRIPTOR_VERSION_UNKNOWN."""
    _check([ALIASES.get(target, target) for target in query.targets or []], ATTRIBUTE_TARGETS)
    if query.descriptor_version is not None:
        descriptors.version_of(query.descriptor_version)


def _check(targets: list[str], allowed: tuple[str, ...]) -> None:
    if unknown := sorted(set(targets) - set(allowed)):
        raise MienError(Code.FACE_TARGET_UNKNOWN, f"targets: {', '.join(unknown)}; known are {', '.join(allowed)}")


def attribute_answer(attribute: Attribute, query: AttributeQuery) -> dict[str, Any]:
    """The asked targets of ``attribute``; models inside stay models, so that bytes take the caller's form.

    Raises DESCRIPTOR_MISSING when a descriptor was asked for, by its version or as a target, and is not there.
    """
    targets = [ALIASES.get(target, target) for target in query.targets or ATTRIBUTE_TARGETS]
    version = query.descriptor_version or descriptors.current("face")
    descriptor = next((draft for draft in attribute.descriptors if draft.version == version), None)
    asked = query.descriptor_version is not None or query.targets is not None
    if descriptor is None and asked and "face_descriptor" in targets:
        raise MienError(
            Code.DESCRIPTOR_MISSING, f"attribute {attribute.attribute_id} has no descriptor of version {version}"
        )
    answer = AttributeAnswer(
        attribute_id=attribute.attribute_id,
        account_id=attribute.account_id,
        create_time=attribute.create_time,
        face_descriptor=descriptor,
        basic_attributes=attribute.basic_attributes,
        face_descriptor_samples=attribute.face_descriptor_samples,
        basic_attributes_samples=attribute.basic_attributes_samples,
    )
    plain = answer.model_dump(include=set(targets) - {"face_descriptor"})
    return plain | ({"face_descriptor": descriptor} if "face_descriptor" in targets else {})
