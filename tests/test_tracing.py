"""Spans, and what they cost where there are none."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased

from nowait import tracing
from nowait.logs import TextFormatter
from nowait.settings import SettingsError
from nowait.tracing.otel import DrawnIds, OpenTelemetry
from server.settings import Settings as ServerSettings
from tests.test_logs import written

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


def use(exporter: SpanExporter, sampler: Sampler) -> None:
    """Have spans that the sampler takes exported."""
    ids = DrawnIds()
    provider = TracerProvider(sampler, shutdown_on_exit=False, id_generator=ids)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(OpenTelemetry(provider, ids))


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    use(exporter, ALWAYS_ON)
    yield exporter
    tracing.stop()


def test_where_there_are_no_traces_a_span_is_nothing() -> None:
    assert not tracing.on()
    span = tracing.span("a", "client", {"n": 1}, PARENT)
    assert span is tracing.NO_SPAN is tracing.current()
    with span:
        assert tracing.current() is tracing.NO_SPAN
    assert (span.headers, span.trace_id, span.span_id) == ({}, "", "")


def test_a_span_is_a_part_of_the_current_one_or_of_that_of_its_headers(exporter: InMemorySpanExporter) -> None:
    with tracing.span("outer", "server", parent=PARENT) as outer:
        assert (outer.trace_id, tracing.current().span_id) == (TRACE, outer.span_id)
        with tracing.span("inner", "client"):
            pass
        tracing.span("other", "server", parent={}).end()
    assert tracing.current().trace_id == ""
    inner, other, ended = exporter.get_finished_spans()
    assert trace.format_span_id(ended.parent.span_id) == SPAN
    assert trace.format_span_id(inner.parent.span_id) == outer.span_id
    assert other.parent is None and other.context.trace_id != ended.context.trace_id


def test_the_headers_of_a_span_have_others_go_on_with_it(exporter: InMemorySpanExporter) -> None:
    span = tracing.span("a", "producer", parent={**PARENT, "tracestate": "vendor=1"})
    assert span.headers["traceparent"].startswith(f"00-{TRACE}-{span.span_id}-0")
    assert span.headers["tracestate"] == "vendor=1"


@pytest.mark.parametrize("value", [None, 5, b"00", ["00"], {}, "", "00-zz", "x" * 10_000, f"ff-{TRACE}-{SPAN}-01"])
def test_headers_that_are_no_trace_begin_one(exporter: InMemorySpanExporter, value: Any) -> None:
    headers = {"traceparent": value, "tracestate": value}
    assert tracing.span("a", "consumer", parent=headers) is tracing.NO_SPAN
    tracing.span("a", "server", parent=headers).end()
    (span,) = exporter.get_finished_spans()
    assert span.parent is None


def test_an_exception_is_the_failure_of_its_span_by_its_name_alone(exporter: InMemorySpanExporter) -> None:
    with pytest.raises(LookupError), tracing.span("a", "server"):
        raise LookupError("a secret")
    (span,) = exporter.get_finished_spans()
    assert span.attributes == {"error.type": "LookupError"}
    assert not span.status.is_ok
    assert "secret" not in span.to_json()


def test_a_span_ends_once(exporter: InMemorySpanExporter) -> None:
    span = tracing.span("a", "server")
    span.end()
    span.end()
    assert len(exporter.get_finished_spans()) == 1


def test_a_line_of_the_log_names_the_trace(exporter: InMemorySpanExporter) -> None:
    with tracing.span("a", "server", parent=PARENT):
        line = written(TextFormatter(), "x")
    assert line.endswith(f" WARNING server.http: x [trace {TRACE}]")


def test_of_a_trace_that_is_left_out_there_is_nothing(exporter: InMemorySpanExporter) -> None:
    left_out = {"traceparent": f"00-{TRACE}-{SPAN}-00"}
    assert tracing.span("a", "server", parent=left_out) is tracing.NO_SPAN
    use(exporter, ParentBased(TraceIdRatioBased(0.0)))
    with tracing.span("a", "server", parent={}) as span:
        assert span is tracing.span("b", "producer") is tracing.NO_SPAN
    # A client that is trusted decides.
    assert tracing.span("a", "server", parent=PARENT).trace_id == TRACE


def test_as_many_traces_begin_as_the_sampler_takes(exporter: InMemorySpanExporter) -> None:
    use(exporter, ParentBased(TraceIdRatioBased(0.25)))
    begun = [tracing.span("a", "server", parent={}) for _ in range(4000)]
    taken = [span for span in begun if span.recorded]
    assert 800 < len(taken) < 1200
    assert len({span.trace_id for span in taken}) == len(taken)


class _Stuck(SpanExporter):
    """Exports without an end."""

    def __init__(self) -> None:
        self.end = threading.Event()

    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.end.wait()


def test_an_exporter_that_does_not_end_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nowait.tracing.otel._STOP_TIMEOUT", 0.01)
    stuck = _Stuck()
    use(stuck, ALWAYS_ON)
    tracing.stop()
    assert not tracing.on()
    stuck.end.set()


def test_traces_without_their_packages_end_the_program_with_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nowait.settings.installed", lambda: False)
    assert not ServerSettings.from_environment({"NOWAIT_TRACES": "0"}).traces
    with pytest.raises(SettingsError, match="^NOWAIT_TRACES='1' is not allowed, .* the extra otel are not installed$"):
        ServerSettings.from_environment({"NOWAIT_TRACES": "1"})
