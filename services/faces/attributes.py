"""The rules of attribute data: what is accepted, and how a patch merges into what a face has."""

from __future__ import annotations

from typing import Any

from libs.common import descriptors
from libs.common.errors import Code, MienError
from libs.common.ids import Id
from libs.common.wire.faces import Attribute, AttributeData, AttributeDraft, DescriptorDraft, StoredBasicAttributes


def check(data: AttributeData, where: str = "") -> None:
    """Every descriptor must be of a registered version, of its length, finite, and the only one of its version.

    ``where`` is the path of ``data`` in the request, with its dot. Raises DESCRIPTOR_VERSION_UNKNOWN,
    BAD_DESCRIPTOR, BAD_BODY, each naming the descriptor.
    """
    seen: set[int] = set()
    for place, draft in enumerate(data.descriptors):
        try:
            descriptors.vector(draft.version, draft.descriptor)
        except MienError as fault:
            raise MienError(fault.code, f"{where}descriptors.{place}: {fault.detail}") from None
        if draft.version in seen:
            raise MienError(
                Code.BAD_BODY, f"{where}descriptors.{place}: version {draft.version} is given more than once"
            )
        seen.add(draft.version)


def is_empty(data: AttributeData) -> bool:
    """Whether nothing would be kept."""
    return not (_basics(data) or data.descriptors or data.face_descriptor_samples or data.basic_attributes_samples)


def content(data: AttributeData) -> dict[str, Any]:
    """The fields that carry data, in their stored form."""
    return {
        "basic_attributes": _basics(data),
        "descriptors": sorted(data.descriptors, key=_version),
        "face_descriptor_samples": data.face_descriptor_samples,
        "basic_attributes_samples": data.basic_attributes_samples,
    }


def as_patch(source: Attribute) -> AttributeDraft:
    """``source`` as a patch that changes only what ``source`` knows."""
    known = source.model_dump(include=set(AttributeData.model_fields), exclude_none=True)
    return AttributeDraft.model_validate({name: value for name, value in known.items() if value})


def merge(stored: Attribute, patch: AttributeDraft) -> Attribute:
    """``stored`` with what ``patch`` gives: versions are added or replaced, basic attributes change one by one.

    Raises SAMPLES_CONFLICT when data that stays and data that comes were made from different samples: a face
    has one set of samples for all its descriptors, and one for all its basic attributes.
    """
    kept = [draft for draft in stored.descriptors if draft.version not in {new.version for new in patch.descriptors}]
    basics = _merged_basics(stored.basic_attributes, patch)
    basics_stay = basics is not None and stored.basic_attributes is not None and not _replaces(stored, patch)
    return stored.model_copy(
        update={
            "descriptors": sorted([*kept, *patch.descriptors], key=_version),
            "basic_attributes": basics,
            "face_descriptor_samples": _samples(stored, patch, "face_descriptor_samples", stays=bool(kept)),
            "basic_attributes_samples": _samples(stored, patch, "basic_attributes_samples", stays=basics_stay),
        }
    )


def already_there(attribute_id: Id) -> MienError:
    """A temporary attribute that is not to be replaced."""
    return MienError(Code.REQUEST_CONFLICT, f"attribute {attribute_id} exists; force=1 replaces it")


def in_use(attribute_id: Id) -> MienError:
    """A temporary attribute of another account."""
    return MienError(Code.REQUEST_CONFLICT, f"attribute {attribute_id}: the id is in use")


def _version(draft: DescriptorDraft) -> int:
    return draft.version


def _basics(data: AttributeData) -> StoredBasicAttributes | None:
    """Basic attributes of which none is known are no basic attributes."""
    return data.basic_attributes if data.basic_attributes != StoredBasicAttributes() else None


def _merged_basics(stored: StoredBasicAttributes | None, patch: AttributeDraft) -> StoredBasicAttributes | None:
    if "basic_attributes" not in patch.model_fields_set:
        return stored
    if patch.basic_attributes is None:
        return None
    given = patch.basic_attributes.model_dump(exclude_unset=True)
    merged = (stored or StoredBasicAttributes()).model_copy(update=given)
    return merged if merged != StoredBasicAttributes() else None


def _replaces(stored: Attribute, patch: AttributeDraft) -> bool:
    """Whether every basic attribute that is known is given anew."""
    known = stored.basic_attributes.model_dump(exclude_none=True) if stored.basic_attributes else {}
    given = patch.basic_attributes.model_fields_set if patch.basic_attributes else set()
    return known.keys() <= given


def _samples(stored: Attribute, patch: AttributeDraft, name: str, *, stays: bool) -> list[str]:
    if name not in patch.model_fields_set:
        return getattr(stored, name)
    old, new = getattr(stored, name), getattr(patch, name)
    if stays and old and new and set(old) != set(new):
        raise MienError(Code.SAMPLES_CONFLICT, f"{name}: data that stays was made from {', '.join(sorted(old))}")
    return new
