"""One emission is one trace: through the gateway, every service it needs, the workers and the bus."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from libs.client import MienClient
from libs.common import tracing
from libs.common.ids import new_id
from libs.common.settings import SdkSettings, Settings, StorageSettings
from mien.serve import ALL, Process
from tests import photos
from tests.running import free_base_port

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
POLICIES = {
    "detect_policy": {"multiface_policy": 1},
    "extract_policy": {"extract_face_descriptor": 1},
    "storage_policy": {
        "face_policy": {"store_face": 1},
        "event_policy": {"store_event": 1, "wait_saving": 0},
        "notification_policy": {"send_notification": 1},
    },
}


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.export("suite", exporter)
    yield exporter
    tracing.close()


@pytest.fixture
async def url(tmp_path: Path, rabbit_url: str, spans: InMemorySpanExporter) -> AsyncIterator[str]:
    """Every service, none calling another but over HTTP or the bus."""
    port = free_base_port()
    settings = Settings(
        port=port,
        calls="http",
        storage=StorageSettings(data_dir=tmp_path, bus_url=rabbit_url),  # type: ignore[arg-type]
        sdk=SdkSettings(detect_long_side=512, workers=1),
    )
    process = Process(settings, ALL)
    await process.start()
    url = process.addresses["gateway"]
    async with aiohttp.ClientSession() as session, asyncio.timeout(120):
        while (await session.get(f"{url}/readyz")).status != 200:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.2)
    yield url
    await process.stop()


def of_the_trace(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    """The spans of the emission so far, by ``kind name``."""
    tracing.flush()
    found = [span for span in spans.get_finished_spans() if span.context and f"{span.context.trace_id:032x}" == TRACE]
    return {f"{span.kind.name} {span.name}": span for span in found}


async def test_one_emission_is_one_trace_from_the_door_to_the_subscriber(url: str, spans: InMemorySpanExporter) -> None:
    account = new_id()
    async with MienClient(url, account=account) as client:
        handler_id = await client.handlers.create(POLICIES)
    headers = {
        "Luna-Account-Id": account,
        "Content-Type": "image/jpeg",
        "traceparent": f"00-{TRACE}-{PARENT}-01",
    }
    emit = f"{url}/6/handlers/{handler_id}/events"
    async with aiohttp.ClientSession() as session:
        answer = await session.post(emit, data=photos.astronaut_jpeg(), headers=headers)
        assert (answer.status, len((await answer.json())["events"])) == (201, 1)

    expected = {
        "SERVER POST /6/handlers/{handler_id}/events",  # the gateway
        "SERVER POST /1/handlers/{handler_id}/events",
        "CLIENT Sdk.estimate",
        "SERVER Sdk.estimate",  # over the bus, by a worker
        "CLIENT /rpc/Faces/create_faces",
        "SERVER POST /rpc/Faces/create_faces",
        "CONSUMER events.save.events",  # nobody waited for it
        "CONSUMER events.notify.sender",  # published out of the outbox
    }
    deadline = time.monotonic() + 30
    while (missing := expected - set(of_the_trace(spans))) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    found = of_the_trace(spans)
    assert not missing, sorted(found)
    [door] = [span for name, span in found.items() if name == "SERVER POST /6/handlers/{handler_id}/events"]
    assert door.parent
    assert f"{door.parent.span_id:016x}" == PARENT
    known = {span.context.span_id for span in found.values() if span.context}
    assert {span.parent.span_id for span in found.values() if span is not door and span.parent} <= known
    assert {key for span in found.values() for key in span.attributes or {}} == {"mien.service", "mien.request_id"}


def test_a_call_that_fails_marks_its_span_by_kind_alone(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="s3cr3t"), tracing.span("work"):
        raise ValueError("s3cr3t")
    tracing.flush()
    [span] = spans.get_finished_spans()
    assert (span.status.is_ok, span.status.description, span.events) == (False, "ValueError", ())


def test_traces_that_are_off_leave_nothing_behind() -> None:
    with tracing.span("work", "server", {"traceparent": f"00-{TRACE}-{PARENT}-01"}):
        assert (tracing.headers(), tracing.trace_id()) == ({}, None)
