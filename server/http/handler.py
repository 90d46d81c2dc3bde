"""What all handlers share: admission, request ids, deadlines, limits, problem documents."""

import asyncio
import inspect
import json
import logging
import os
import re
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from random import random
from secrets import token_hex
from types import TracebackType
from typing import Any

from tornado.gen import sleep
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import Finish, HTTPError, RequestHandler

from nowait.deadline import Deadline
from nowait.errors import BridgeError, TaskFailed
from server.http import prefer, problem
from server.http.access import OPEN, Access
from server.http.admission import Admission, Refused
from server.http.context import Context
from server.http.limits import MAX_BODY, MAX_HEADERS, body_lost
from server.http.proxies import Proxies, site
from server.http.waits import WaitingHandler
from server.keys.client import Client
from server.tracing import end_request, request_span

log = logging.getLogger(__name__)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

# Of a client's; none that may be a key: it is in logs and traces.
_REQUEST_ID = re.compile(r"(?!.*nwt_)[A-Za-z0-9._-]{1,64}")
_CLIENT_LEFT = 499  # no client sees it; the log does
_MAX_LOGGED = 1000  # characters of a worker's text

# Of each answer, unless a handler has another value: a browser makes nothing of it but what it is.
_DEFAULTS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cache-Control", "no-store"),
)
_HTTPS_ALONE = "max-age=31536000"  # seconds, a year


class BaseHandler(WaitingHandler):
    """Every route's base.

    Attributes:
        access: what a client needs for the route. None, where nobody has decided, is for administrators alone.
    """

    access: Access | None = None
    deadline: Deadline

    def initialize(self, context: Context) -> None:
        super().initialize(context)
        # No route takes forms: Tornado would parse them before anything is known of who sends them.
        vars(self.request)["_parse_body"] = _nothing
        # Here, not in prepare(): Tornado refuses an unknown method before that.
        given = self.request.headers.get("X-Request-Id", "")
        self.request_id = given if given and _REQUEST_ID.fullmatch(given) else token_hex(16)
        self.set_sticky_header("X-Request-Id", self.request_id)
        # With nothing that knows the handler: what is a cycle is left to the garbage collector, for which all wait.
        address = partial(_address, context.proxies, self.request)
        self._admission = Admission(context.gate, self.access, self.request.method or "", self.request_id, address)
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
        return _address(self.context.proxies, self.request)

    def prepare(self) -> Awaitable[None] | None:
        # Each request has an asyncio task of its own from here on.
        self.span.enter()
        self.context.in_flight.enter(self)
        if self.context.in_flight.stopping:
            self.close_behind()
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
            self._admission.enter(headers.get_list("Authorization"), self.path_args, body_lost(self.request))
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
                await self._hold(refused)
                raise
            yield

    async def _refuse(self, refused: Refused) -> None:
        """Answer that the request is refused, when that is due. Raises Finish when the client leaves.

        As it is, not by raising it: a flood is mostly this.
        """
        await self._hold(refused)
        self._write_problem(refused.problem)

    async def _hold(self, refused: Refused) -> None:
        """Return when the refusal is due. Raises Finish when the client leaves."""
        with self.context.gate.holding(self._admission.delay()) as delay:
            if delay is None:
                self.set_status(refused.problem.status)  # for the log
                self.break_off()
                raise Finish
            if delay:
                await self.wait_for(sleep(delay))

    def apply_preferences(self, header: str) -> None:
        """Apply the header `Prefer`: here its wait is the request's time, when that is shorter."""
        wanted = prefer.wait(header)
        if wanted is not None and wanted < self.context.timeout:
            self.deadline = Deadline.after(wanted)
            self.set_sticky_header("Preference-Applied", f"wait={wanted:g}")

    async def head(self, *args: str) -> None:
        """What GET answers, without its body."""
        answer: Any = self.get(*args)
        if inspect.isawaitable(answer):
            await answer

    def finish(self, chunk: Any = None) -> "asyncio.Future[None]":
        """End the answer; the request is in flight until its last byte is written."""
        try:
            written = super().finish(chunk)
        except Exception:  # as of one that is not as long as it was to be: Tornado has closed the connection
            self.leave()
            raise
        if written.done():
            self.leave()
        else:
            written.add_done_callback(lambda _: self.leave())
        return written

    def leave(self) -> None:
        """The request is in flight no more."""
        self.context.in_flight.leave(self)
        self._admission.leave()

    def on_finish(self) -> None:
        end_request(self.span, self.get_status())

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.set_status(_CLIENT_LEFT, "Client left")
        self.leave()

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
        self._write_problem(answer)

    def _write_problem(self, answer: problem.Problem) -> None:
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


def _nothing() -> None: ...


def _address(proxies: Proxies, request: HTTPServerRequest) -> str:
    return proxies.client(request.remote_ip or "", request.headers.get_list("X-Forwarded-For"))


def one_line(error: BaseException) -> str:
    """The text of an error for the log: a worker's is trusted neither with lines of its own nor with any length."""
    return ascii(str(error)[:_MAX_LOGGED])[1:-1]


def write_json(handler: RequestHandler, document: dict[str, Any]) -> None:
    """Finish with a document: UTF-8, without spaces."""
    handler.set_header("Content-Type", "application/json")
    # A lone surrogate has no UTF-8 form; its backslash escape is its JSON form.
    handler.finish(_encode(document).encode("utf-8", "backslashreplace"))
