"""The handlers that a worker answers."""

import asyncio
import time
from typing import Any, Protocol

from server.http.access_log import server_timing
from server.http.handler import BaseHandler, Context


class Tasks(Protocol):
    """What handlers know of the bridge."""

    @property
    def state(self) -> str:
        """ "connected" when calls are taken."""

    def send_task(
        self, name: str, args: list[Any] | None = None, *, timeout: float | None, idempotent: bool, queue: str
    ) -> "asyncio.Future[Any]":
        """Send a task; the future fails with a BridgeError."""


class TaskHandler(BaseHandler):
    """Base of the routes that a worker answers."""

    def initialize(self, context: Context, tasks: Tasks | None = None) -> None:
        super().initialize(context)
        assert tasks is not None
        self._tasks = tasks

    async def run_task(self, name: str, args: list[Any], *, queue: str, idempotent: bool) -> Any:
        """What the task returns.

        Args:
            name: the task's name.
            args: its arguments.
            queue: the queue that its workers serve.
            idempotent: it may run twice, so it is sent again when the broker may have lost it.

        Raises BridgeError, and Finish when the client leaves; the call is cancelled then.
        """
        self.check_wanted()
        started = time.perf_counter()
        call = self._tasks.send_task(
            name, args, timeout=self.deadline.remaining(), idempotent=idempotent, queue=queue
        )
        try:
            return await self.wait_for(call)
        finally:
            timing = server_timing(time.perf_counter() - started, getattr(call, "runtime", None))
            self.set_sticky_header("Server-Timing", timing)
