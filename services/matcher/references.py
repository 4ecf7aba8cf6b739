"""References of a match: what the caller named, turned into descriptors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from libs.common.descriptors import Kind, current, unpack_sdk, vector
from libs.common.errors import Code, MienError
from libs.common.ids import Id
from libs.common.ports import Events, Faces
from libs.common.wire.base import Page, chunks
from libs.common.wire.events import EventFilter
from libs.common.wire.faces import Attribute, FaceFilter
from libs.common.wire.matcher import (
    MAX_REFERENCES,
    BinaryReference,
    ExternalIdReference,
    ObjectReference,
    RawReference,
    Reference,
    SdkReference,
    TrackReference,
)

Descriptors = dict[int, bytes]
"""Raw descriptors of one object by version."""

LOOKUP = 1000
"""Objects looked up by one call."""


@dataclass(frozen=True)
class Probe:
    """A reference with its descriptor, float32 (length,); ``echo`` is how the answer names it."""

    echo: dict[str, Any]
    version: int
    descriptor: np.ndarray


@dataclass(frozen=True)
class _Stored:
    """An object whose descriptor is to be looked up."""

    echo: dict[str, Any]
    origin: Literal["face", "event", "attribute"]
    object_id: Id


Loaded = dict[tuple[str, Id], Descriptors | None]
"""Descriptors by origin and id; None: a face without attributes. What is not in it was not found."""

_MISSING = {"face": Code.FACE_MISSING, "event": Code.EVENTS_MISSING, "attribute": Code.ATTRIBUTE_MISSING}


class References:
    """Looks up what references name, for one account at a time."""

    def __init__(self, faces: Faces, events: Events) -> None:
        self._faces = faces
        self._events = events

    async def resolve(self, account: Id, references: list[Reference], kind: Kind) -> list[Probe]:
        """The references in order, each external or track id replaced by the objects that have it.

        An object found by such an id that has no descriptor is passed over, unless all of them are. Raises
        what the contract says of a reference that is missing (400), has no descriptor, or not the version
        that matching uses; TOO_MANY; BAD_BODY when bodies are matched with something that never has one.
        """
        if kind == "body":
            _check_bodies(references)
        groups = [await self._named(account, reference) for reference in references]
        if sum(map(len, groups)) > MAX_REFERENCES:
            raise MienError(Code.TOO_MANY, f"references: {sum(map(len, groups))}; at most {MAX_REFERENCES}")
        stored = [one for group in groups for one in group if isinstance(one, _Stored)]
        loaded = await self._load(account, stored, kind)
        return [probe for group in groups for probe in _probes(group, loaded, kind)]

    async def _named(self, account: Id, reference: Reference) -> Sequence[Probe | _Stored]:
        """What a reference names. Raises when an external or track id names nothing."""
        match reference:
            case RawReference() | SdkReference():
                return [given(reference)]
            case ObjectReference():
                return [_Stored(echo(reference), reference.type, reference.id)]
            case ExternalIdReference(type="face_external_id"):
                ids = await self._faces.select_faces(account, FaceFilter(external_ids=[reference.id]))
                return _sharing(reference, "face", ids, Code.NO_FACE_WITH_EXTERNAL_ID)
            case ExternalIdReference():
                where = EventFilter(external_ids=[reference.id])
            case TrackReference():
                where = EventFilter(track_ids=[reference.id])
        return _sharing(reference, "event", await self._events.select(account, where), Code.EVENTS_MISSING)

    async def _load(self, account: Id, wanted: list[_Stored], kind: Kind) -> Loaded:
        loaders = {
            "face": self._of_faces,
            "event": partial(self._of_events, kind),
            "attribute": self._of_attributes,
        }
        loaded: Loaded = {}
        for origin, load in loaders.items():
            ids = sorted({one.object_id for one in wanted if one.origin == origin})
            for some in chunks(ids, LOOKUP):
                for object_id, descriptors in (await load(account, some)).items():
                    loaded[origin, object_id] = descriptors
        return loaded

    async def _of_faces(self, account: Id, face_ids: list[Id]) -> dict[Id, Descriptors | None]:
        attributes = await self._faces.face_attributes(account, face_ids)
        found: dict[Id, Descriptors | None] = {one.face_id: by_version(one) for one in attributes if one.face_id}
        bare = [face_id for face_id in face_ids if face_id not in found]
        if bare:
            faces = await self._faces.find_faces(account, FaceFilter(face_ids=bare), Page(page_size=len(bare)))
            found |= {face.face_id: None for face in faces}
        return found

    async def _of_events(self, kind: Kind, account: Id, event_ids: list[Id]) -> dict[Id, Descriptors | None]:
        found: dict[Id, Descriptors | None] = {}
        for event in await self._events.with_descriptors(account, event_ids):
            descriptor = event.face_descriptor if kind == "face" else event.body_descriptor
            found[event.event_id] = {descriptor.version: descriptor.data} if descriptor else {}
        return found

    async def _of_attributes(self, account: Id, attribute_ids: list[Id]) -> dict[Id, Descriptors | None]:
        return {one.attribute_id: by_version(one) for one in await self._faces.attributes(account, attribute_ids)}


def given(reference: BinaryReference) -> Probe:
    """The descriptor that came with the request. Raises BAD_DESCRIPTOR, DESCRIPTOR_VERSION_UNKNOWN."""
    if isinstance(reference, RawReference):
        version, descriptor = reference.data.version, reference.data.descriptor
    else:
        version, descriptor = unpack_sdk(reference.data)
    return Probe(echo(reference), version, vector(version, descriptor))


def echo(reference: Reference) -> dict[str, Any]:
    """A reference as the answer names it: by type and id."""
    return reference.model_dump(include={"type", "id"}, exclude_none=True)


def by_version(attribute: Attribute) -> Descriptors:
    """The raw descriptors of an attribute."""
    return {draft.version: draft.descriptor for draft in attribute.descriptors}


def _sharing(
    reference: ExternalIdReference | TrackReference, origin: Literal["face", "event"], ids: list[Id], missing: Code
) -> list[_Stored]:
    """The objects that share an external or track id; the echo says which one each answer is of."""
    if not ids:
        raise MienError(missing, f"nothing has {reference.type} {reference.id!r}")
    return [_Stored({**echo(reference), f"{origin}_id": one}, origin, one) for one in ids]


def _probes(group: Sequence[Probe | _Stored], loaded: Loaded, kind: Kind) -> list[Probe]:
    """The probes of one reference; of several objects those without a descriptor are left out, but not all."""
    kept = [one for one in group if isinstance(one, Probe) or loaded.get((one.origin, one.object_id))]
    if len(group) == 1 or not kept:
        kept = group[:1]
    return [_current(one, kind) if isinstance(one, Probe) else _stored(one, loaded, kind) for one in kept]


def _current(probe: Probe, kind: Kind) -> Probe:
    """A given descriptor, if it has the version that matching uses. Raises REFERENCE_VERSION."""
    if probe.version != current(kind):
        detail = f"reference {probe.echo.get('id', '')!r} has version {probe.version}, {_used(kind)}"
        raise MienError(Code.REFERENCE_VERSION, detail)
    return probe


def _stored(one: _Stored, loaded: Loaded, kind: Kind) -> Probe:
    """A stored object's descriptor of the version that matching uses. Raises what it lacks."""
    name = f"{one.origin} {one.object_id}"
    if (one.origin, one.object_id) not in loaded:
        raise MienError(_MISSING[one.origin], f"{name} was not found", status=400)
    descriptors = loaded[one.origin, one.object_id]
    if descriptors is None:
        raise MienError(Code.NO_FACE_ATTRIBUTES, f"{name} has no attributes")
    if not descriptors:
        code = Code.DESCRIPTOR_MISSING if kind == "face" else Code.BODY_DESCRIPTOR_MISSING
        raise MienError(code, f"{name} has no {kind} descriptor")
    version = current(kind)
    if version not in descriptors:
        held = ", ".join(str(number) for number in sorted(descriptors))
        raise MienError(Code.REFERENCE_VERSION, f"{name} has version {held}, {_used(kind)}")
    return Probe(one.echo, version, vector(version, descriptors[version]))


def _used(kind: Kind) -> str:
    return f"{kind} matching uses {current(kind)}"


def _check_bodies(references: list[Reference]) -> None:
    """Only events and given descriptors can hold a body."""
    for number, reference in enumerate(references):
        if reference.type in ("face", "attribute", "face_external_id"):
            raise MienError(Code.BAD_BODY, f"references.{number}.type: {reference.type} has no body descriptor")
