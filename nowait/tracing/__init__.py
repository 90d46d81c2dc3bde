"""Traces, by OpenTelemetry: https://www.w3.org/TR/trace-context/. Nothing, until start().

    with tracing.span("users", "client", {"db.system.name": "mariadb"}):
        ...

Names and attributes are the same for many requests: nothing here is given a parameter, a row, a key, SQL, or the text
of an error.
"""

import importlib.util
from collections.abc import Mapping
from types import TracebackType
from typing import Literal, Protocol

Kind = Literal["server", "producer", "consumer", "client"]
"""https://opentelemetry.io/docs/concepts/signals/traces/#span-kind"""

Value = str | int


class Span(Protocol):
    """A part of a trace: something that takes time. As a context manager, it is the current one within its block, which
    ends it; an exception that leaves the block is its failure.
    """

    @property
    def recorded(self) -> bool:
        """False where what it is given is for nothing."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What has another program go on with the trace behind it; empty for none."""

    @property
    def trace_id(self) -> str:
        """Hexadecimal digits; "" for none."""

    @property
    def span_id(self) -> str:
        """The same."""

    def enter(self) -> None:
        """Be the current one from now on, to the end of the task of asyncio."""

    def set(self, name: str, value: Value) -> None:
        """Note an attribute."""

    def fail(self, kind: str) -> None:
        """Note that it has failed, and by what: the name of an exception, or a status."""

    def end(self) -> None:
        """Its time is over. Only the first call counts."""

    def __enter__(self) -> "Span": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Tracer(Protocol):
    """Makes spans."""

    def span(
        self, name: str, kind: Kind, attributes: Mapping[str, Value] | None, parent: Mapping[str, str] | None
    ) -> Span:
        """As span()."""

    def current(self) -> Span:
        """As current()."""

    def stop(self) -> None:
        """As stop()."""


class _NoSpan:
    """Where there are no traces."""

    recorded = False
    headers: Mapping[str, str] = {}
    trace_id = span_id = ""

    def enter(self) -> None: ...

    def set(self, name: str, value: Value) -> None: ...

    def fail(self, kind: str) -> None: ...

    def end(self) -> None: ...

    def __enter__(self) -> "_NoSpan":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


NO_SPAN: Span = _NoSpan()
_tracer: Tracer | None = None


def installed() -> bool:
    """The packages of the extra `otel` are there."""
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def start(service: str) -> None:
    """Make spans from now on, and export them, as the variables OTEL_… of OpenTelemetry's SDK have it.

    Exporting takes a thread, which no fork takes along: it is called in the process that makes the spans.

    Args:
        service: the name of this program, where OTEL_SERVICE_NAME has no other.
    """
    # Here alone: a program without traces does without the packages.
    from nowait.tracing.otel import OpenTelemetry

    use(OpenTelemetry.started(service))


def use(tracer: Tracer | None) -> None:
    """Have this one make the spans from now on; None for no spans."""
    global _tracer
    _tracer = tracer


def stop() -> None:
    """Export what is left, for 3 seconds at most, and make no further spans."""
    tracer = _tracer
    use(None)
    if tracer is not None:
        tracer.stop()


def on() -> bool:
    """Spans are made."""
    return _tracer is not None


def span(
    name: str,
    kind: Kind,
    attributes: Mapping[str, Value] | None = None,
    parent: Mapping[str, str] | None = None,
) -> Span:
    """A span that begins now; NO_SPAN, which is nothing, where its trace is not exported.

    A trace begins with a span of the kind "server"; without a parent, there are no others.

    Args:
        name: one of few, neither with ids nor with paths.
        kind: which side of what it is.
        attributes: as https://opentelemetry.io/docs/specs/semconv/ names them.
        parent: the headers of the span that it is a part of, whatever is in them. None for the current span.
    """
    return NO_SPAN if _tracer is None else _tracer.span(name, kind, attributes, parent)


def current() -> Span:
    """The span that what happens now is a part of."""
    return NO_SPAN if _tracer is None else _tracer.current()
