"""Traces by OpenTelemetry's SDK, exported by OTLP over HTTP.

Of most traces, nothing is exported: the sampler leaves them out. A span of one of these costs the SDK as much as any
other, and here a third of that: it is no more than its ids, which other programs, and the log, are to have.
"""

import re
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
from opentelemetry.sdk.trace.sampling import Decision, ParentBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from nowait.tracing import Kind, Span, Value

_STOP_TIMEOUT = 3.0  # seconds
_UNNAMED = "unknown_service"  # what the SDK has where nobody gives a name
_KINDS = {kind.name.lower(): kind for kind in trace.SpanKind}
_FAILED = trace.Status(trace.StatusCode.ERROR)
_NOTHING = context.Context()
_propagator = TraceContextTextMapPropagator()
_HEADERS = sorted(_propagator.fields)
_LEFT_OUT = re.compile("00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-00")  # a traceparent that says so
_NO_STATE = trace.TraceState()


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


class LeftOut:
    """A span of a trace that is not exported, as `nowait.tracing.Span`."""

    recorded = False

    def __init__(self, trace_id: str, span_id: str, state: trace.TraceState = _NO_STATE) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self._state = state
        self._token: Token[context.Context] | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """As Span.headers."""
        headers = {"traceparent": f"00-{self.trace_id}-{self.span_id}-00"}
        return {**headers, "tracestate": self._state.to_header()} if self._state else headers

    def enter(self) -> None:
        """As Span.enter()."""
        ids = int(self.trace_id, 16), int(self.span_id, 16)
        span = trace.NonRecordingSpan(trace.SpanContext(*ids, is_remote=False, trace_state=self._state))
        self._token = context.attach(trace.set_span_in_context(span))

    def set(self, name: str, value: Value) -> None: ...

    def fail(self, kind: str) -> None: ...

    def end(self) -> None: ...

    def __enter__(self) -> "LeftOut":
        self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._token is not None
        context.detach(self._token)


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
    """The Tracer of `nowait.tracing` with a provider of OpenTelemetry's, which has DrawnIds."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("nowait")
        self._ids = provider.id_generator
        self._sampler = provider.sampler
        # By other samplers, a part of a trace may be exported whose beginning is left out.
        self._leaves_out = isinstance(self._sampler, ParentBased) and isinstance(self._ids, DrawnIds)

    @classmethod
    def started(cls, service: str) -> "OpenTelemetry":
        """As `nowait.tracing.start`. The spans that tasks make by OpenTelemetry's API go the same way."""
        resource = Resource.create()
        if str(resource.attributes.get(SERVICE_NAME, _UNNAMED)).startswith(_UNNAMED):
            resource = resource.merge(Resource({SERVICE_NAME: service}))
        # Ended by stop(): at the end of the process, the SDK would wait for half a minute.
        provider = TracerProvider(resource=resource, shutdown_on_exit=False, id_generator=DrawnIds())
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
        return cls(provider)

    def span(
        self, name: str, kind: Kind, attributes: Mapping[str, Value] | None, parent: Mapping[str, str] | None
    ) -> Span:
        """As `nowait.tracing.span`."""
        if self._leaves_out and (span := self._left_out(name, parent)):
            return span
        within = None
        if parent is not None:
            given = {name: parent.get(name) for name in _HEADERS}
            within = _propagator.extract({n: text for n, text in given.items() if isinstance(text, str)}, _NOTHING)
        return OpenTelemetrySpan(self._tracer.start_span(name, within, _KINDS[kind], attributes))

    def _left_out(self, name: str, parent: Mapping[str, str] | None) -> LeftOut | None:
        """A span of a trace that is left out; None for one that is not, or where the SDK is to find out."""
        # Not os.urandom(), as OpenTelemetry does not, either: it lets another thread go first.
        span_id = f"{getrandbits(64):016x}"
        if parent is None:
            found = trace.get_current_span().get_span_context()
            if found.is_valid:
                if found.trace_flags.sampled:
                    return None
                return LeftOut(trace.format_trace_id(found.trace_id), span_id, found.trace_state)
        elif (traceparent := parent.get("traceparent")) is not None:
            if not isinstance(traceparent, str) or not (match := _LEFT_OUT.fullmatch(traceparent)):
                return None
            given = parent.get("tracestate")
            state = trace.TraceState.from_header([given]) if isinstance(given, str) else _NO_STATE
            return LeftOut(match[1], span_id, state)
        drawn = getrandbits(128)
        if self._sampler.should_sample(_NOTHING, drawn, name).decision is Decision.DROP:
            return LeftOut(trace.format_trace_id(drawn), span_id)
        assert isinstance(self._ids, DrawnIds)
        self._ids.use(drawn)
        return None

    def current(self) -> Span:
        """As `nowait.tracing.current`."""
        return OpenTelemetrySpan(trace.get_current_span())

    def stop(self) -> None:
        """As `nowait.tracing.stop`."""
        # The exporter tries again for longer than anybody wants to wait here.
        stopping = threading.Thread(target=self._provider.shutdown, daemon=True)
        stopping.start()
        stopping.join(_STOP_TIMEOUT)
