"""Bodies through the whole suite: detected beside faces, stored with events, and found again among them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from libs.client import MienClient
from libs.common.ids import new_id
from services.remote_sdk.stages.decode import encode_jpeg
from tests import photos
from tests.running import RunningSuite
from tests.unit.remote_sdk.looking import photo
from tests.unit.remote_sdk.models import FOLDER, library

POLICIES = {
    "detect_policy": {
        "detect_body": 1,
        "body_attributes": {
            "estimate_basic_attributes": 1,
            "estimate_upper_body": 1,
            "estimate_lower_body": 1,
            "estimate_accessories": 1,
        },
    },
    "extract_policy": {"extract_body_descriptor": 1},
    "storage_policy": {"body_sample_policy": {"store_sample": 1}},
}
SEARCH = {"label": "again", "descriptor": "body", "candidates": {"origin": "events"}, "threshold": 0.5, "limit": 3}


@pytest.fixture(scope="module")
def bodies_suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSuite]:
    """With the catalogue's models."""
    library()
    running = RunningSuite(tmp_path_factory.mktemp("bodies") / "data", MIEN_MODELS_DIR=str(FOLDER)).start()
    yield running
    assert running.stop() == 0


async def test_a_body_becomes_an_event_and_is_found_again_among_events(bodies_suite: RunningSuite) -> None:
    picture = photos.shared("face_recognition/test/kit_with_rose.jpg")
    async with MienClient(bodies_suite.url, account=new_id()) as client:
        handler_id = await client.handlers.create(POLICIES)
        first = await client.handlers.emit(handler_id, picture)
        assert len(first.events) == 2
        for event in first.events:
            assert event.detections[0].samples.face is not None
            kept = await client.events.get(event.event_id)
            [body] = kept.body_detections
            assert body.detection is not None
            assert body.detection.rect.height > body.detection.rect.width
            assert kept.upper_body is not None
            assert kept.upper_body.upper_clothing is not None
            assert kept.upper_body.upper_clothing.colors
            assert body.sample_id is not None

        mirrored = encode_jpeg(np.ascontiguousarray(photo(picture)[:, ::-1]))
        gate = await client.handlers.create({**POLICIES, "match_policy": [SEARCH]})
        again = await client.handlers.emit(gate, mirrored)
        for event in again.events:
            assert event.matches
            best = event.matches[0].candidates[0]
            assert best["similarity"] > 0.7
        tops = {event.matches[0].candidates[0]["event"]["event_id"] for event in again.events if event.matches}
        assert tops == {event.event_id for event in first.events}
