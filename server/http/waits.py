"""Handlers that wait: for what they answer with, and for the client that reads it."""

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable
from copy import copy
from typing import Any, TypeVar

from tornado.web import Finish

from nowait.messages.encoded import Encoded
from server.http.context import Context
from server.http.page_origins import OriginHandler

log = logging.getLogger(__name__)

_PART = 256 * 1024  # bytes of a body that are written at a time
_COPIED = 16 * 1024  # bytes of one that several clients get that are copied for each, as that is less work
_READ_TIMEOUT = 10.0  # seconds in which a client has to take a part, or the end, of an answer

T = TypeVar("T")


class WaitingHandler(OriginHandler):
    """The base of BaseHandler: each of its waits ends when the client leaves.

    Attributes:
        request_id: names the request in the log.
    """

    request_id: str

    def initialize(self, context: Context) -> None:
        super().initialize(context)
        self._ended_by: Exception | None = None
        self._abandoned_by: Exception | None = None  # once it waits again
        self._awaited: asyncio.Future[Any] | None = None

    async def wait_for(self, awaitable: Awaitable[T]) -> T:
        """Await something of the request; every wait of a handler goes through this.

        Raises Finish when the client leaves meanwhile, and the error of abandon(); what was awaited
        is cancelled then.
        """
        awaited = asyncio.ensure_future(awaitable)
        if not self._headers_written:
            self._ended_by = self._ended_by or self._abandoned_by
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
        connection: Any = self.request.connection
        # Where it has left before Tornado listens for that, nobody says so.
        if self._ended_by is None and not self._finished and connection.stream.closed():
            self._ended_by = Finish()
        if self._ended_by is not None:
            # Another one, as what has been raised knows all frames that it went through, and the handler would know it.
            raise copy(self._ended_by) from None

    def abandon(self, error: Exception) -> None:
        """End what the handler waits for; it raises `error` there. An answer that is being written goes on.

        Where it has come, and the handler has not had its turn since, that may write it, and waits for nothing more.
        """
        if self._headers_written:
            return
        if self._awaited is not None and self._awaited.done():
            self._abandoned_by = error
        else:
            self._end(error)

    def _end(self, error: Exception) -> None:
        self._ended_by = self._ended_by or error
        if self._awaited is not None:
            self._awaited.cancel()

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self._end(Finish())

    def finish(self, chunk: Any = None) -> "asyncio.Future[None]":
        """End the answer, whose client has a time to take the rest of it."""
        written = super().finish(chunk)
        if not written.done():
            timer = asyncio.get_running_loop().call_later(_READ_TIMEOUT, self._close)
            written.add_done_callback(lambda _: timer.cancel())
        return written

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
        if len(data) <= _COPIED:
            self.write(bytes(data))
            await self._taken(self.flush())
            return
        for at in range(0, len(data), _PART):
            # Hundreds of clients that get one answer are all ready for its parts at once.
            async with self.context.turns:
                self.check_wanted()
                self.write(bytes(data if len(data) <= _PART else memoryview(data)[at : at + _PART]))
                written = self.flush()
                await asyncio.sleep(0)
            await self._taken(written)

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
        log.warning("request %s: its client does not read the answer", self.request_id)
        # Otherwise the system would keep megabytes of it, and wait for minutes.
        self.break_off(reset=True)

    def begin_without_length(self, content_type: str) -> None:
        """The answer is of that type, and comes in parts. In HTTP/1.0, its end is that of the connection."""
        self.set_header("Content-Type", content_type)
        if self.request.version == "HTTP/1.0":
            self.close_behind()

    def close_behind(self) -> None:
        """Have the connection end with the answer, none of which is written yet."""
        connection: Any = self.request.connection
        connection._disconnect_on_finish = True
        if self.request.version == "HTTP/1.0":
            # Tornado would have the answer say the same as the request.
            self.request.headers.pop("Connection", None)

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
