"""How much a client may send. What is larger is refused with an answer, without being kept."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest, RequestStartLine, ResponseStartLine

MAX_HEADERS = 64 * 1024  # bytes of the request line and the headers
MAX_BODY = 1024 * 1024  # bytes that a handler gets to see
_OF_ANYBODY = 16 * 1024  # bytes of a body that are kept of who has not the right to send one
_MAX_DISCARDED = 64 * 1024 * 1024  # bytes that are read only so that their sender can read the answer

MAX_HEADER_LINES = 1000  # with more, the connection is ended before they are parsed

# The limits above are answered; Tornado's own only end the connection.
SERVER_OPTIONS: dict[str, Any] = {
    "idle_connection_timeout": 75.0,  # seconds for a request's headers, from the end of the last one
    "body_timeout": 30.0,  # seconds for a body, refused ones included
    "max_header_size": 2 * MAX_HEADERS,
    "max_body_size": 2**62,  # bytes
}


def body_lost(request: HTTPServerRequest) -> bool:
    """Its body was not kept: whoever sent it had not the right to when it came."""
    return bool(vars(request).get("body_lost"))


class BodyLimit(HTTPMessageDelegate):
    """Stands between a connection and a handler, and puts another one in its place when need be.

    Tornado's own limit ends the connection without an answer. Answering before the body has
    arrived would not help either: a client that is still sending loses the answer to a reset. So what
    is too large is read to its end, unless that is too far away, and thrown away. So is the body of somebody who is
    refused whatever is in it: the handler gets the request without one.

    Args:
        request: the request; body_lost() knows of it what has become of its body.
        handler: gets the request when its body is small enough.
        refuse: makes the handler that answers in its place when it is not.
        is_known: may its client send one? Called when it is not small.
    """

    def __init__(
        self,
        request: HTTPServerRequest,
        handler: HTTPMessageDelegate,
        refuse: Callable[[], HTTPMessageDelegate],
        is_known: Callable[[], bool] = lambda: True,
    ) -> None:
        self._request = request
        self._handler = handler
        self._refuse = refuse
        self._is_known = is_known
        self._is_kept: bool | None = None  # None while that does not matter
        self._declared = self._received = 0  # bytes
        self._finished = False

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """The request begins."""
        length = headers.get("Content-Length", "")
        # What is no length is refused by Tornado itself.
        self._declared = int(length) if re.fullmatch("[0-9]{1,18}", length) else 0
        answer = self._handler.headers_received(start_line, headers)
        if self._declared > _MAX_DISCARDED:
            self.finish()
        return answer

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """A part of the body."""
        self._received += len(chunk)
        if self._is_kept is None and max(self._declared, self._received) > _OF_ANYBODY:
            self._is_kept = self._is_known()
            vars(self._request)["body_lost"] = not self._is_kept
        return None if self._too_large or self._is_kept is False else self._handler.data_received(chunk)

    def finish(self) -> None:
        """The request is complete, or need not be."""
        if not self._finished:
            self._finished = True
            (self._refuse() if self._too_large else self._handler).finish()

    def on_connection_close(self) -> None:
        """The connection ended before the request did."""
        self._handler.on_connection_close()

    @property
    def _too_large(self) -> bool:
        # Nothing is declared of a chunked body.
        return max(self._declared, self._received) > MAX_BODY
