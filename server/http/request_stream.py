"""A connection of which small pieces are left with the system until there is enough of them: SO_RCVLOWAT, socket(7)."""

import asyncio
import socket
from collections.abc import Awaitable
from typing import Any

from tornado.iostream import IOStream

_MOST = 64 * 1024  # bytes, as many as are read at a time


class RequestStream(IOStream):
    """Tornado's stream, to which a body of single bytes is one event, not one for each of them.

    All arguments are IOStream's.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._awaited = 1  # bytes: with fewer of them, nothing is to be read

    def read_bytes(self, num_bytes: int, partial: bool = False) -> Awaitable[bytes]:
        """As IOStream; with `partial`, what has not begun to come is read when all of it has, or the end."""
        if not partial:
            self._await(1)
        read = super().read_bytes(num_bytes, partial)
        assert isinstance(read, asyncio.Future)
        if partial and not read.done():
            self._await(min(num_bytes, _MOST))
        return read

    def read_until(self, delimiter: bytes, max_bytes: int | None = None) -> Awaitable[bytes]:
        """As IOStream."""
        self._await(1)
        return super().read_until(delimiter, max_bytes)

    def read_until_regex(self, regex: bytes, max_bytes: int | None = None) -> Awaitable[bytes]:
        """As IOStream."""
        self._await(1)
        return super().read_until_regex(regex, max_bytes)

    def _await(self, size: int) -> None:
        if size != self._awaited and not self.closed():
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
            self._awaited = size
