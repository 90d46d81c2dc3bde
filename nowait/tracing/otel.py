"""Traces by OpenTelemetry's SDK, exported by OTLP over HTTP.

Of a trace that the sampler leaves out no span is made, and no other program learns of it: the SDK's spans would cost as
much as those that are exported.
"""

import os
import threading
from collections.abc import Mapping
from contextvars import Token
from random import getrandbits
from types import TracebackType

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from nowait.tracing import NO_SPAN, Kind, Span, Value

_STOP_TIMEOUT = 3.0  # seconds
_UNNAMED = "unknown_service"  # what the SDK has where nobody gives a name
_KINDS = {kind.name.lower(): kind for kind in trace.SpanKind}
_FAILED = trace.Status(trace.StatusCode.ERROR)
_NOTHING = context.Context()
_NOWHERE = trace.INVALID_SPAN_CONTEXT
_BY_RATIO = {"traceidratio", "parentbased_traceidratio"}
_propagator = TraceContextTextMapPropagator()


class OpenTelemetrySpan:
    """A span of OpenTelemetry's, as `nowait.tracing.Span`."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self._token: Token[context.Context] | None = None

    @property
    def recorded(self) -> bool:
        """As Span.recorded."""
        return self._span.is_recording()

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


class DrawnIds(RandomIdGenerator):
    """Ids of OpenTelemetry's, but for that of a trace which was drawn before."""

    def __init__(self) -> None:
        self._next = threading.local()

    def use(self, trace_id: int) -> None:
        """Have the next trace of this thread get this id."""
        self._next.trace_id = trace_id

    def generate_trace_id(self) -> int:
        """As RandomIdGenerator's."""
        trace_id: int | None = vars(self._next).pop("trace_id", None)
        return super().generate_trace_id() if trace_id is None else trace_id


class OpenTelemetry:
    """The Tracer of `nowait.tracing` with a provider of OpenTelemetry's.

    Args:
        provider: has these ids.
        ids: of its spans.
    """

    def __init__(self, provider: TracerProvider, ids: DrawnIds) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("nowait")
        self._ids = ids
        self._sampler = provider.sampler
        self._bound = _bound(os.environ)

    @classmethod
    def started(cls, service: str) -> "OpenTelemetry":
        """As `nowait.tracing.start`. The spans that tasks make by OpenTelemetry's API go the same way."""
        resource = Resource.create()
        if str(resource.attributes.get(SERVICE_NAME, _UNNAMED)).startswith(_UNNAMED):
            resource = resource.merge(Resource({SERVICE_NAME: service}))
        # Ended by stop(): at the end of the process, the SDK would wait for half a minute.
        ids = DrawnIds()
        provider = TracerProvider(resource=resource, shutdown_on_exit=False, id_generator=ids)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
        return cls(provider, ids)

    def span(
        self, name: str, kind: Kind, attributes: Mapping[str, Value] | None, parent: Mapping[str, str] | None
    ) -> Span:
        """As `nowait.tracing.span`."""
        within = context.get_current() if parent is None else _NOTHING
        traceparent = None if parent is None else parent.get("traceparent")
        if parent is not None and isinstance(traceparent, str):
            state = parent.get("tracestate")
            given = {"traceparent": traceparent, **({"tracestate": state} if isinstance(state, str) else {})}
            within = _propagator.extract(given, _NOTHING)
        # Of most requests, neither is there.
        above = trace.get_current_span(within).get_span_context() if within else _NOWHERE
        if not (above.trace_flags.sampled if above.is_valid else kind == "server" and self._drawn(name)):
            return NO_SPAN
        return OpenTelemetrySpan(self._tracer.start_span(name, within, _KINDS[kind], attributes))

    def _drawn(self, name: str) -> bool:
        """Is the next trace to be exported?"""
        trace_id = getrandbits(128)
        # The sampler itself would make a dozen objects to say the same.
        if self._bound is not None and trace_id & TraceIdRatioBased.TRACE_ID_LIMIT >= self._bound:
            return False
        if self._sampler.should_sample(_NOTHING, trace_id, name).decision is Decision.DROP:
            return False
        self._ids.use(trace_id)
        return True

    def current(self) -> Span:
        """As `nowait.tracing.current`."""
        return OpenTelemetrySpan(trace.get_current_span())

    def stop(self) -> None:
        """As `nowait.tracing.stop`."""
        # The exporter tries again for longer than anybody wants to wait here.
        stopping = threading.Thread(target=self._provider.shutdown, daemon=True)
        stopping.start()
        stopping.join(_STOP_TIMEOUT)


def _bound(environment: Mapping[str, str]) -> int | None:
    """Which ids of traces, from that one on, the sampler that the variables name leaves out; None where it is another.

    https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
    """
    if environment.get("OTEL_TRACES_SAMPLER") not in _BY_RATIO:
        return None
    try:
        return TraceIdRatioBased.get_bound_for_rate(float(environment.get("OTEL_TRACES_SAMPLER_ARG", "")))
    except ValueError:  # what the SDK makes of it, it knows alone
        return None
