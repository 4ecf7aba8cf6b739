"""The gateway's words for the services' paths."""

import pytest

from services.gateway.paths import public_content, public_json, public_path


@pytest.mark.parametrize(
    ("inner", "public"),
    [
        ("/3/faces/7", "/6/faces/7"),
        ("/2/events/7", "/6/events/7"),
        ("/1/handlers/7", "/6/handlers/7"),
        ("/1/buckets/visionlabs-samples/images/7", "/6/samples/faces/7"),
        ("/1/buckets/visionlabs-bodies-samples/images/7", "/6/samples/bodies/7"),
        ("/1/buckets/visionlabs-image-origin/images/7", "/6/images/7"),
        ("/1/buckets/visionlabs-objects/objects/7", "/6/objects/7"),
        ("/1/buckets/my-own/images/7", "/1/buckets/my-own/images/7"),
        ("http://elsewhere/3/faces/7", "http://elsewhere/3/faces/7"),
        ("/3/facestock/7", "/3/facestock/7"),
        ("", ""),
    ],
)
def test_paths_are_translated_and_everything_else_is_left_alone(inner: str, public: str) -> None:
    assert public_path(inner) == public
    assert public_json(f'{{"url":"{inner}","user_data":"{inner}"}}'.encode()) == (
        f'{{"url":"{public}","user_data":"{inner}"}}'.encode()
    )
    assert public_content([{"avatar": inner, "note": inner}]) == [{"avatar": public, "note": inner}]


def test_what_callers_wrote_themselves_is_left_alone() -> None:
    event = b'{"url":"/2/events/7","meta":{"url":"/2/events/7","big":12345678901234567890123,"share":0.1}}'
    assert public_json(event) == event.replace(b"/2/events/7", b"/6/events/7", 1)
    assert public_content({"url": "/3/faces/7", "meta": {"url": "/3/faces/7"}}) == {
        "url": "/6/faces/7",
        "meta": {"url": "/3/faces/7"},
    }
