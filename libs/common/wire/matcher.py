"""Matching: references against candidates. Section 18 of the wire contract."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from libs.common.ids import Id
from libs.common.wire.base import Blob, Commas, Unit, Wire
from libs.common.wire.events import EventFilter
from libs.common.wire.faces import FaceFilter

MAX_CANDIDATES = 1000
MAX_REFERENCES = 1000

FACE_TARGETS = (
    "face_id",
    "user_data",
    "external_id",
    "event_id",
    "create_time",
    "avatar",
    "lists",
    "account_id",
)
ATTRIBUTE_TARGETS = ("attribute_id", "account_id", "create_time", "basic_attributes")


class FaceCandidates(FaceFilter):
    """``account_id`` narrows, never widens: the candidates are the caller's in any case."""

    origin: Literal["faces"]
    account_id: Id | None = None


class EventCandidates(EventFilter):
    origin: Literal["events"]


class AttributeCandidates(Wire):
    origin: Literal["attributes"]
    attribute_ids: Annotated[list[Id], Commas, Field(min_length=1, max_length=10_000)]


Candidates = Annotated[FaceCandidates | EventCandidates | AttributeCandidates, Field(discriminator="origin")]


class CandidateBlock(Wire):
    """One search: which candidates, how many, how similar at least (inclusive), which keys of them."""

    filters: Candidates
    limit: int = Field(default=3, ge=1)
    threshold: Unit = 0.0
    targets: list[str] | None = None


class RawDescriptor(Wire):
    descriptor: Blob
    version: int


class ObjectReference(Wire):
    """A stored object; its descriptor is looked up."""

    type: Literal["face", "event", "attribute"]
    id: Id


class ExternalIdReference(Wire):
    """Every object with that external id gives one reference."""

    type: Literal["face_external_id", "event_external_id"]
    id: str


class TrackReference(Wire):
    """The events of a track."""

    type: Literal["track_id"]
    id: str


class RawReference(Wire):
    """A descriptor given with the request; ``id`` is the caller's label, echoed in the answer.

    ``data`` and ``version`` side by side, as some clients send them, are understood too.
    """

    type: Literal["raw_descriptor"]
    id: str | None = None
    data: RawDescriptor

    @model_validator(mode="before")
    @classmethod
    def _accept_flat(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "version" not in value:
            return value
        rest = {name: item for name, item in value.items() if name not in ("data", "version")}
        return {**rest, "data": {"descriptor": value.get("data"), "version": value["version"]}}


class SdkReference(Wire):
    type: Literal["sdk_descriptor"]
    id: str | None = None
    data: Blob


Reference = Annotated[
    ObjectReference | ExternalIdReference | TrackReference | RawReference | SdkReference,
    Field(discriminator="type"),
]
BinaryReference = Annotated[RawReference | SdkReference, Field(discriminator="type")]


class MatchRequest(Wire):
    references: Annotated[list[Reference], Field(min_length=1)]
    candidates: Annotated[list[CandidateBlock], Field(min_length=1, max_length=100)]


class RawMatchRequest(Wire):
    """Given descriptors against given descriptors."""

    references: Annotated[list[BinaryReference], Field(min_length=1)]
    candidates: Annotated[list[BinaryReference], Field(min_length=1)]
    limit: int = Field(default=MAX_CANDIDATES, ge=1)
    threshold: Unit = 0.0


Found = Annotated[dict[str, Any] | None, Field(exclude_if=lambda found: found is None)]


class Match(Wire):
    """One candidate found: the key that is set names its kind, and holds the asked targets."""

    face: Found = None
    event: Found = None
    attribute: Found = None
    candidate: Found = Field(None, description="raw match only: id and type of the candidate")
    similarity: Unit


class BlockMatches(Wire):
    """Best first; ties keep the lower id first."""

    filters: dict[str, Any]
    result: list[Match]


class ReferenceMatches(Wire):
    reference: dict[str, Any]
    matches: list[BlockMatches]
