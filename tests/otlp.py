"""A receiver of traces: OTLP over HTTP, https://opentelemetry.io/docs/specs/otlp/."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SentSpan

_ERROR = 2


@dataclass(frozen=True)
class Span:
    """One that was received; ids as hexadecimal digits, `parent` "" for none."""

    trace: str
    id: str
    parent: str
    service: str
    name: str
    kind: str
    attributes: dict[str, Any]
    failed: bool


class Traces:
    """What has been received.

    Attributes:
        url: of the receiver, for OTEL_EXPORTER_OTLP_ENDPOINT.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._changed = threading.Condition()
        self._spans: list[Span] = []

    @property
    def variables(self) -> dict[str, str]:
        """The environment of those that send their spans here, at once."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}

    def add(self, body: bytes) -> None:
        """The body of a request."""
        spans = []
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = _values(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                spans += [_span(service, sent) for sent in scope.spans]
        with self._changed:
            self._spans += spans
            self._changed.notify_all()

    def of(self, trace: str | None, enough: Callable[[list[Span]], bool], timeout: float = 60.0) -> list[Span]:
        """The spans of a trace, None for any, once there are enough."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not enough(found := [span for span in self._spans if trace in (None, span.trace)]):
                assert self._changed.wait(max(0.0, deadline - time.monotonic())), found
        return found

    def all(self) -> list[Span]:
        """Those of all traces, so far."""
        with self._changed:
            return list(self._spans)


@contextmanager
def receiving() -> Iterator[Traces]:
    """A receiver, on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            traces.add(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    traces = Traces(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield traces
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _span(service: str, sent: SentSpan) -> Span:
    kind = SentSpan.SpanKind.Name(sent.kind).removeprefix("SPAN_KIND_").lower()
    return Span(
        sent.trace_id.hex(), sent.span_id.hex(), sent.parent_span_id.hex(), service, sent.name, kind,
        _values(sent.attributes), sent.status.code == _ERROR,
    )  # fmt: skip


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
