"""PyMySQL with one end to all of its waiting.

Its own time-outs are of one recv() each: the steps of a login, or an answer that trickles, may take any multiple
of them. Here each wait lasts until the deadline of what its thread is doing, at most. Only names are resolved by
the system in its own time (resolv.conf(5)).
"""

import contextlib
import math
import select
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pymysql
from pymysql.constants import CR, FIELD_TYPE
from pymysql.converters import conversions

# Errors of the server behind which it ends the connection, at once or in a moment: it stops, the connection was killed,
# or was idle for too long. https://mariadb.com/kb/en/mariadb-error-code-reference/
LAST = {1053, 1927, 4031}
_LOGIN_TIMEOUT = 10.0  # seconds from the first packet to a connection that can be used
_LAST_RESORT = 300.0  # seconds that one wait may take where there is no deadline
_PRECISION = 0.02  # seconds that a wait may take too long
_SRID_SIZE = 4  # bytes in front of a geometry's WKB, as databases keep it
_CONVERSIONS = {**conversions, FIELD_TYPE.GEOMETRY: lambda value: value[_SRID_SIZE:]}

_deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)


@contextmanager
def until(deadline: float) -> Iterator[None]:
    """End all waiting for a database in this block at `deadline`, by time.monotonic(), or at that of a block around it.

    What waits then fails as with a lost connection.
    """
    token = _deadline.set(min(deadline, _deadline.get()))
    try:
        yield
    finally:
        _deadline.reset(token)


def remaining() -> float:
    """Seconds that a wait may take now; 0 for none."""
    return min(max(0.0, _deadline.get() - time.monotonic()), _LAST_RESORT)


def connect(buffer: int | None, **options: Any) -> Any:
    """A connection, as pymysql.connect(), with geometries as WKB; it takes 10 s at most.

    Args:
        buffer: bytes that are read at a time, where there are as many, and that the connection has for as long as it
            lives; None for PyMySQL's own 8 KiB.
        options: for PyMySQL.
    """
    with until(time.monotonic() + _LOGIN_TIMEOUT):
        connection: Any = _Connection(**options, conv=_CONVERSIONS, defer_connect=True)
        if connection.ssl:
            connection.ctx.sslsocket_class = _TLSSocket
        try:
            addresses = socket.getaddrinfo(options["host"], options["port"], type=socket.SOCK_STREAM)
            # create_connection() gives each address as long.
            seconds = max(0.001, remaining() / len(addresses))
            opened = socket.create_connection((options["host"], options["port"]), seconds)
        except OSError as error:
            raise pymysql.err.OperationalError(CR.CR_CONN_HOST_ERROR, f"cannot connect: {error}") from error
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.connect(_Socket(fileno=opened.detach()))
        if buffer is not None:
            connection.read_at_once(buffer)
    return connection


_PyMySQL: Any = pymysql.connections.Connection


class _Connection(_PyMySQL):  # type: ignore[misc]
    """A connection whose results are `tasks.result`'s, and that reads nothing more of one once it is closed."""

    _next_seq_id: int
    _rfile: Any

    @property
    def usable(self) -> bool:
        """False once it is closed, or a result has not been read to its end."""
        return self.open and not self.reading

    @property
    def reading(self) -> bool:
        """Whether rows or results of its last statement are still to be read: another one would drop them."""
        return self._result is not None and bool(self._result.unbuffered_active or self._result.has_next)

    def finish(self) -> None:
        """Read what a procedure gives behind a result that has been read to its end, and drop it.

        Raises pymysql.err.MySQLError for what fails there.
        """
        try:
            while self.reading:
                self.next_result(unbuffered=True)
                result = self._result
                while result.unbuffered_active:
                    if result._check_packet_is_eof(self._read_packet()):
                        result.unbuffered_active, result.connection = False, None
        except pymysql.err.MySQLError:
            raise
        except BaseException:
            self._force_close()
            raise

    @property
    def lost(self) -> bool:
        """Whether the database has ended it, as far as this machine has heard of it; it says nothing else unasked."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))

    def read_at_once(self, size: int) -> None:
        """From now on so many bytes, where there are as many. To be called while nothing is read."""
        self._rfile.close()
        self._rfile = self._sock.makefile("rb", size)

    def arrived(self) -> bytes:
        """What there is to be read; waits until there is something, b"" for the end. It remains there."""
        try:
            data: bytes = self._rfile.peek()
        except OSError as error:
            self._force_close()
            raise pymysql.err.OperationalError(CR.CR_SERVER_LOST, f"lost while rows were read: {error}") from error
        except BaseException:
            self._force_close()
            raise
        return data

    def skip(self, size: int, packets: int) -> None:
        """Read so many bytes, which are so many packets."""
        self._read_bytes(size)
        self._next_seq_id = (self._next_seq_id + packets) % 256

    def hang_up(self) -> None:
        """End what another thread waits for on it: that one finds the connection lost."""
        opened = self._sock
        if opened is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(opened, socket.SHUT_RDWR)

    def close(self) -> None:
        """Also once it is closed."""
        if not self._closed:
            super().close()

    def _read_packet(self, *arguments: Any) -> Any:
        try:
            return super()._read_packet(*arguments)
        except pymysql.err.MySQLError as error:
            if error.args[0] in LAST:
                self._force_close()
            raise

    def _force_close(self) -> None:
        if self._result is not None:
            self._result.unbuffered_active = False
        super()._force_close()


class _Bounded:
    """What PyMySQL waits in, by itself or by a buffered reader.

    Its timeout is not set each time, as settimeout() lets go of the GIL, for which 50 threads may stand in line.
    """

    _set_for = 0.0  # the deadline that the timeout was last set for
    _good_until = 0.0  # when it has to be set again

    def recv_into(self, *arguments: Any) -> Any:
        self._limit()
        return super().recv_into(*arguments)  # type: ignore[misc]

    def sendall(self, *arguments: Any) -> Any:
        self._limit()
        return super().sendall(*arguments)  # type: ignore[misc]

    def _limit(self: Any) -> None:
        if time.monotonic() > self._good_until or _deadline.get() != self._set_for:
            seconds = remaining()
            if not seconds:
                raise TimeoutError("the deadline has passed")
            self.settimeout(seconds)
            self._set_for, self._good_until = _deadline.get(), time.monotonic() + _PRECISION


class _Socket(_Bounded, socket.socket):
    """A TCP socket."""


class _TLSSocket(_Bounded, ssl.SSLSocket):
    """The same with TLS; its handshake takes the timeout of the packet before it."""
