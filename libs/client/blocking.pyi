# Written by `python -m libs.client.stub`; do not edit.
# ruff: noqa
from __future__ import annotations
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Self, Unpack, overload
from libs.client.calls import Answer, Calls, given, json_content
from libs.client.options import EmitOptions, EventWhere, FaceChange, FaceWhere, HandlerWhere, ListWhere, SdkOptions
from libs.client.pictures import Content, Named, Picture, Pictures, content_of, load
from libs.common.clock import render
from libs.common.wire.estimations import Rect
from libs.common.wire.handlers import Emission, Handler
from libs.common.wire.policies import Policies
from libs.common.wire.events import Event, StatsFilter, StatsGroup, StatsRequest, StatsResult, StatsTarget
from libs.common.wire.matcher import CandidateBlock, RawDescriptor, Reference, ReferenceMatches
from libs.client.answers import AttributeSamples, FaceAttribute, ListWithFaces
from libs.common.wire.faces import AttributeDraft, Face, FaceList
from libs.common.wire.images import StoredImage
PoliciesLike = Policies | Mapping[str, Any]
Found = list[Handler]
COUNT = (StatsTarget(column='event_id'),)
AttributeLike = AttributeDraft | Mapping[str, Any]
ReferenceLike = Reference | Mapping[str, Any]
BlockLike = CandidateBlock | Mapping[str, Any]
META_HEADER, EXPIRY_HEADER = ('X-Luna-Meta-', 'X-Luna-Expiry-Date')
DEFAULT_URL = 'http://127.0.0.1:5000'
class Handlers:

    def __init__(self, calls: Calls) -> None:
        ...

    def create(self, policies: PoliciesLike | None=None, *, description: str='', handler_type: Literal[0, 1]=0) -> str:
        ...

    def validate(self, policies: PoliciesLike) -> None:
        ...

    def get(self, handler_id: str) -> Handler:
        ...

    def list(self, *, page: int=1, page_size: int=10, **where: Unpack[HandlerWhere]) -> Found:
        ...

    def count(self, **where: Unpack[HandlerWhere]) -> int:
        ...

    def replace(self, handler_id: str, policies: PoliciesLike | None=None, *, description: str='', handler_type: Literal[0, 1]=0) -> None:
        ...

    def delete(self, handler_id: str) -> None:
        ...

    def check(self, handler_id: str) -> bool:
        ...

    def emit(self, handler_id: str, images: Pictures=(), *, urls: Sequence[str]=(), samples: Sequence[str]=(), image_ids: Sequence[str]=(), policies: PoliciesLike | None=None, meta: Mapping[str, Any] | None=None, face_bounding_boxes: Mapping[str, Sequence[Rect]] | None=None, event_time: datetime | str | None=None, event_end_time: datetime | str | None=None, **query: Unpack[EmitOptions]) -> Emission:
        ...

    def save_event(self, handler_id: str, event: Mapping[str, Any], *, wait_saving: bool=True) -> str:
        ...
class Events:

    def __init__(self, calls: Calls) -> None:
        ...

    def save(self, events: Sequence[Event], *, wait: bool=True) -> None:
        ...

    @overload
    def find(self, *, targets: None=None, page: int=1, page_size: int=10, order: Literal['asc', 'desc']='desc', **where: Unpack[EventWhere]) -> list[Event]:
        ...

    @overload
    def find(self, *, targets: Sequence[str], page: int=1, page_size: int=10, order: Literal['asc', 'desc']='desc', **where: Unpack[EventWhere]) -> list[dict[str, Any]]:
        ...

    def find(self, *, targets: Sequence[str] | None=None, page: int=1, page_size: int=10, order: Literal['asc', 'desc']='desc', **where: Unpack[EventWhere]) -> Any:
        ...

    def get(self, event_id: str) -> Event:
        ...

    def check(self, event_id: str) -> bool:
        ...

    def descriptor(self, event_id: str, *, descriptor_type: Literal['face', 'body']='face', descriptor_version: int | None=None) -> RawDescriptor:
        ...

    def stats(self, targets: Sequence[StatsTarget]=COUNT, *, filters: Sequence[StatsFilter]=(), group_by: Sequence[StatsGroup]=()) -> StatsResult:
        ...
class Faces:

    def __init__(self, calls: Calls) -> None:
        ...

    def create(self, *, user_data: str='', external_id: str | None=None, avatar: str | None=None, event_id: str | None=None, lists: Sequence[str]=(), attribute: AttributeLike | None=None, face_id: str | None=None) -> str:
        ...

    @overload
    def find(self, *, targets: None=None, page: int=1, page_size: int=10, **where: Unpack[FaceWhere]) -> list[Face]:
        ...

    @overload
    def find(self, *, targets: Sequence[str], page: int=1, page_size: int=10, **where: Unpack[FaceWhere]) -> list[dict[str, Any]]:
        ...

    def find(self, *, targets: Sequence[str] | None=None, page: int=1, page_size: int=10, **where: Unpack[FaceWhere]) -> Any:
        ...

    def count(self, **where: Unpack[FaceWhere]) -> int:
        ...

    def get(self, face_id: str) -> Face:
        ...

    def check(self, face_id: str) -> bool:
        ...

    def put(self, face_id: str, *, user_data: str='', external_id: str | None=None, avatar: str | None=None, event_id: str | None=None, lists: Sequence[str]=(), attribute: AttributeLike | None=None) -> None:
        ...

    def patch(self, face_id: str, **change: Unpack[FaceChange]) -> None:
        ...

    def delete(self, face_id: str) -> None:
        ...

    def delete_many(self, face_ids: Sequence[str], *, ignore_missing: bool=False) -> None:
        ...

    def get_attributes(self, face_id: str, *, targets: Sequence[str] | None=None, descriptor_version: int | None=None) -> FaceAttribute:
        ...

    def put_attributes(self, face_id: str, attribute: AttributeLike) -> None:
        ...

    def patch_attributes(self, face_id: str, attribute: AttributeLike) -> None:
        ...

    def delete_attributes(self, face_id: str) -> None:
        ...

    def attribute_samples(self, face_id: str) -> AttributeSamples:
        ...
class Attributes:

    def __init__(self, calls: Calls) -> None:
        ...

    def create(self, attribute: AttributeLike, *, ttl: int=300) -> str:
        ...

    def find(self, attribute_ids: Sequence[str], *, targets: Sequence[str] | None=None, descriptor_version: int | None=None) -> list[FaceAttribute]:
        ...

    def get(self, attribute_id: str, *, targets: Sequence[str] | None=None, descriptor_version: int | None=None) -> FaceAttribute:
        ...

    def check(self, attribute_id: str) -> bool:
        ...

    def put(self, attribute_id: str, attribute: AttributeLike, *, ttl: int=300, force: bool=False) -> None:
        ...

    def delete(self, attribute_id: str) -> None:
        ...

    def samples(self, attribute_id: str) -> AttributeSamples:
        ...
class Lists:

    def __init__(self, calls: Calls) -> None:
        ...

    def create(self, user_data: str='', *, list_id: str | None=None) -> str:
        ...

    def find(self, *, page: int=1, page_size: int=10, **where: Unpack[ListWhere]) -> list[FaceList]:
        ...

    def count(self, **where: Unpack[ListWhere]) -> int:
        ...

    def get(self, list_id: str, *, page: int=1, page_size: int=10) -> ListWithFaces:
        ...

    def check(self, list_id: str) -> bool:
        ...

    def patch(self, list_id: str, *, user_data: str) -> None:
        ...

    def delete(self, list_id: str, *, with_faces: bool=False) -> None:
        ...

    def attach(self, list_id: str, face_ids: Sequence[str]) -> None:
        ...

    def detach(self, list_id: str, face_ids: Sequence[str]) -> None:
        ...
class Matcher:

    def __init__(self, calls: Calls) -> None:
        ...

    def faces(self, references: Sequence[ReferenceLike], candidates: Sequence[BlockLike]) -> list[ReferenceMatches]:
        ...

    def bodies(self, references: Sequence[ReferenceLike], candidates: Sequence[BlockLike]) -> list[ReferenceMatches]:
        ...

    def raw(self, references: Sequence[ReferenceLike], candidates: Sequence[ReferenceLike], *, limit: int | None=None, threshold: float | None=None) -> list[ReferenceMatches]:
        ...
class Images:

    def __init__(self, calls: Calls) -> None:
        ...

    def create(self, image: Picture, *, ttl: int | None=None, meta: Mapping[str, str] | None=None) -> str:
        ...

    def get(self, image_id: str) -> StoredImage:
        ...

    def check(self, image_id: str) -> bool:
        ...

    def put(self, image_id: str, image: Picture, *, ttl: int | None=None, meta: Mapping[str, str] | None=None) -> None:
        ...

    def delete(self, image_id: str) -> None:
        ...

    def create_face_sample(self, warp: Picture) -> str:
        ...

    def get_face_sample(self, sample_id: str) -> StoredImage:
        ...

    def get_body_sample(self, sample_id: str) -> StoredImage:
        ...

    def create_object(self, data: bytes, *, content_type: str='application/json', ttl: int | None=None) -> str:
        ...

    def get_object(self, object_id: str) -> StoredImage:
        ...

    def check_object(self, object_id: str) -> bool:
        ...

    def put_object(self, object_id: str, data: bytes, *, content_type: str='application/json', ttl: int | None=None) -> None:
        ...

    def delete_object(self, object_id: str) -> None:
        ...
class BlockingMienClient:
    handlers: Handlers
    events: Events
    faces: Faces
    attributes: Attributes
    lists: Lists
    matcher: Matcher
    images: Images

    def __init__(self, url: str=DEFAULT_URL, *, account: str, timeout_s: float=60.0, retries: int=3) -> None:
        ...

    def __enter__(self) -> Self:
        ...

    def __exit__(self, *_: object) -> None:
        ...

    def close(self) -> None:
        ...

    def sdk(self, images: Pictures=(), *, urls: Sequence[str]=(), samples: Sequence[str]=(), image_ids: Sequence[str]=(), **options: Unpack[SdkOptions]) -> dict[str, Any]:
        ...

    def version(self) -> dict[str, Any]:
        ...

    def health(self) -> dict[str, Any]:
        ...
