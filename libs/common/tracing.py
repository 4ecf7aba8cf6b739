"""Traces as OpenTelemetry has them, across HTTP and the bus: off unless MIEN_TRACES_URL says where they go.

Code that calls another process puts :func:`headers` into its message; code that is called opens a :func:`span` under
the headers it was sent. Both cost next to nothing while traces are off, and need ``mien[otel]`` only when they are on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

from libs.common.errors import Code, MienError

Kind = Literal["server", "client", "producer", "consumer", "internal"]
Attribute = str | int | float | bool


class _Traces:
    """The provider of this process and its tracer. Everything that touches OpenTelemetry is in here."""

    def __init__(self, service: str, exporter: SpanExporter, share: float) -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        resource = Resource.create({"service.name": f"mien-{service}"})
        self._api = trace
        self._w3c = TraceContextTextMapPropagator()
        self._provider = TracerProvider(resource=resource, sampler=ParentBased(TraceIdRatioBased(share)))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("mien")

    @contextmanager
    def span(
        self, name: str, kind: Kind, parent: Mapping[str, str] | None, attributes: Mapping[str, Attribute]
    ) -> Iterator[None]:
        context = None if parent is None else self._w3c.extract(parent)
        with self._tracer.start_as_current_span(
            name,
            context=context,
            kind=self._api.SpanKind[kind.upper()],
            attributes=dict(attributes),
            record_exception=False,  # its text is for the log, where the request id leads
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as failure:
                span.set_status(self._api.StatusCode.ERROR, type(failure).__name__)
                raise

    def headers(self) -> dict[str, str]:
        carrier: dict[str, str] = {}
        self._w3c.inject(carrier)
        return carrier

    def trace_id(self) -> str | None:
        context = self._api.get_current_span().get_span_context()
        return self._api.format_trace_id(context.trace_id) if context.is_valid else None

    def fail(self, reason: str) -> None:
        self._api.get_current_span().set_status(self._api.StatusCode.ERROR, reason)

    def flush(self) -> None:
        self._provider.force_flush()

    def close(self) -> None:
        self._provider.shutdown()


_traces: _Traces | None = None


def configure(service: str, url: str | None, share: float = 1.0) -> None:
    """Send this process's spans to ``url`` (OTLP over HTTP), ``share`` (0..1) of the traces that begin here.

    None leaves traces off. Raises MienError ENGINE_FAILED when OpenTelemetry is not installed.
    """
    if url is None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ModuleNotFoundError as missing:
        detail = f"MIEN_TRACES_URL is set, but {missing.name} is not installed: pip install 'mien[otel]'"
        raise MienError(Code.ENGINE_FAILED, detail) from None
    export(service, OTLPSpanExporter(endpoint=url), share)


def export(service: str, exporter: SpanExporter, share: float = 1.0) -> None:
    """As :func:`configure`, through any exporter."""
    global _traces
    close()
    _traces = _Traces(service, exporter, share)


def close() -> None:
    """Send what has not been sent, and end. Blocks for as long as the collector takes."""
    global _traces
    if _traces is not None:
        _traces.close()
        _traces = None


def flush() -> None:
    """Send what has not been sent. Blocks."""
    if _traces is not None:
        _traces.flush()


@contextmanager
def span(
    name: str, kind: Kind = "internal", parent: Mapping[str, str] | None = None, **attributes: Attribute
) -> Iterator[None]:
    """A piece of work that a trace shows: under the caller's span that ``parent`` (headers) names, else under the one
    that is open here. An exception that leaves it marks it as failed, by its type only.

    ``attributes`` name things by id and count them; nothing that a log may not have.
    """
    if _traces is None:
        yield
        return
    with _traces.span(name, kind, parent, attributes):
        yield


def headers() -> dict[str, str]:
    """W3C's ``traceparent`` (and ``tracestate``) of the span that is open here; nothing when there is none."""
    return {} if _traces is None else _traces.headers()


def trace_id() -> str | None:
    """Of the span that is open here, in hexadecimal."""
    return None if _traces is None else _traces.trace_id()


def fail(reason: str) -> None:
    """Mark the open span as failed when no exception leaves it."""
    if _traces is not None:
        _traces.fail(reason)
