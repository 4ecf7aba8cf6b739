"""Replicas of faces, kept by the feed, and what they should be equal to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from libs.common.wire.base import Page
from libs.common.wire.faces import FaceFilter
from libs.common.wire.gallery import GalleryRow, Gap
from services.faces.service import Faces

Replica = dict[str, GalleryRow]


@dataclass
class Follower:
    """Somebody who keeps up with the feed by pages of ``size``."""

    size: int
    revision: int = 0
    late: list[Gap] = field(default_factory=list)
    replica: Replica = field(default_factory=dict)

    async def catch_up(self, faces: Faces) -> None:
        more = True
        while more:
            page = await faces.changes(self.revision, self.size, self.late)
            assert len(page.rows) <= self.size
            assert page.revision > self.revision or not page.rows or page.late != self.late
            for row in page.rows:
                self.replica.pop(row.object_id, None)
                if not row.deleted:
                    self.replica[row.object_id] = row
            self.revision, self.late, more = page.revision, page.late, page.more

    def again(self) -> Follower:
        return replace(self, replica=dict(self.replica))


async def everything(faces: Faces, accounts: Iterable[str]) -> Replica:
    """The store's state, read through methods that have nothing to do with the feed."""
    state: Replica = {}
    for account in accounts:
        found = await faces.find_faces(account, FaceFilter(), Page(page_size=1000))
        owned = {one.face_id: one for one in await faces.face_attributes(account, [face.face_id for face in found])}
        for face in found:
            raws = owned[face.face_id].descriptors if face.face_id in owned else []
            state[face.face_id] = GalleryRow(
                object_id=face.face_id,
                account_id=account,
                descriptors={draft.version: draft.descriptor for draft in raws},
                lists=face.lists,
            )
    return state
