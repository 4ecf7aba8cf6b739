"""Answers of the platform that no wire model describes."""

from __future__ import annotations

from libs.common.clock import Time
from libs.common.ids import Id
from libs.common.wire.base import Wire
from libs.common.wire.faces import DescriptorDraft, FaceList, StoredBasicAttributes


class ListWithFaces(FaceList):
    """A list and one page of the ids of its faces, in order of ids."""

    face_ids: list[Id]


class FaceAttribute(Wire):
    """An attribute with the descriptor of one version; what was not among the asked targets is None."""

    attribute_id: Id | None = None
    account_id: Id | None = None
    create_time: Time | None = None
    face_descriptor: DescriptorDraft | None = None
    basic_attributes: StoredBasicAttributes | None = None
    face_descriptor_samples: list[Id] | None = None
    basic_attributes_samples: list[Id] | None = None


class AttributeSamples(Wire):
    """The samples an attribute was made from."""

    face_descriptor_samples: list[Id]
    basic_attributes_samples: list[Id]
