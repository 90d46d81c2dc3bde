"""The HTTP server, with a bound on its connections.

Tornado's own accepts whatever comes, and where no descriptor is left it tries for ever: all of a core, and megabytes of
log.
"""

import asyncio
import errno
import logging
import select
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from itertools import islice
from typing import Any

from tornado.http1connection import HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream
from tornado.netutil import ssl_wrap_socket

from server.http.connections import Connections
from server.http.opening import Looks, Opening, has_ended
from server.http.proxies import Proxies
from server.http.proxy_protocol import Address, Introduction, ProxyProtocolError
from server.http.request_stream import RequestStream, SecureRequestStream

log = logging.getLogger(__name__)

_AT_ONCE = 16  # connections that are accepted, or closed, before others on the loop have their turn
# Seconds without accepting: after an error, and after some were refused, as those come again at once that flood.
_PAUSE, _REST = 0.2, 0.05
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
# Bytes of answers that the system keeps of each connection, besides those that are on their way: it would take 4 MB.
_UNSENT = 128 * 1024
_SWEEP, _NEXT = 1.0, 0.005  # seconds between two looks for connections that are overdue, and while more of them are


class Listener(HTTPServer):
    """Tornado's server, which accepts by itself.

    Args:
        most: connections that may be open at once. For a further one the one is given up that has waited longest for
            a request; where none has, it is closed itself.
        introduced_by: the balancers that begin each connection with a PROXY header.

    All others are HTTPServer's.
    """

    def initialize(
        self, *args: Any, most: int = 10_000, introduced_by: Proxies = Proxies(), **options: Any
    ) -> None:
        super().initialize(*args, **options)
        self.connections: Connections[IOStream | Introduction | Opening] = Connections(most)
        self._introduced_by = introduced_by
        self._listening: list[socket.socket] = []
        self._timer: asyncio.TimerHandle | None = None
        # By which there is no request yet.
        self._early: set[Introduction | Opening] = set()
        self._closing = False

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on these sockets."""
        self._loop = asyncio.get_running_loop()
        self._looks = Looks()
        for sock in sockets:
            # The connections that are accepted inherit it.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
            self._listening.append(sock)
            self._loop.add_reader(sock, self._accept, sock)
        if self._timer is None:
            self._sweep()

    def stop(self) -> None:
        """Accept no more connections."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for sock in self._listening:
            self._loop.remove_reader(sock)
            sock.close()
        self._listening = []

    async def close_all_connections(self) -> None:
        """Close all that are open. None is served from then on."""
        self._closing = True
        for early in [*self._early]:
            early.close()
        await super().close_all_connections()

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """A connection waits for a request."""
        assert isinstance(server_conn, HTTP1ServerConnection)
        self.connections.waits(server_conn.stream, self._loop.time())
        return _Arrival(super().start_request(server_conn, request_conn), self.connections, server_conn.stream)

    def on_close(self, server_conn: object) -> None:
        """No more requests come by a connection."""
        assert isinstance(server_conn, HTTP1ServerConnection)
        self.connections.ended(server_conn.stream)
        super().on_close(server_conn)

    def _accept(self, sock: socket.socket) -> None:
        refused = False
        for _ in range(_AT_ONCE):
            try:
                connection, address = sock.accept()
            except BlockingIOError:
                break
            except ConnectionError:
                continue  # it was closed before it was accepted
            except OSError as error:
                if error.errno in _NO_DESCRIPTORS:
                    # Linux looks for a descriptor before it looks for a connection.
                    if not _is_ready(sock):
                        break
                    if self._give_up():
                        continue
                log.warning("no connection can be accepted: %s", error.strerror)
                self._pause(sock, _PAUSE)
                return
            if self.connections.full and not self._give_up():
                log.warning("a connection is refused: %d are open", len(self.connections))
                connection.close()
                refused = True
            else:
                self._open(connection, address)
        if refused:
            self._pause(sock, _REST)

    def _open(self, connection: socket.socket, address: Any) -> None:
        connection.setblocking(False)
        if self._introduced_by.trust(address[0]):
            introduction = Introduction(connection)
            self._await(introduction, partial(self._introduced, introduction, address))
        else:
            self._begin(connection, address)

    def _begin(self, connection: socket.socket, address: Any) -> None:
        """A connection is the client's."""
        # Of TLS, nothing is seen before it is read.
        opening = Opening(connection, self._looks) if self.ssl_options is None else None
        if opening is None or opening.closed():
            self._serve(connection, address)
        else:
            self._await(opening, partial(self._begun, opening, address))

    def _await(self, early: Introduction | Opening, then: Callable[[Any], None]) -> None:
        self._early.add(early)
        self.connections.opened(early, self._loop.time())
        early.end.add_done_callback(then)

    def _introduced(self, introduction: Introduction, balancer: Any, end: "asyncio.Task[Address | None]") -> None:
        """A balancer has said whose connection it is, or the connection was given up, or it has ended."""
        if self._goes_on(introduction, end):
            self._begin(introduction.connection, end.result() or balancer)
        elif not end.cancelled() and isinstance(end.exception(), ProxyProtocolError):
            log.warning("a connection of the balancer %s is closed: %s", balancer[0], end.exception())

    def _begun(self, opening: Opening, address: Any, end: "asyncio.Future[None]") -> None:
        """A first request is there, or the connection was given up."""
        if self._goes_on(opening, end):
            self._serve(opening.connection, address)

    def _goes_on(self, early: Introduction | Opening, end: "asyncio.Future[Any]") -> bool:
        """Does a connection go on, now that what was awaited has ended? It is closed otherwise."""
        self._early.discard(early)
        self.connections.ended(early)
        if end.cancelled() or end.exception() is not None or self._closing:
            early.connection.close()
            return False
        return True

    def _serve(self, connection: socket.socket, address: Any) -> None:
        try:
            stream = self._stream(connection)
        except OSError:
            # It was closed meanwhile.
            connection.close()
            return
        self.connections.opened(stream, self._loop.time())
        self.handle_stream(stream, address)

    def _stream(self, connection: socket.socket) -> IOStream:
        context: Any = self.ssl_options
        if context is None:
            return RequestStream(connection, max_buffer_size=self.max_buffer_size)
        wrapped = ssl_wrap_socket(connection, context, server_side=True, do_handshake_on_connect=False)
        assert isinstance(wrapped, ssl.SSLSocket)
        return SecureRequestStream(wrapped, max_buffer_size=self.max_buffer_size)

    def _give_up(self) -> bool:
        """Close the connection that has waited longest for a request. Returns False where none has."""
        stream = self.connections.give_up(self._loop.time())
        if stream is None:
            return False
        log.warning("a connection that waits for a request is given up for another one")
        stream.close()
        return True

    def _pause(self, sock: socket.socket, seconds: float) -> None:
        """Accept nothing for a moment: the socket would be ready again at once."""
        self._loop.remove_reader(sock)
        self._loop.call_later(seconds, self._resume, sock)

    def _resume(self, sock: socket.socket) -> None:
        if sock in self._listening:
            self._loop.add_reader(sock, self._accept, sock)

    def _sweep(self) -> None:
        overdue = [*islice(self.connections.overdue(self._loop.time()), _AT_ONCE)]
        left = [each for each in self.connections.under_way() if isinstance(each, IOStream) and _has_left(each)]
        for stream in overdue + left:
            stream.close()
        self._timer = self._loop.call_later(_SWEEP if len(overdue) < _AT_ONCE else _NEXT, self._sweep)


def _has_left(stream: IOStream) -> bool:
    """Has a client left whom Tornado does not see leave, as bytes of its next request have been read?"""
    return stream._read_buffer_size > 0 and not stream.closed() and has_ended(stream.socket)


def _is_ready(sock: socket.socket) -> bool:
    """Does a connection wait to be accepted?"""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


class _Arrival(HTTPMessageDelegate):
    """Notes how much of a request has come."""

    __slots__ = ("_delegate", "_connections", "_stream")

    def __init__(self, delegate: HTTPMessageDelegate, connections: Connections[Any], stream: IOStream) -> None:
        self._delegate = delegate
        self._connections = connections
        self._stream = stream

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        self._connections.began(self._stream)
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._delegate.data_received(chunk)

    def finish(self) -> None:
        self._connections.got(self._stream)
        self._delegate.finish()

    def on_connection_close(self) -> None:
        self._delegate.on_connection_close()
