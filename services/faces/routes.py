"""HTTP of the faces service: parse, call, answer."""

from __future__ import annotations

from typing import TypeVar

from aiohttp import web

from libs.common.errors import Code, MienError
from libs.common.http.routes import Call, Reply, Routes
from libs.common.ids import Id
from libs.common.wire.base import Page, Wire
from libs.common.wire.faces import (
    Attribute,
    AttributeDraft,
    Face,
    FaceDraft,
    FaceIds,
    FaceLinks,
    FacePatch,
    Link,
    ListDraft,
    ListFilter,
    ListIds,
    TemporaryAttributeDraft,
    WithFaces,
)
from services.faces.queries import (
    AttributeAnswer,
    AttributeCreated,
    AttributeQuery,
    AttributesFound,
    AttributesQuery,
    CountQuery,
    FaceAttributeId,
    FaceAttributeIds,
    FaceCreated,
    FaceQuery,
    FacesCount,
    FacesFound,
    Force,
    Ignore,
    ListCreated,
    ListPatch,
    ListQuery,
    ListsCount,
    ListsFound,
    ListWithFaces,
    Samples,
    Targets,
    attribute_answer,
    check_attribute_query,
    check_face_targets,
    face_answer,
)
from services.faces.service import Faces

routes = Routes("faces", "/3")
FACES = web.AppKey("faces", Faces)
GATEWAY = "/6"

W = TypeVar("W", bound=Wire)


# Faces


@routes.post("/faces", status=201, answer=FaceCreated)
async def create_face(call: Call, body: FaceDraft) -> Reply:
    """Store a face with its attribute and links."""
    [face] = await call.service(FACES).create_faces(call.account, [body])
    return _face_reply(face.face_id, created=True)


@routes.get("/faces", answer=FacesFound)
async def find_faces(call: Call, query: FaceQuery) -> object:
    """Faces that pass every filter: newest first, or in order of ids when an id is bounded."""
    check_face_targets(query.targets)
    found = await call.service(FACES).find_faces(call.account, query, query)
    return {"faces": [face_answer(face, query.targets) for face in found]}


@routes.delete("/faces", status=204)
async def delete_faces(call: Call, query: Ignore, body: FaceIds) -> None:
    """Delete faces: all or none, unless missing ones are to be ignored."""
    await call.service(FACES).delete_faces(call.account, body.face_ids, ignore_missing=bool(query.ignore))


@routes.get("/faces/count")
async def count_faces(call: Call, query: CountQuery) -> FacesCount:
    """How many faces pass every filter."""
    return FacesCount(faces_count=await call.service(FACES).count_faces(call.account, query))


@routes.get("/faces/attributes/count")
async def count_faces_with_attributes(call: Call, query: CountQuery) -> FacesCount:
    """How many of the faces that pass every filter have attributes."""
    return FacesCount(faces_count=await call.service(FACES).count_faces_with_attributes(call.account, query))


@routes.post("/faces/attributes")
async def attribute_ids(call: Call, body: FaceIds) -> FaceAttributeIds:
    """Ids of the attributes of the given faces."""
    faces = call.service(FACES)
    await faces.require_faces(call.account, body.face_ids)
    found = await faces.face_attributes(call.account, body.face_ids)
    ids = [FaceAttributeId(face_id=one.face_id, attribute_id=one.attribute_id) for one in found if one.face_id]
    return FaceAttributeIds(attributes=ids)


@routes.get("/faces/{face_id}", answer=Face)
async def get_face(call: Call, query: Targets) -> object:
    """One face."""
    check_face_targets(query.targets)
    return face_answer(await call.service(FACES).face(call.account, call.path("face_id")), query.targets)


@routes.head("/faces/{face_id}")
async def head_face(call: Call) -> None:
    """Whether the face exists."""
    await call.service(FACES).face(call.account, call.path("face_id"))


@routes.put("/faces/{face_id}", answer=FaceCreated)
async def put_face(call: Call, body: FaceDraft) -> Reply:
    """Create a face with this id (201), or replace all of it but its time of creation (200)."""
    draft = _with_path_id(call, "face_id", body)
    created = await call.service(FACES).put_face(call.account, draft)
    return _face_reply(call.path("face_id"), created=created)


@routes.patch("/faces/{face_id}", status=204)
async def patch_face(call: Call, body: FacePatch) -> None:
    """Change the given fields; null clears."""
    await call.service(FACES).patch_face(call.account, call.path("face_id"), body)


@routes.delete("/faces/{face_id}", status=204)
async def delete_face(call: Call) -> None:
    """Delete a face with its attribute and links."""
    await call.service(FACES).delete_face(call.account, call.path("face_id"))


# A face's own attribute


@routes.get("/faces/{face_id}/attributes", answer=AttributeAnswer)
async def get_face_attribute(call: Call, query: AttributeQuery) -> object:
    """The attribute of a face."""
    check_attribute_query(query)
    return attribute_answer(await call.service(FACES).face_attribute(call.account, call.path("face_id")), query)


@routes.put("/faces/{face_id}/attributes", status=204)
async def put_face_attribute(call: Call, body: AttributeDraft) -> None:
    """Give a face an attribute in place of what it had."""
    await call.service(FACES).put_face_attribute(call.account, call.path("face_id"), body)


@routes.patch("/faces/{face_id}/attributes", status=204)
async def patch_face_attribute(call: Call, body: AttributeDraft) -> None:
    """Add or replace descriptor versions, change basic attributes one by one."""
    await call.service(FACES).patch_face_attribute(call.account, call.path("face_id"), body)


@routes.delete("/faces/{face_id}/attributes", status=204)
async def delete_face_attribute(call: Call) -> None:
    """Delete the attribute; the face stays."""
    await call.service(FACES).delete_face_attribute(call.account, call.path("face_id"))


@routes.get("/faces/{face_id}/attributes/samples")
async def get_face_samples(call: Call) -> Samples:
    """The samples a face's attribute was made from."""
    return _samples(await call.service(FACES).face_attribute(call.account, call.path("face_id")))


# Temporary attributes


@routes.post("/attributes", status=201, answer=AttributeCreated)
async def create_attribute(call: Call, body: TemporaryAttributeDraft) -> Reply:
    """Store an attribute that expires after ``ttl`` seconds."""
    [attribute_id] = await call.service(FACES).create_attributes(call.account, [body])
    return _attribute_reply(attribute_id, created=True)


@routes.get("/attributes", answer=AttributesFound)
async def find_attributes(call: Call, query: AttributesQuery) -> object:
    """Those of the given attributes that exist and have not expired."""
    check_attribute_query(query)
    found = await call.service(FACES).attributes(call.account, query.attribute_ids)
    return {"attributes": [attribute_answer(attribute, query) for attribute in found]}


@routes.get("/attributes/{attribute_id}", answer=AttributeAnswer)
async def get_attribute(call: Call, query: AttributeQuery) -> object:
    """One temporary attribute."""
    check_attribute_query(query)
    return attribute_answer(await call.service(FACES).attribute(call.account, call.path("attribute_id")), query)


@routes.head("/attributes/{attribute_id}")
async def head_attribute(call: Call) -> None:
    """Whether the attribute exists and has not expired."""
    await call.service(FACES).attribute(call.account, call.path("attribute_id"))


@routes.put("/attributes/{attribute_id}", answer=AttributeCreated)
async def put_attribute(call: Call, query: Force, body: TemporaryAttributeDraft) -> Reply:
    """Create an attribute with this id (201); replace one with ``force=1`` (200)."""
    draft = _with_path_id(call, "attribute_id", body)
    created = await call.service(FACES).put_attribute(call.account, draft, force=bool(query.force))
    return _attribute_reply(call.path("attribute_id"), created=created)


@routes.delete("/attributes/{attribute_id}", status=204)
async def delete_attribute(call: Call) -> None:
    """Delete a temporary attribute before its time."""
    await call.service(FACES).delete_attribute(call.account, call.path("attribute_id"))


@routes.get("/attributes/{attribute_id}/samples")
async def get_attribute_samples(call: Call) -> Samples:
    """The samples a temporary attribute was made from."""
    return _samples(await call.service(FACES).attribute(call.account, call.path("attribute_id")))


# Lists


@routes.post("/lists", status=201, answer=ListCreated)
async def create_list(call: Call, body: ListDraft) -> Reply:
    """Store a list."""
    list_id = await call.service(FACES).create_list(call.account, body)
    url = f"{routes.prefix}/lists/{list_id}"
    return Reply(ListCreated(list_id=list_id, url=url), headers={"Location": url})


@routes.get("/lists")
async def find_lists(call: Call, query: ListQuery) -> ListsFound:
    """Lists that pass every filter: newest first, or in order of ids when an id is bounded."""
    return ListsFound(lists=await call.service(FACES).find_lists(call.account, query, query))


@routes.get("/lists/count")
async def count_lists(call: Call, query: ListFilter) -> ListsCount:
    """How many lists pass every filter."""
    return ListsCount(lists_count=await call.service(FACES).count_lists(call.account, query))


@routes.delete("/lists", status=204)
async def delete_lists(call: Call, query: WithFaces, body: ListIds) -> Reply:
    """Delete lists (204), ``with_faces=1`` their faces as well (202; done when answered)."""
    await call.service(FACES).delete_lists(call.account, body.list_ids, with_faces=bool(query.with_faces))
    return Reply(status=202 if query.with_faces else 204)


@routes.get("/lists/{list_id}")
async def get_list(call: Call, query: Page) -> ListWithFaces:
    """One list and a page of its faces."""
    faces, list_id = call.service(FACES), call.path("list_id")
    found = await faces.face_list(call.account, list_id)
    face_ids = await faces.members(call.account, list_id, query)
    return ListWithFaces(**found.model_dump(), face_ids=face_ids)


@routes.head("/lists/{list_id}")
async def head_list(call: Call) -> None:
    """Whether the list exists."""
    await call.service(FACES).face_list(call.account, call.path("list_id"))


@routes.patch("/lists/{list_id}", status=204)
async def patch_list(call: Call, body: ListPatch) -> None:
    """Change the user data of a list."""
    await call.service(FACES).patch_list(call.account, call.path("list_id"), body.user_data)


@routes.delete("/lists/{list_id}", status=204)
async def delete_list(call: Call, query: WithFaces) -> Reply:
    """Delete a list (204), ``with_faces=1`` its faces as well (202; done when answered)."""
    await call.service(FACES).delete_list(call.account, call.path("list_id"), with_faces=bool(query.with_faces))
    return Reply(status=202 if query.with_faces else 204)


@routes.patch("/lists/{list_id}/faces", status=204)
async def link_to_list(call: Call, body: FaceLinks) -> None:
    """Attach faces to the list of the path, or detach them."""
    found = await call.service(FACES).face_list(call.account, call.path("list_id"))
    link = Link(list_id=found.list_id, face_ids=body.face_ids, action=body.action)
    await call.service(FACES).link(call.account, link)


@routes.patch("/linker", status=204)
async def link(call: Call, body: Link) -> None:
    """Attach faces to a list, or detach them."""
    await call.service(FACES).link(call.account, body)


def _face_reply(face_id: Id, *, created: bool) -> Reply:
    url = f"{routes.prefix}/faces/{face_id}"
    content = FaceCreated(face_id=face_id, url=url, external_url=f"{GATEWAY}/faces/{face_id}")
    return Reply(content, status=201, headers={"Location": url}) if created else Reply(content)


def _attribute_reply(attribute_id: Id, *, created: bool) -> Reply:
    url = f"{routes.prefix}/attributes/{attribute_id}"
    content = AttributeCreated(attribute_id=attribute_id, url=url)
    return Reply(content, status=201, headers={"Location": url}) if created else Reply(content)


def _samples(attribute: Attribute) -> Samples:
    return Samples(
        face_descriptor_samples=attribute.face_descriptor_samples,
        basic_attributes_samples=attribute.basic_attributes_samples,
    )


def _with_path_id(call: Call, name: str, body: W) -> W:
    """``body`` under the id of the path. Raises BAD_QUERY when that is no UUID, BAD_BODY when the body says another."""
    chosen = call.chosen_id(name)
    if getattr(body, name) not in (None, chosen):
        raise MienError(Code.BAD_BODY, f"{name}: differs from the path")
    return body.model_copy(update={name: chosen})
