"""Connections by which requests come in small pieces: what has come is not looked through again for each of them."""

import asyncio
import socket
from collections.abc import Awaitable
from typing import Any

from tornado.iostream import BaseIOStream, IOStream, SSLIOStream, UnsatisfiableReadError

from server.http.limits import MAX_HEADER_LINES

_MOST = 64 * 1024  # bytes, as many as are read at a time
_END = 4  # bytes that the end of the headers has, at most


class _Headers(BaseIOStream):
    """Searches for the end of the headers in what is new, where Tornado's would in all that has come."""

    _searched = 0  # bytes of the buffer, from its beginning

    def read_until_regex(self, regex: bytes, max_bytes: int | None = None) -> Awaitable[bytes]:
        """As IOStream, for the end of headers; they have so many lines at most."""
        self._searched = 0
        return super().read_until_regex(regex, max_bytes)

    def _find_read_pos(self) -> int | None:
        if self._read_regex is None:
            return super()._find_read_pos()
        buffer, start = self._read_buffer, max(0, self._searched - _END + 1)
        found = self._read_regex.search(buffer, start)
        self._searched = len(buffer)
        self._check_max_bytes(self._read_regex, self._read_buffer_size if found is None else found.end())
        if found is None:
            return None
        if buffer.count(b"\n", 0, found.end()) > MAX_HEADER_LINES:
            raise UnsatisfiableReadError(f"headers of more than {MAX_HEADER_LINES} lines")
        return found.end()


class SecureRequestStream(_Headers, SSLIOStream):
    """Tornado's stream of TLS."""


class RequestStream(_Headers, IOStream):
    """Tornado's stream, to which a body of single bytes is one event, not one for each of them.

    Small pieces are left with the system until there is enough of them: SO_RCVLOWAT, socket(7). All arguments are
    IOStream's.
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
