"""The main job on photos of other people than those it was enrolled with: over HTTP, over the bus, and in one process
by the descriptors of another model."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.client import MienClient
from libs.common.ids import new_id
from tests import photos
from tests.running import RunningScaledSuite, RunningSuite
from tests.unit.remote_sdk.models import FOLDER, library

EXPECTED = {
    "alex_lacamoire1.jpg": {"alex_lacamoire"},
    "johnsnow_test1.jpg": {"kit_harington"},
    "kit_with_rose.jpg": {"kit_harington", "rose_leslie"},
    "obama1.jpg": {"obama"},
    "obama_and_biden.jpg": {"obama", "biden"},
}
"""Who is in each test photo; whoever else is visible was not enrolled."""


OTHER_MODEL = {"MIEN_SDK_FACE_VERSION": "1002", "MIEN_MODELS_DIR": str(FOLDER)}


@pytest.fixture(params=["other model", "http", "scaled"])
def any_suite(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningSuite | RunningScaledSuite]:
    """One whose services call each other in process, by MobileFaceNet's descriptors, one whose services do so over
    HTTP, one of many processes."""
    if request.param == "scaled":
        yield request.getfixturevalue("scaled_suite")
        return
    if request.param == "other model":
        library()
    environment = OTHER_MODEL if request.param == "other model" else {"MIEN_CALLS": "http"}
    running = RunningSuite(tmp_path / "data", **environment).start()
    yield running
    assert running.stop() == 0


async def test_everybody_enrolled_is_recognised_and_nobody_is_confused(
    any_suite: RunningSuite | RunningScaledSuite,
) -> None:
    people, tests = photos.shared("face_recognition/train"), photos.shared("face_recognition/test")
    async with MienClient(any_suite.url, account=new_id()) as client:
        list_id = await client.lists.create("people")
        extract = {"extract_face_descriptor": 1}
        link = {"store_face": 1, "link_to_lists_policy": [{"list_id": list_id}]}
        enrol = await client.handlers.create(
            {
                "detect_policy": {"multiface_policy": 2},
                "extract_policy": extract,
                "storage_policy": {"face_policy": link},
            }
        )
        for folder in sorted(people.iterdir()):
            result = await client.handlers.emit(enrol, sorted(folder.iterdir()), user_data=folder.name)
            assert [event.face is not None for event in result.events] == [True] * len(result.images)

        search = {"label": "people", "candidates": {"origin": "faces", "list_id": list_id}, "threshold": 0.5}
        gate = await client.handlers.create({"extract_policy": extract, "match_policy": [search]})
        seen = {}
        for picture in sorted(tests.iterdir()):
            result = await client.handlers.emit(gate, picture)
            tops = [event.matches[0].candidates[:1] for event in result.events if event.matches]
            seen[picture.name] = [top[0]["face"]["user_data"] for top in tops if top]
        assert {name: set(names) for name, names in seen.items()} == EXPECTED
        assert [name for name, names in seen.items() if len(set(names)) < len(names)] == []

        counted = await client.events.stats(group_by=[{"column": "top_matching_candidates_label"}])
        assert sum(row[-1] for row in counted.event_stats if row[0] == "people") == 7


async def test_stored_pictures_are_reached_by_the_addresses_of_the_answer(
    any_suite: RunningSuite | RunningScaledSuite,
) -> None:
    account = new_id()
    async with MienClient(any_suite.url, account=account) as client:
        face = {"store_face": 1, "set_sample_as_avatar": 1}
        handler_id = await client.handlers.create({"storage_policy": {"face_policy": face}})
        [event] = (await client.handlers.emit(handler_id, photos.astronaut_jpeg())).events
        sample = event.detections[0].samples.face
        assert sample is not None
        assert event.face is not None
        assert event.face.avatar == sample.url == f"/6/samples/faces/{sample.sample_id}"
        assert (await client.faces.get(event.face.face_id)).avatar == sample.url
        assert sample.sample_id is not None
        assert (await client.images.get_face_sample(sample.sample_id)).data[:2] == b"\xff\xd8"
        assert [one.event_id for one in await client.events.find(face_ids=[event.face.face_id])] == [event.event_id]
