"""Answers that are written while a worker still runs."""

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from tornado.web import Finish

from nowait.errors import BridgeError, DeadlineExceeded
from server.http.handler import one_line
from server.http.tasks import TaskHandler, broken_queries

log = logging.getLogger(__name__)


class StreamHandler(TaskHandler):
    """Base of the routes that stream."""

    async def stream_task(self, name: str, args: list[Any], *, queue: str, content_type: str) -> None:
        """Answer with what a task writes, part by part.

        Nothing is written before the first part: until then, an error is answered as any other is. Behind that it ends
        the connection without the end of the answer, so that no client takes a part of it for the whole. The next part
        is taken from the worker once the client has taken the last.

        Args:
            name: the task's name.
            args: its arguments.
            queue: the queue that its workers serve.
            content_type: of the answer.

        Raises BridgeError, ProblemError for a query that cannot work in its database, and Finish when the client
        leaves, or takes too long, or the stream breaks off.
        """
        self.check_wanted()
        parts = self.context.tasks.stream(name, args, timeout=self.context.stream_timeout, queue=queue)
        async with aclosing(parts):
            try:
                with broken_queries():
                    part = await self.wait_for(asyncio.wait_for(_next(parts), self.deadline.remaining()))
            except (TimeoutError, asyncio.TimeoutError) as error:
                raise DeadlineExceeded("there was no part in time") from error
            self.set_header("Content-Type", content_type)
            try:
                # An answer without rows begins, too; HEAD gets the beginning alone.
                await self._write(part or b"")
                while part is not None and self.request.method != "HEAD":
                    part = await self.wait_for(_next(parts))
                    await self._write(part or b"")
            except BridgeError as error:
                self._break_off(error)
                raise Finish() from None
        await self._taken(self.finish())

    async def _write(self, part: bytes) -> None:
        self.write(part)
        await self._taken(self.flush())

    def _break_off(self, error: BridgeError) -> None:
        """End the connection in the middle of the answer."""
        log.error("request %s: its stream broke off: %s: %s", self.request_id, type(error).__name__, one_line(error))
        self.set_status(error.status)  # for the log
        connection: Any = self.request.connection
        if self.request.version == "HTTP/1.0":
            # Its end is that of the connection: only a reset shows that there was to be more.
            connection.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.stream.close()


async def _next(parts: AsyncGenerator[bytes, None]) -> bytes | None:
    """The next part; None at the end."""
    try:
        return await anext(parts)
    except StopAsyncIteration:
        return None
