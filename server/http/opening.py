"""The headers of a connection's first request, before anything of it is read.

With thousands of connections by which a byte comes now and then, there would be a stream for each of them, and an event
for each byte.
"""

import asyncio
import socket

_SHORTEST, _LONGEST = 0.005, 1.0  # seconds from one look to the next: as many as it has taken so far, within these
_MOST = 16 * 1024  # bytes that are looked at; with more of them, they are read
_ESTABLISHED = b"\x01"  # the first field of TCP_INFO, tcp(7)
_ROOM = bytearray(_MOST)  # of one look


class Opening:
    """Waits until the headers of a first request are there. Nothing of it is read. Created on a running loop.

    Args:
        connection: has been accepted, and does not block; nothing of it was read. It is whose the opening is until the
            end of that.

    Attributes:
        connection: as given.
        end: awaits that there is something to read: the headers, the end, or more than is looked at here. It may be
            done from the beginning.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._loop = asyncio.get_running_loop()
        self.end: asyncio.Future[None] = self._loop.create_future()
        self._since = self._loop.time()
        self._seen = 0  # bytes
        self._next: asyncio.TimerHandle | None = None
        self._look()

    def closed(self) -> bool:
        """They have come, or never will."""
        return self.end.done()

    def close(self) -> None:
        """Wait for them no more: `end` is cancelled."""
        if self._next is None:
            self._loop.remove_reader(self.connection)
        else:
            self._next.cancel()
        self.end.cancel()

    def _look(self) -> None:
        """What was looked at remains there, so that it has to be looked at by the clock, once there is something."""
        try:
            size = self.connection.recv_into(_ROOM, _MOST, socket.MSG_PEEK)
        except BlockingIOError:
            self._loop.add_reader(self.connection, self._begin)
            return
        except OSError:
            size = 0  # who reads it finds out
        if size in (0, _MOST) or _has_headers(size, self._seen) or self._has_ended():
            self.end.set_result(None)
            return
        self._seen = size
        delay = min(max(_SHORTEST, self._loop.time() - self._since), _LONGEST)
        self._next = self._loop.call_later(delay, self._look)

    def _begin(self) -> None:
        self._loop.remove_reader(self.connection)
        self._look()

    def _has_ended(self) -> bool:
        """The client sends nothing more. What it has sent before would be seen until it is read."""
        return self.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) != _ESTABLISHED


def _has_headers(size: int, seen: int) -> bool:
    """Do the first bytes of the room end headers? There was no end among those that were seen before."""
    start = max(0, seen - 2)
    return _ROOM.find(b"\n\r\n", start, size) >= 0 or _ROOM.find(b"\n\n", start, size) >= 0
