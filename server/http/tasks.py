"""The handlers that a worker answers."""

import contextlib
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

from nowait.bridge import Call
from nowait.errors import TaskFailed
from nowait.messages.encoded import Encoded
from server.http.handler import BaseHandler
from server.http.problem import DATABASE_LOST, QUERY_BROKEN, ProblemError

_WORKER = re.compile("[A-Za-z0-9@._-]{1,255}")
# By the exceptions of tasks/queries.py.
_PROBLEMS = {"QueryBroken": QUERY_BROKEN, "ConnectionLost": DATABASE_LOST}

T = TypeVar("T")


class TaskHandler(BaseHandler):
    """Base of the routes that a worker answers."""

    async def run_task(self, name: str, args: list[Any], *, queue: str, idempotent: bool) -> Encoded:
        """What the task returns: not decoded, and to be released.

        Args:
            name: the task's name.
            args: its arguments.
            queue: the queue that its workers serve.
            idempotent: it may run twice, so it is sent again when the broker may have lost it.

        Raises BridgeError, ProblemError for a query that cannot work in its database, and Finish when the client
        leaves; the call is cancelled then.
        """
        self.check_wanted()
        started = time.perf_counter()
        call = self.context.tasks.send_task(
            name, args, timeout=self.deadline.remaining(), idempotent=idempotent, encoded=True, client=self.caller,
            queue=queue,
        )  # fmt: skip
        result: Encoded = await self.wait_timed(call, started, lambda: call)
        return result

    async def wait_timed(self, awaitable: Awaitable[T], started: float, sent: Callable[[], Call | None]) -> T:
        """Await what a task answers, and set how long that took.

        Args:
            awaitable: the answer.
            started: when it was asked for, by time.perf_counter().
            sent: the call for it, in the end; None where that is another request's.

        Raises as run_task().
        """
        try:
            with query_problems():
                return await self.wait_for(awaitable)
        finally:
            took = time.perf_counter() - started
            # Milliseconds: https://www.w3.org/TR/server-timing/
            timing = f"bridge;dur={took * 1000:.1f}"
            call = sent()
            # Unless the worker does not report it.
            if (ran := getattr(call, "runtime", None)) is not None:
                timing += f", queue;dur={max(0.0, took - ran) * 1000:.1f}, run;dur={ran * 1000:.1f}"
            self.set_sticky_header("Server-Timing", timing)
            # It names a host: for the demo alone.
            worker = getattr(call, "worker", None) if self.context.demo else None
            if worker is not None and _WORKER.fullmatch(worker):
                self.set_sticky_header("X-Worker", worker)


@contextlib.contextmanager
def query_problems() -> Iterator[None]:
    """Raises ProblemError for the TaskFailed of a query that cannot work in its database, or has lost it."""
    try:
        yield
    except TaskFailed as error:
        if (problem := _PROBLEMS.get(error.exception)) is not None:
            raise ProblemError(problem) from error
        raise
