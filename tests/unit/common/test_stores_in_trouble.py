"""What a store fails with when it is in trouble itself: to be tried again, not to be given up as a bad message is."""

from typing import Any

import pytest
from pymongo.errors import BulkWriteError, OperationFailure
from redis.exceptions import NoPermissionError, ResponseError

from libs.common.bus.port import Verdict, verdict
from libs.common.storage import mongo, redis
from libs.common.storage.redis import Spared
from services.events.store_mongo import MongoEventStore


def bulk(*codes: int, concern: bool = False) -> BulkWriteError:
    errors = [{"index": place, "code": code, "op": {}} for place, code in enumerate(codes)]
    return BulkWriteError({"writeErrors": errors, "writeConcernErrors": [{"code": 64}] if concern else []})


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (OperationFailure("Authentication failed.", 18), Verdict.WAIT),
        (OperationFailure("not authorized on mien", 13), Verdict.WAIT),
        (OperationFailure("No space left", 14031), Verdict.WAIT),
        (OperationFailure("cursor id 7 not found", 43), Verdict.WAIT),
        (OperationFailure("Document failed validation", 121), Verdict.AGAIN),
        (bulk(14031, mongo.DUPLICATE), Verdict.WAIT),
        (bulk(mongo.DUPLICATE, concern=True), Verdict.WAIT),
        (bulk(mongo.DUPLICATE), Verdict.AGAIN),
        (bulk(121, 14031, concern=True), Verdict.AGAIN),
    ],
    ids=str,
)
def test_trouble_of_mongodb_costs_a_message_no_attempt(failure: Exception, expected: Verdict) -> None:
    with pytest.raises(Exception) as left, mongo.reached():
        raise failure
    assert verdict(left.value) is expected


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (ResponseError("MISCONF Redis is configured to save RDB snapshots, but it's unable to persist"), Verdict.WAIT),
        (ResponseError("Error running script: MISCONF Errors writing to the AOF file"), Verdict.WAIT),
        (ResponseError("NOREPLICAS Not enough good replicas to write."), Verdict.WAIT),
        (ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), Verdict.AGAIN),
    ],
    ids=str,
)
def test_a_redis_that_does_not_save_costs_a_message_no_attempt(failure: Exception, expected: Verdict) -> None:
    with pytest.raises(Exception) as left, redis.reached():
        raise failure
    assert verdict(left.value) is expected


@pytest.mark.parametrize("failure", [ResponseError("MISCONF no"), NoPermissionError("no"), OSError("no")], ids=repr)
async def test_what_one_can_do_without_costs_no_call(failure: Exception) -> None:
    async def command() -> str:
        raise failure

    assert await Spared("a cache").ask(command) is None


async def test_a_refused_write_is_told_without_the_events_it_was_of(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(documents: list[mongo.Document], **_: Any) -> None:
        raise BulkWriteError({"writeErrors": [{"index": 0, "code": 121, "op": documents[0]}], "writeConcernErrors": []})

    async with mongo.connect("mongodb://nowhere/mien") as client:
        store = MongoEventStore(client.get_default_database())
        monkeypatch.setattr(store._events, "insert_many", refuse, raising=False)
        with pytest.raises(OperationFailure) as told:
            await store._insert([{"_id": "one", "face_data": b"a descriptor"}])
    assert str(told.value) == "events were refused: codes [121]"
    assert (told.value.__cause__, told.value.__suppress_context__) == (None, True)
