"""Traces of a server: of its requests, and of the messages to its workers."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from tornado.httputil import HTTPServerRequest

from nowait import tracing
from nowait.bridge import Bridge, Call
from nowait.tracing import Span
from server.http.route import method_of, route_of

_OTHER = "_OTHER"  # https://opentelemetry.io/docs/specs/semconv/registry/attributes/http/


def request_span(request: HTTPServerRequest, request_id: str, trusted: bool) -> Span:
    """The span of a request.

    Args:
        request: has been routed.
        request_id: its id.
        trusted: its headers say which trace it belongs to.
    """
    if not tracing.on():
        return tracing.NO_SPAN
    method = method_of(request.method, _OTHER)
    route = route_of(request)
    span = tracing.span(f"{method} {route}", "server", None, request.headers if trusted else {})
    if span.recorded:
        span.set("http.request.method", method)
        span.set("http.route", route)
        span.set("nowait.request_id", request_id)
    return span


def end_request(span: Span, status: int) -> None:
    """The request was answered with this status."""
    span.set("http.response.status_code", status)
    if status >= 500:
        span.fail(str(status))
    span.end()


class TracedBridge(Bridge):
    """A bridge whose calls are parts of traces, from the message to the answer, and whose messages say of which."""

    def send_task(self, name: str, *arguments: Any, headers: Mapping[str, str] | None = None, **options: Any) -> Call:
        """As Bridge.send_task; its `headers` say which span has led to the message, None for the current one."""
        span = tracing.span(f"send {name}", "producer", None, headers)
        if not span.recorded:
            return super().send_task(name, *arguments, headers=headers, **options)
        span.set("messaging.system", "rabbitmq")
        span.set("messaging.operation.type", "send")
        span.set("messaging.destination.name", options.get("queue") or "")
        try:
            call = super().send_task(name, *arguments, headers=span.headers, **options)
        except BaseException as error:
            span.fail(type(error).__name__)
            span.end()
            raise
        span.set("messaging.message.id", call.id)
        call.add_done_callback(partial(_end, span))
        return call


def _end(span: Span, call: Any) -> None:
    if call.cancelled():
        span.fail("CancelledError")
    elif error := call.exception():
        span.fail(type(error).__name__)
    span.end()
