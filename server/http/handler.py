"""What all handlers share: request ids, deadlines, limits, problem documents."""

import asyncio
import inspect
import json
import logging
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol
from uuid import uuid4

from tornado.httputil import HTTPHeaders
from tornado.web import Finish, HTTPError, RequestHandler

from nowait.deadline import Deadline
from nowait.errors import BridgeError, TaskFailed
from server.catalogue import Catalogue
from server.http import prefer, problem
from server.http.limits import MAX_BODY

log = logging.getLogger(__name__)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

MAX_HEADERS = 64 * 1024  # bytes

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CLIENT_LEFT = 499  # no client sees it; the log does


class Tasks(Protocol):
    """What handlers know of the bridge."""

    @property
    def state(self) -> str:
        """ "connected" when calls are taken."""

    def send_task(
        self, name: str, args: list[Any] | None = None, *, timeout: float | None, idempotent: bool, queue: str
    ) -> "asyncio.Future[Any]":
        """Send a task; the future fails with a BridgeError."""


class Requests:
    """The requests that are being answered, so that a server can end them before it stops."""

    def __init__(self) -> None:
        self.open: set[RequestHandler] = set()
        self.stopping = False

    async def drain(self, timeout: float) -> bool:
        """Wait until none is open, at most `timeout` seconds. Returns False if some are left."""
        self.stopping = True
        deadline = Deadline.after(timeout)
        while self.open and deadline.remaining():
            await asyncio.sleep(0.02)
        return not self.open


@dataclass(frozen=True)
class Context:
    """What every handler is built with.

    Attributes:
        tasks: the bridge.
        catalogue: the named queries.
        requests: those being answered.
        timeout: seconds that a request may take.
        demo: True when the comparison routes and `delay` are on.
    """

    tasks: Tasks
    catalogue: Catalogue
    requests: Requests
    timeout: float
    demo: bool


class BaseHandler(RequestHandler):
    """Every route's base."""

    request_id: str
    deadline: Deadline

    def initialize(self, context: Context) -> None:
        self.context = context
        self._kept: dict[str, str] = {}
        # Here, not in prepare(): Tornado refuses an unknown method before that.
        given = self.request.headers.get("X-Request-Id", "")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else uuid4().hex
        self.keep_header("X-Request-Id", self.request_id)

    def set_default_headers(self) -> None:
        self.clear_header("Server")

    def compute_etag(self) -> None:
        """None: each answer is made anew, and hashing it would help nobody."""
        return None

    def prepare(self) -> None:
        self.context.requests.open.add(self)
        if self.context.requests.stopping:
            self.keep_header("Connection", "close")
        self._limit_request()
        seconds = self.context.timeout
        wanted = prefer.wait(",".join(self.request.headers.get_list("Prefer")))
        if wanted is not None and wanted < seconds:
            seconds = wanted
            self.keep_header("Preference-Applied", f"wait={wanted:g}")
        self.deadline = Deadline.after(seconds)

    def keep_header(self, name: str, value: str) -> None:
        """Set a header that an error does not take away."""
        self._kept[name] = value
        self.set_header(name, value)

    async def head(self, *args: str) -> None:
        """What GET answers, without its body."""
        answer: Any = self.get(*args)
        if inspect.isawaitable(answer):
            await answer

    def on_finish(self) -> None:
        self.context.requests.open.discard(self)

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.context.requests.open.discard(self)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write the problem document of what was raised."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, BridgeError):
            answer = problem.of_bridge_error(error)
        elif isinstance(error, HTTPError):
            detail = error.log_message
            answer = problem.of_status(status_code, detail % error.args if detail else None)
        else:
            answer = problem.of_status(status_code)
        if status_code == 405:
            self.set_header("Allow", ", ".join(self._allowed()))
        self.set_status(answer.status)
        for name, value in {**self._kept, **answer.headers}.items():
            self.set_header(name, value)
        self.set_header("Content-Type", problem.CONTENT_TYPE)
        self.finish(answer.body(self.request_id))

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log what is the server's or a worker's fault, under the request id."""
        if isinstance(value, TaskFailed):
            log.error("request %s: %s: %s", self.request_id, self._summary(), value)
        elif not isinstance(value, (HTTPError, BridgeError)):
            assert typ is not None and value is not None
            log.error("request %s: %s", self.request_id, self._summary(), exc_info=(typ, value, tb))

    def _limit_request(self) -> None:
        headers: HTTPHeaders = self.request.headers
        size = len(self.request.uri or "") + sum(len(name) + len(value) + 4 for name, value in headers.get_all())
        if size > MAX_HEADERS:
            raise HTTPError(400, f"A request has at most {MAX_HEADERS} bytes of headers.")

    def _allowed(self) -> Iterable[str]:
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            # HEAD stands for GET.
            name = "get" if method == "HEAD" else method.lower()
            if getattr(type(self), name) is not getattr(RequestHandler, name):
                yield method

    def _summary(self) -> str:
        return f"{self.request.method} {self.request.path[:200]!r}"


class NotFoundHandler(BaseHandler):
    """Everything that no route takes."""

    def prepare(self) -> None:
        super().prepare()
        raise HTTPError(404, "There is nothing at this path.")


class TooLargeHandler(BaseHandler):
    """Every request whose body is too large."""

    def prepare(self) -> None:
        super().prepare()
        raise HTTPError(413, f"A body has at most {MAX_BODY} bytes.")


class BridgedHandler(BaseHandler):
    """Base of the routes that a worker answers."""

    _call: "asyncio.Future[Any] | None" = None

    async def run_task(self, name: str, args: list[Any], *, queue: str, idempotent: bool = False) -> Any:
        """What the task returns.

        Args:
            name: the task's name.
            args: its arguments.
            queue: the queue that its workers serve.
            idempotent: it may run twice, so it is sent again when the broker goes away meanwhile.

        Raises BridgeError. When the client leaves, the call is cancelled and the request ends.
        """
        started = time.perf_counter()
        self._call = self.context.tasks.send_task(
            name, args, timeout=self.deadline.remaining(), idempotent=idempotent, queue=queue
        )
        try:
            return await self._call
        except asyncio.CancelledError:
            if not self._call.cancelled():
                raise
            self.set_status(_CLIENT_LEFT, "Client left")
            raise Finish() from None
        finally:
            self.keep_header("Server-Timing", _timing(time.perf_counter() - started, self._call))

    def on_connection_close(self) -> None:
        super().on_connection_close()
        if self._call is not None:
            self._call.cancel()


def write_json(handler: RequestHandler, document: dict[str, Any]) -> None:
    """Finish with a document: UTF-8, without spaces."""
    handler.set_header("Content-Type", "application/json")
    # A lone surrogate has no UTF-8 form; its backslash escape is its JSON form.
    handler.finish(_encode(document).encode("utf-8", "backslashreplace"))


def _timing(bridge: float, call: Any) -> str:
    """The header's text: all that the bridge took, and its parts where the worker told them."""
    runtime: float | None = getattr(call, "runtime", None)
    parts = {"bridge": bridge}
    if runtime is not None:
        parts |= {"queue": max(0.0, bridge - runtime), "run": runtime}
    return ", ".join(f"{name};dur={seconds * 1000:.1f}" for name, seconds in parts.items())


def log_request(handler: RequestHandler) -> None:
    """One line for each answer, at a level that its status deserves."""
    status = handler.get_status()
    level = logging.WARNING if status >= 500 else logging.DEBUG
    if log.isEnabledFor(level):
        request = handler.request
        log.log(
            level,
            "request %s: %d %s %r in %.1f ms",
            getattr(handler, "request_id", "-"),
            status, request.method,
            request.path[:200],
            request.request_time() * 1000,
        )
