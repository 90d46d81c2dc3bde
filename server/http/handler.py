"""What all handlers share: admission, request ids, deadlines, limits, problem documents, an end for their waits."""

import asyncio
import inspect
import json
import logging
import os
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import ExitStack, asynccontextmanager
from copy import copy
from random import random
from secrets import token_hex
from types import TracebackType
from typing import Any, TypeVar

from tornado.httputil import HTTPHeaders
from tornado.web import Finish, HTTPError, RequestHandler

from nowait.deadline import Deadline
from nowait.errors import BridgeError, TaskFailed
from nowait.messages.encoded import Encoded
from server.http import prefer, problem
from server.http.access import OPEN, Access
from server.http.admission import Admission, Refused
from server.http.context import Context
from server.http.limits import MAX_BODY, MAX_HEADERS
from server.http.page_origins import OriginHandler
from server.http.proxies import site
from server.keys.client import Client
from server.tracing import end_request, request_span

log = logging.getLogger(__name__)
readers = log.getChild("readers")  # apart: in a flood they are many
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

# Of a client's; none that may be a key: it is in logs and traces.
_REQUEST_ID = re.compile(r"(?!.*nwt_)[A-Za-z0-9._-]{1,64}")
_CLIENT_LEFT = 499  # no client sees it; the log does
_MAX_LOGGED = 1000  # characters of a worker's text
_PART = 256 * 1024  # bytes of a body that are written at a time
_COPIED = 16 * 1024  # bytes of one that several clients get that are copied for each, as that is less work
_READ_TIMEOUT = 10.0  # seconds in which a client has to take a part, or the end, of an answer

# Of each answer, unless a handler has another value: a browser makes nothing of it but what it is.
_DEFAULTS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cache-Control", "no-store"),
)
_HTTPS_ALONE = "max-age=31536000"  # seconds, a year

T = TypeVar("T")


class BaseHandler(OriginHandler):
    """Every route's base.

    Attributes:
        access: what a client needs for the route. None, where nobody has decided, is for administrators alone.
    """

    access: Access | None = None
    request_id: str
    deadline: Deadline

    def initialize(self, context: Context) -> None:
        super().initialize(context)
        self._ended_by: Exception | None = None
        self._awaited: asyncio.Future[Any] | None = None
        # Here, not in prepare(): Tornado refuses an unknown method before that.
        given = self.request.headers.get("X-Request-Id", "")
        self.request_id = given if given and _REQUEST_ID.fullmatch(given) else token_hex(16)
        self.set_sticky_header("X-Request-Id", self.request_id)
        self._admission = Admission(
            context.gate, self.access, self.request.method or "", self.request_id, lambda: self.address
        )
        self.span = request_span(self.request, self.request_id, context.trust_traceparent)
        if context.demo:
            # Of several, a blocked one holds up only those that are connected to it.
            self.set_sticky_header("X-Process", str(os.getpid()))

    def set_default_headers(self) -> None:
        # As they are: they need no look at what is in them.
        headers = self._headers
        del headers["Server"]
        for name, value in _DEFAULTS:
            headers[name] = value
        if self.request.protocol == "https":
            headers["Strict-Transport-Security"] = _HTTPS_ALONE

    def compute_etag(self) -> None:
        """None: each answer is made anew, and hashing it would help nobody."""

    @property
    def client(self) -> Client:
        """Who asks."""
        return self._admission.client

    @property
    def owner(self) -> str:
        """Of the jobs and schedules that are made."""
        return self.client.owner

    @property
    def caller(self) -> str:
        """Whose calls these are, where clients share what is scarce: the name of one, or the address without a key."""
        return self.client.name or site(self.address)

    @property
    def address(self) -> str:
        """Of the client: the balancers that are trusted are left out."""
        forwarded = self.request.headers.get_list("X-Forwarded-For")
        return self.context.proxies.client(self.request.remote_ip or "", forwarded)

    def prepare(self) -> Awaitable[None] | None:
        # Each request has an asyncio task of its own from here on.
        self.span.enter()
        self.context.in_flight.enter(self)
        if self.context.in_flight.stopping:
            self.set_sticky_header("Connection", "close")
        headers: HTTPHeaders = self.request.headers
        size = len(self.request.uri or "") + sum(len(name) + len(value) + 4 for name, value in headers.get_all())
        if size > MAX_HEADERS:
            raise HTTPError(431, f"A request has at most {MAX_HEADERS} bytes of headers.")
        self.check_site()
        if self.answer_preflight(self.allowed_methods()):
            return None
        self.deadline = Deadline.after(self.context.timeout)
        if "Prefer" in headers:
            self.apply_preferences(",".join(headers.get_list("Prefer")))
        try:
            self._admission.enter(headers.get_list("Authorization"), self.path_args)
        except Refused as refused:
            return self._refuse(refused)
        finally:
            for name, value in self._admission.fields().items():
                self.set_sticky_header(name, value)
        return None

    @property
    def for_all_names(self) -> bool:
        """The client may do what the method does to all that is in the route's area, whatever its name."""
        return self._admission.for_all_names

    def require(self, name: str | None, area: str | None = None) -> None:
        """Raise ProblemError unless the client may do what the method does, in the route's area or another one.

        Args:
            name: of what it is to be done to; None for all, which has any.
            area: another one than the route's.
        """
        if area is None:
            self._admission.require_named(name)
        else:
            self._admission.require(area, name)

    @asynccontextmanager
    async def counted_as(self, policy: str) -> AsyncIterator[None]:
        """While the block runs, the request is a stream or a subscriber of its client, and not in flight.

        Raises ProblemError, and Finish when the client leaves.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(self._admission.counted_as(policy))
            except Refused as refused:
                await self._refuse(refused)
            yield

    async def _refuse(self, refused: Refused) -> None:
        """Raise what is refused with, when that is due; Finish when the client leaves."""
        with self.context.gate.holding(self._admission.delay()) as delay:
            if delay is None:
                self.break_off()
                raise Finish
            if delay:
                await self.wait_for(asyncio.sleep(delay))
        raise refused

    def apply_preferences(self, header: str) -> None:
        """Apply the header `Prefer`: here its wait is the request's time, when that is shorter."""
        wanted = prefer.wait(header)
        if wanted is not None and wanted < self.context.timeout:
            self.deadline = Deadline.after(wanted)
            self.set_sticky_header("Preference-Applied", f"wait={wanted:g}")

    async def wait_for(self, awaitable: Awaitable[T]) -> T:
        """Await something of the request; every wait of a handler goes through this.

        Raises Finish when the client leaves meanwhile, and the error of abandon(); what was awaited
        is cancelled then.
        """
        awaited = asyncio.ensure_future(awaitable)
        if self._ended_by is not None:
            awaited.cancel()
        self.check_wanted()
        self._awaited = awaited
        try:
            return await awaited
        except asyncio.CancelledError:
            self.check_wanted()
            raise
        finally:
            self._awaited = None

    def check_wanted(self) -> None:
        """Raise Finish when the client has left, and the error of abandon() after that."""
        if self._ended_by is not None:
            # Another one, as what has been raised knows all frames that it went through, and the handler would know it.
            raise copy(self._ended_by) from None

    def abandon(self, error: Exception) -> None:
        """End what the handler waits for; it raises `error` there. An answer that is being written goes on."""
        if not self._headers_written:
            self._end(error)

    def _end(self, error: Exception) -> None:
        self._ended_by = self._ended_by or error
        if self._awaited is not None:
            self._awaited.cancel()

    async def head(self, *args: str) -> None:
        """What GET answers, without its body."""
        answer: Any = self.get(*args)
        if inspect.isawaitable(answer):
            await answer

    def finish(self, chunk: Any = None) -> "asyncio.Future[None]":
        """End the answer; the request is in flight until its last byte is written, for which its client has a time."""
        written = super().finish(chunk)
        if written.done():
            self.leave()
        else:
            timer = asyncio.get_running_loop().call_later(_READ_TIMEOUT, self._close)
            written.add_done_callback(lambda _: timer.cancel())
            written.add_done_callback(lambda _: self.leave())
        return written

    def leave(self) -> None:
        """The request is in flight no more."""
        self.context.in_flight.leave(self)
        self._admission.leave()

    def on_finish(self) -> None:
        end_request(self.span, self.get_status())

    async def finish_encoded(self, start: bytes, value: Encoded, end: bytes) -> None:
        """Finish with a JSON document, `value` between its other parts, and release that.

        What is large is written in parts, each when the one before it has left: a slow reader holds up nobody, and
        nothing is there twice. Raises Finish when the client leaves, or takes too long.
        """
        try:
            await self._finish_json(start, value.parts, end, _PART)
        finally:
            value.release()

    async def finish_shared(self, start: bytes, parts: tuple[bytes, ...], end: bytes) -> None:
        """The same with parts that other clients get as well: all but small ones are there once for all of them."""
        await self._finish_json(start, parts, end, _COPIED)

    async def _finish_json(self, start: bytes, parts: tuple[bytes | memoryview, ...], end: bytes, copied: int) -> None:
        self.set_header("Content-Type", "application/json")
        size = sum(map(len, parts))
        if size <= copied:
            await self._taken(self.finish(b"".join((start, *parts, end))))
            return
        self.set_header("Content-Length", str(len(start) + size + len(end)))
        # By itself: what is written together is copied.
        for part in (start, *parts):
            await self.write_taken(part)
        await self._taken(self.finish(end))

    async def write_taken(self, data: bytes | memoryview) -> None:
        """Write a part of the answer; what is large in smaller ones, each when the one before it has left.

        Raises Finish when the client leaves, or takes too long.
        """
        for at in range(0, len(data), _PART):
            self.write(bytes(data if len(data) <= _PART else memoryview(data)[at : at + _PART]))
            await self._taken(self.flush())

    async def _taken(self, written: "asyncio.Future[None]") -> None:
        """Return once the client has taken what was written, and others on the loop had their turn."""
        if written.done():
            await asyncio.sleep(0)
            self.check_wanted()
            return
        try:
            await self.wait_for(asyncio.wait_for(written, _READ_TIMEOUT))
        except (TimeoutError, asyncio.TimeoutError):
            self._close()
            raise Finish from None

    def _close(self) -> None:
        """Close the connection: its client does not read."""
        readers.warning("request %s: its client does not read the answer", self.request_id)
        # Otherwise the system would keep megabytes of it, and wait for minutes.
        self.break_off(reset=True)

    def break_off(self, reset: bool = False) -> None:
        """End the connection in the middle of the answer, so that no client takes a part of it for the whole.

        Args:
            reset: nothing more is sent of what was written.
        """
        connection: Any = self.request.connection
        # Where its end is that of the connection, only a reset shows that there was to be more.
        if (reset or self.request.version == "HTTP/1.0") and not connection.stream.closed():
            connection.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.stream.close()

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.set_status(_CLIENT_LEFT, "Client left")
        self.leave()
        self._end(Finish())

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write the problem document of what was raised."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, BridgeError):
            answer = problem.of_bridge_error(error)
        elif isinstance(error, problem.ProblemError):
            answer = error.problem
        elif isinstance(error, HTTPError):
            detail = error.log_message
            answer = problem.of_status(status_code, detail % error.args if detail else None)
        else:
            answer = problem.of_status(status_code)
        if status_code == 405:
            allowed = ", ".join(self.allowed_methods())
            self.set_header("Allow", allowed)
            if isinstance(error, HTTPError) and not error.log_message:
                answer = problem.of_status(status_code, f"Allowed are: {allowed}.")
        self.set_status(answer.status)
        for name, value in {**self.sticky, **answer.headers, **answer.later(random())}.items():
            self.set_header(name, value)
        self.set_header("Content-Type", problem.CONTENT_TYPE)
        self.finish(answer.body(self.request_id, self.span.trace_id))

    def log_exception(
        self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Log what is the server's or a worker's fault, under the request id."""
        summary = f"request {self.request_id}: {self.request.method} {self.request.path[:200]!r}"
        extra = {"fields": {"request_id": self.request_id}}
        if isinstance(value, TaskFailed):
            log.error("%s: %s", summary, one_line(value), extra=extra)
        elif not isinstance(value, (HTTPError, BridgeError)):
            assert typ is not None and value is not None
            log.error("%s", summary, exc_info=(typ, value, tb), extra=extra)

    def allowed_methods(self) -> Iterable[str]:
        """The methods that a 405 names."""
        for method in self.SUPPORTED_METHODS:
            # HEAD stands for GET.
            name = "get" if method == "HEAD" else method.lower()
            if getattr(type(self), name) is not getattr(RequestHandler, name):
                yield method


class NotFoundHandler(BaseHandler):
    """Everything that no route takes."""

    access = OPEN

    def prepare(self) -> None:
        super().prepare()
        raise HTTPError(404, "There is nothing at this path.")


class TooLargeHandler(BaseHandler):
    """Every request whose body is too large."""

    access = OPEN

    def prepare(self) -> None:
        super().prepare()
        raise HTTPError(413, f"A body has at most {MAX_BODY} bytes.")


def one_line(error: BaseException) -> str:
    """The text of an error for the log: a worker's is trusted neither with lines of its own nor with any length."""
    return ascii(str(error)[:_MAX_LOGGED])[1:-1]


def write_json(handler: RequestHandler, document: dict[str, Any]) -> None:
    """Finish with a document: UTF-8, without spaces."""
    handler.set_header("Content-Type", "application/json")
    # A lone surrogate has no UTF-8 form; its backslash escape is its JSON form.
    handler.finish(_encode(document).encode("utf-8", "backslashreplace"))
