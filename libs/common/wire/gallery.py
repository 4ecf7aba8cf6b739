"""The revision feed that keeps every matcher's memory equal to the store it searches.

A store numbers every change that can alter a match (``revision`` grows by at least one). A matcher asks for what came
after the revision it has; the store answers with the *current* state of the objects that changed, so replaying a page
twice is harmless. A store that gives numbers before it writes names those that may still come (``late``), and the
matcher asks for them along with the next page.
"""

from __future__ import annotations

from libs.common.ids import Id
from libs.common.wire.base import Blob, Wire


class GalleryRow(Wire):
    """The present state of one changed object. ``deleted`` rows carry nothing else.

    ``descriptors`` maps a descriptor version to the raw descriptor; ``lists`` are the lists of a face now.
    """

    object_id: Id
    account_id: Id
    deleted: bool = False
    descriptors: dict[int, Blob] = {}
    lists: list[Id] = []


class Gap(Wire):
    """Revisions ``first`` to ``last``, both included: given to writers, not seen yet.

    They will not come after ``until_ms`` (milliseconds since 1970): the object got a newer revision, or nothing was
    written.
    """

    first: int
    last: int
    until_ms: int


class GalleryPage(Wire):
    """Changes after the asked revision, oldest first, at most ``limit``; ``revision`` is where to go on from.

    ``more`` says that another page is waiting. ``late`` takes the place of what the reader asked with.
    """

    revision: int
    rows: list[GalleryRow]
    more: bool
    late: list[Gap] = []
