"""The body of a call that brings pictures, or names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from libs.client.calls import given, json_content
from libs.client.pictures import Content, Named, Pictures, content_of, load
from libs.common.wire.estimations import Rect

Boxes = Mapping[str, Sequence[Rect]]
"""Where the faces of pictures are, by file name."""


async def content_with(
    images: Pictures,
    *,
    urls: Sequence[str] = (),
    samples: Sequence[str] = (),
    image_ids: Sequence[str] = (),
    boxes: Boxes | None = None,
    parts: Mapping[str, Any] | None = None,
) -> Content:
    """``images`` given here, and others fetched from ``urls`` or stored already; ``parts`` of JSON beside them.

    Raises OSError for a missing file, ValueError for boxes of a picture that is not given here.
    """
    pictures = await load(images)
    sources = {"urls": urls, "samples": samples, "image_ids": image_ids}
    named = {name: list(ids) for name, ids in sources.items() if ids}
    if named:
        return _mixed(named, pictures, parts or {}, boxes or {})
    return _form(pictures, parts or {}, boxes or {})


def _mixed(named: dict[str, list[str]], pictures: list[Named], parts: Mapping[str, Any], boxes: Boxes) -> Content:
    """Pictures that are only named can travel in JSON only; given ones join them there in base64."""
    if unknown := set(boxes) - {one.filename for one in pictures}:
        raise ValueError(f"face_bounding_boxes: no picture given here is called {', '.join(sorted(unknown))}")
    entries = [
        given(image=one.data, filename=one.filename, face_bounding_boxes=boxes.get(one.filename)) for one in pictures
    ]
    return json_content({**named, "images": entries, **parts})


def _form(pictures: list[Named], parts: Mapping[str, Any], boxes: Boxes) -> Content:
    hints = [{"filename": name, "face_bounding_boxes": list(rects)} for name, rects in boxes.items()]
    every = {**parts, "face_bounding_boxes": hints} if hints else parts
    return content_of(pictures, [(name, json_content(part).data) for name, part in every.items()])
