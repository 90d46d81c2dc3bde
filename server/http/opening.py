"""The headers of a connection's first request, before anything of it is read.

With thousands of connections by which a byte comes now and then, there would be a stream for each of them, and an event
for each byte.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable

_LONGEST = 1.0  # seconds from one look to the next: as many as have passed since the first byte, no more than these
_SHARED = 0.01  # seconds, whose looks have one timer
_AT_ONCE = 16  # looks that are taken before others on the loop have their turn
_MOST = 16 * 1024  # bytes that are looked at; with more of them, they are read
_ESTABLISHED = b"\x01"  # the first field of TCP_INFO, tcp(7)


def has_ended(connection: socket.socket) -> bool:
    """The client sends nothing more. What it has sent before, and was not read, does not show that."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) != _ESTABLISHED


class Looks:
    """What is looked at again, of thousands of connections: at moments that many of them share, each with one timer.

    Created on a running loop.

    Attributes:
        room: what one look sees is put there.
    """

    def __init__(self) -> None:
        self.room = bytearray(_MOST)
        self._loop = asyncio.get_running_loop()
        self._due: dict[int, list[Callable[[], None]]] = {}
        self._now: deque[Callable[[], None]] = deque()

    def later(self, seconds: float, look: Callable[[], None]) -> None:
        """Look again after so many seconds, and up to 10 ms more."""
        moment = int((self._loop.time() + seconds) / _SHARED) + 1
        if moment not in self._due:
            self._due[moment] = []
            self._loop.call_at(moment * _SHARED, self._look, moment)
        self._due[moment].append(look)

    def _look(self, moment: int) -> None:
        if not self._now:
            self._loop.call_soon(self._take)
        self._now.extend(self._due.pop(moment))

    def _take(self) -> None:
        looks = [self._now.popleft() for _ in range(min(_AT_ONCE, len(self._now)))]
        if self._now:
            self._loop.call_soon(self._take)
        for look in looks:
            look()


class Opening:
    """Waits until the headers of a first request are there. Nothing of it is read. Created on a running loop.

    Args:
        connection: has been accepted, and does not block; nothing of it was read.
        looks: the loop's.

    Attributes:
        connection: as given.
        end: awaits that there is something to read: the headers, the end, or more than is looked at here. It may be
            done from the beginning.
    """

    def __init__(self, connection: socket.socket, looks: Looks) -> None:
        self.connection = connection
        self._looks = looks
        self._loop = asyncio.get_running_loop()
        self.end: asyncio.Future[None] = self._loop.create_future()
        self._seen = 0  # bytes
        self._since = 0.0  # when the first of them was there
        self._look()

    def closed(self) -> bool:
        """They have come, or never will."""
        return self.end.done()

    def close(self) -> None:
        """Close the connection, at once, as its descriptor may be wanted for another one; `end` is cancelled."""
        if self.connection.fileno() >= 0:
            self._loop.remove_reader(self.connection)
            self.connection.close()
            self.end.cancel()

    def _look(self) -> None:
        if self.end.done():
            return
        try:
            size = self.connection.recv_into(self._looks.room, _MOST, socket.MSG_PEEK)
        except BlockingIOError:
            self._loop.add_reader(self.connection, self._came)
            return
        except OSError:
            size = 0  # who reads it finds out
        if size in (0, _MOST) or self._is_whole(size) or size == self._seen and has_ended(self.connection):
            if self._seen:
                self._await(1)
            self.end.set_result(None)
            return
        if self._seen:
            self._looks.later(min(self._loop.time() - self._since, _LONGEST), self._look)
        else:
            # The second piece, which mostly is the last one, by an event. What was looked at remains there: there is to
            # be more.
            self._since = self._loop.time()
            self._await(size + 1)
            self._loop.add_reader(self.connection, self._came)
        self._seen = size

    def _came(self) -> None:
        self._loop.remove_reader(self.connection)
        self._look()

    def _await(self, size: int) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)

    def _is_whole(self, size: int) -> bool:
        """Is the end of the headers among these bytes? It was not among those that were seen before."""
        room, start = self._looks.room, max(0, self._seen - 2)
        return room.find(b"\n\r\n", start, size) >= 0 or room.find(b"\n\n", start, size) >= 0
