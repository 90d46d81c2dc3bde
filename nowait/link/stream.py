"""A connected socket on the event loop: bytes in, bytes out, never a wait.

asyncio's own transports do not take a TLS socket whose handshake is done, and kombu makes just
those; this serves plain and TLS sockets alike.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable

_READ_SIZE = 256 * 1024
_READS_PER_TICK = 16  # TLS hands out 16 KiB at a time; others on the loop want their turn
_WOULD_BLOCK = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Stream:
    """Owns `sock` from here on.

    Args:
        sock: connected, after any TLS handshake.
        on_data: called with the bytes of each read.
        on_lost: called once, with the reason, when the connection ends without close().
    """

    def __init__(
        self, sock: socket.socket, on_data: Callable[[bytes], None], on_lost: Callable[[Exception], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._on_data = on_data
        self._on_lost = on_lost
        self._unsent = bytearray()
        self._flushing = False  # _flush will be called
        self._full = False  # the socket takes nothing for now, and the loop looks when it does
        self._open = True
        self._patience = _user_timeout(sock)
        sock.setblocking(False)
        self._loop.add_reader(sock, self._readable)

    def write(self, data: bytes) -> None:
        """Queue bytes; all of one tick of the loop leave together. Nothing happens once closed."""
        if not self._open:
            return
        self._unsent += data
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def be_patient(self, patient: bool) -> None:
        """While it is, a peer that takes nothing is not lost, however long: TCP_USER_TIMEOUT, tcp(7)."""
        if not self._open or self._patience is None:
            return
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 0 if patient else self._patience)

    def close(self) -> None:
        """Close at once; on_lost is not called."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._sock)
        if self._full:
            self._loop.remove_writer(self._sock)
        self._sock.close()

    @property
    def unsent(self) -> int:
        """Bytes written that the socket has not taken yet."""
        return len(self._unsent)

    def _lose(self, error: Exception) -> None:
        if self._open:
            self.close()
            self._on_lost(error)

    def _readable(self) -> None:
        for _ in range(_READS_PER_TICK):
            if not self._open:
                return
            try:
                data = self._sock.recv(_READ_SIZE)
            except _WOULD_BLOCK:
                return
            except OSError as error:
                self._lose(error)
                return
            if not data:
                self._lose(ConnectionResetError("the broker closed the connection"))
                return
            self._on_data(data)
            if not isinstance(self._sock, ssl.SSLSocket):
                return
            if self._open and not self._sock.pending():
                return
        # Bytes that TLS has decrypted already do not make the socket readable again.
        self._loop.call_soon(self._readable)

    def _flush(self) -> None:
        if not self._open:
            return
        while self._unsent:
            try:
                sent = self._sock.send(self._unsent)
            except _WOULD_BLOCK:
                if not self._full:
                    self._full = True
                    self._loop.add_writer(self._sock, self._flush)
                return
            except OSError as error:
                self._lose(error)
                return
            del self._unsent[:sent]
        self._flushing = False
        if self._full:
            self._full = False
            self._loop.remove_writer(self._sock)


def _user_timeout(sock: socket.socket) -> int | None:
    """Milliseconds in which its peer has to take what was sent, 0 for any time; None where that cannot be set."""
    if not hasattr(socket, "TCP_USER_TIMEOUT") or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
