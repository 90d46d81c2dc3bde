"""Answers that are written while a worker still runs."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from tornado.web import Finish

from nowait.errors import BridgeError, DeadlineExceeded, OutcomeUnknown, Stopped
from server.http.handler import one_line
from server.http.tasks import TaskHandler, query_problems
from server.keys.quota import STREAMS

log = logging.getLogger(__name__)


class StreamHandler(TaskHandler):
    """Base of the routes that stream, or may."""

    _streams = False

    async def stream_task(
        self, name: str, args: list[Any], *, queue: str, content_type: str, idempotent: bool
    ) -> None:
        """Answer with what a task writes, part by part.

        Nothing is written before the first part: until then, an error is answered as any other is. Behind that it ends
        the connection without the end of the answer, so that no client takes a part of it for the whole. The next part
        is taken from the worker once the client has taken the last.

        Args:
            name: the task's name.
            args: its arguments.
            queue: the queue that its workers serve.
            content_type: of the answer.
            idempotent: it may run twice, so that its client may ask another server where this one stops.

        Raises BridgeError, ProblemError for a query that cannot work in its database or has lost it, and Finish when
        the client leaves, or takes too long, or the stream breaks off.
        """
        self.check_wanted()
        self._streams = True
        async with self.counted_as(STREAMS):
            try:
                await self._stream(name, args, queue, content_type)
            except OutcomeUnknown as error:
                if idempotent and self.context.in_flight.stopping:
                    raise Stopped("the server is stopping") from error
                raise
        await self._taken(self.finish())

    async def _stream(self, name: str, args: list[Any], queue: str, content_type: str) -> None:
        parts = self.context.tasks.stream(
            name, args, timeout=self.context.stream_timeout, client=self.caller, queue=queue
        )
        async with aclosing(parts):
            try:
                with query_problems():
                    part = await self.wait_for(asyncio.wait_for(_next(parts), self.deadline.remaining()))
            except (TimeoutError, asyncio.TimeoutError) as error:
                raise DeadlineExceeded("there was no part in time") from error
            self.begin_without_length(content_type)
            try:
                # An answer without rows begins, too; HEAD gets the beginning alone.
                await self._write(part or b"")
                while part is not None and self.request.method != "HEAD":
                    part = await self.wait_for(_next(parts))
                    await self._write(part or b"")
            except Finish:
                raise
            except Exception as error:
                # Tornado would write the end of the answer, whatever it was.
                self._broke_off(error)
                raise Finish() from None
            except asyncio.CancelledError:
                self.break_off()
                raise

    def abandon(self, error: Exception) -> None:
        """End the stream, wherever it is; an answer whose end is being written goes on, as any that is no stream."""
        if not self._streams:
            super().abandon(error)
        elif not self._finished:
            self._end(error)

    async def _write(self, part: bytes) -> None:
        self.write(part)
        await self._taken(self.flush())

    def _broke_off(self, error: Exception) -> None:
        """Break the answer off, and log why."""
        expected = isinstance(error, BridgeError)
        text = f"request {self.request_id}: its stream broke off: {type(error).__name__}: {one_line(error)}"
        log.error("%s", text, exc_info=None if expected else error)
        self.set_status(error.status if isinstance(error, BridgeError) else 500)  # for the log
        self.break_off()


async def _next(parts: AsyncGenerator[bytes, None]) -> bytes | None:
    """The next part; None at the end."""
    try:
        return await anext(parts)
    except StopAsyncIteration:
        return None
