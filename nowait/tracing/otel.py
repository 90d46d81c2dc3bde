"""Traces by OpenTelemetry's SDK, exported by OTLP over HTTP."""

import threading
from collections.abc import Mapping
from contextvars import Token
from types import TracebackType

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from nowait.tracing import Kind, Span, Value

_STOP_TIMEOUT = 3.0  # seconds
_UNNAMED = "unknown_service"  # what the SDK has where nobody gives a name
_KINDS = {kind.name.lower(): kind for kind in trace.SpanKind}
_FAILED = trace.Status(trace.StatusCode.ERROR)
_NOTHING = context.Context()
_propagator = TraceContextTextMapPropagator()
_HEADERS = sorted(_propagator.fields)


class OpenTelemetrySpan:
    """A span of OpenTelemetry's, as `nowait.tracing.Span`."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self._token: Token[context.Context] | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """As Span.headers."""
        headers: dict[str, str] = {}
        _propagator.inject(headers, trace.set_span_in_context(self._span, _NOTHING))
        return headers

    @property
    def trace_id(self) -> str:
        """As Span.trace_id."""
        found = self._span.get_span_context()
        return trace.format_trace_id(found.trace_id) if found.is_valid else ""

    @property
    def span_id(self) -> str:
        """As Span.span_id."""
        found = self._span.get_span_context()
        return trace.format_span_id(found.span_id) if found.is_valid else ""

    def enter(self) -> None:
        """As Span.enter()."""
        self._token = context.attach(trace.set_span_in_context(self._span))

    def set(self, name: str, value: Value) -> None:
        """As Span.set()."""
        self._span.set_attribute(name, value)

    def fail(self, kind: str) -> None:
        """As Span.fail()."""
        self._span.set_attribute("error.type", kind)
        self._span.set_status(_FAILED)

    def end(self) -> None:
        """As Span.end()."""
        if self._span.is_recording():
            self._span.end()

    def __enter__(self) -> "OpenTelemetrySpan":
        self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._token is not None
        context.detach(self._token)
        if kind is not None:
            self.fail(kind.__name__)
        self.end()


class OpenTelemetry:
    """The Tracer of `nowait.tracing` with a provider of OpenTelemetry's."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("nowait")

    @classmethod
    def started(cls, service: str) -> "OpenTelemetry":
        """As `nowait.tracing.start`. The spans that tasks make by OpenTelemetry's API go the same way."""
        resource = Resource.create()
        if str(resource.attributes.get(SERVICE_NAME, _UNNAMED)).startswith(_UNNAMED):
            resource = resource.merge(Resource({SERVICE_NAME: service}))
        # Ended by stop(): at the end of the process, the SDK would wait for half a minute.
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
        return cls(provider)

    def span(
        self, name: str, kind: Kind, attributes: Mapping[str, Value] | None, parent: Mapping[str, str] | None
    ) -> Span:
        """As `nowait.tracing.span`."""
        within = None
        if parent is not None:
            given = {name: parent.get(name) for name in _HEADERS}
            within = _propagator.extract({n: text for n, text in given.items() if isinstance(text, str)}, _NOTHING)
        return OpenTelemetrySpan(self._tracer.start_span(name, within, _KINDS[kind], attributes))

    def current(self) -> Span:
        """As `nowait.tracing.current`."""
        return OpenTelemetrySpan(trace.get_current_span())

    def stop(self) -> None:
        """As `nowait.tracing.stop`."""
        # The exporter tries again for longer than anybody wants to wait here.
        stopping = threading.Thread(target=self._provider.shutdown, daemon=True)
        stopping.start()
        stopping.join(_STOP_TIMEOUT)
