"""The blocking client is the asynchronous one, and both speak of the fields and routes the platform has."""

import ast
import asyncio
import inspect
import threading
from typing import Any, get_type_hints

import pytest

from libs.client import BlockingMienClient, MienApiError, MienClient, options, stub
from libs.common.wire.events import EventFilter, NoticeFilter
from libs.common.wire.faces import FaceFilter, FacePatch, ListFilter
from libs.common.wire.handlers import EmitQuery, HandlerFilter
from libs.common.wire.sdk import IsoQuery, LivenessQuery, SdkParams
from tests.unit.client.echo import ACCOUNT, Echo

PARTS = ("handlers", "events", "faces", "attributes", "lists", "matcher", "images")


@pytest.mark.parametrize(
    ("keywords", "model"),
    [
        (options.HandlerWhere, HandlerFilter),
        (options.EmitOptions, EmitQuery),
        (options.EventWhere, EventFilter),
        (options.NoticeWhere, NoticeFilter),
        (options.FaceWhere, FaceFilter),
        (options.FaceChange, FacePatch),
        (options.ListWhere, ListFilter),
        (options.SdkOptions, SdkParams),
        (options.LivenessOptions, LivenessQuery),
        (options.IsoOptions, IsoQuery),
    ],
)
def test_keyword_arguments_are_the_fields_of_the_wire_model(keywords: Any, model: Any) -> None:
    assert list(get_type_hints(keywords)) == list(model.model_fields)


def test_the_stub_of_the_blocking_client_is_current() -> None:
    written = ast.dump(ast.parse(stub.STUB.read_text()))
    assert written == ast.dump(ast.parse(stub.render())), "run: python -m libs.client.stub"


async def test_the_blocking_client_has_every_method_with_the_same_signature() -> None:
    async with MienClient(account=ACCOUNT) as client:
        with BlockingMienClient(account=ACCOUNT) as blocking:
            pairs = [(client, blocking), *((getattr(client, part), getattr(blocking, part)) for part in PARTS)]
            for asynchronous, waiting in pairs:
                for name, method in inspect.getmembers(asynchronous, inspect.iscoroutinefunction):
                    if not name.startswith("_"):
                        assert inspect.signature(getattr(waiting, name)) == inspect.signature(method), name


async def test_threads_share_a_blocking_client(echo: Echo) -> None:
    echo.answer({"lists_count": 7})

    def count_many() -> list[int]:
        with BlockingMienClient(echo.url, account=ACCOUNT) as client:
            counts: list[int] = []
            threads = [threading.Thread(target=lambda: counts.append(client.lists.count())) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return counts

    assert await asyncio.to_thread(count_many) == [7] * 8


async def test_the_blocking_client_raises_the_same_and_ends_its_thread(echo: Echo) -> None:
    echo.answer({"error_code": 22003, "desc": "List not found", "detail": "list x"}, 404)

    def use() -> BlockingMienClient:
        client = BlockingMienClient(echo.url, account=ACCOUNT)
        with pytest.raises(MienApiError, match="404 / 22003"):
            client.lists.get(ACCOUNT)
        client.close()
        client.close()
        return client

    client = await asyncio.to_thread(use)
    assert not any(thread.name == "mien-client" for thread in threading.enumerate())
    with pytest.raises(RuntimeError, match="this client is closed"):
        client.lists.count()


def test_a_wrong_account_leaves_no_thread_behind() -> None:
    with pytest.raises(ValueError, match="is not a UUID"):
        BlockingMienClient(account="me")
    assert not any(thread.name == "mien-client" for thread in threading.enumerate())


def test_the_package_offers_the_client_by_name() -> None:
    import mien

    assert mien.MienClient is MienClient
    assert mien.BlockingMienClient is BlockingMienClient
    with pytest.raises(AttributeError, match="no attribute 'MienServer'"):
        _ = mien.MienServer
