"""Clients that take their time, `python -m tests.faults.slow PORT PATH HEADERS BODIES READERS`.

So many send the headers of a request, and so many its body, a byte a second; and so many do not read the answer to a
GET of the path. A line "open" is printed once all are there. At the end of standard input, what became of the first two
is printed as JSON: how many were closed by the server, and the longest that one was open, in seconds.
"""

import asyncio
import json
import resource
import socket
import sys
import time

_AT_ONCE = 100  # connections that are opened at once
_HEADERS = b"GET /i_want_you_now HTTP/1.1\r\nHost: h\r\nX-Padding: "
_BODIES = b"POST /topics/news HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
_BUFFER = 4096  # bytes, of those that do not read


class Dripping(asyncio.Protocol):
    """A connection by which more of a request comes a byte a second.

    Attributes:
        opened, closed: when; `closed` is None while it is open.
    """

    def __init__(self, start: bytes) -> None:
        self._start = start
        self.opened = 0.0
        self.closed: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport
        self.opened = time.monotonic()
        transport.write(self._start)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = time.monotonic()


async def opened(port: int, start: bytes, number: int) -> list[Dripping]:
    loop = asyncio.get_running_loop()
    made: list[Dripping] = []
    for at in range(0, number, _AT_ONCE):
        connections = [
            loop.create_connection(lambda: Dripping(start), "127.0.0.1", port)
            for _ in range(min(_AT_ONCE, number - at))
        ]
        made += [protocol for _, protocol in await asyncio.gather(*connections)]
    return made


async def drip(connections: list[Dripping]) -> None:
    """A byte a second for each, evenly in time."""
    loop = asyncio.get_running_loop()
    begun, number = loop.time(), 0
    while True:
        due = int((loop.time() - begun) * len(connections))
        for number in range(number, due):
            each = connections[number % len(connections)]
            if each.closed is None:
                each.transport.write(b"x")
        number = max(number, due)
        await asyncio.sleep(0.01)


def reading_nothing(port: int, path: str) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    sock.connect(("127.0.0.1", port))
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    return sock


def became(connections: list[Dripping]) -> dict[str, float]:
    closed = [each.closed - each.opened for each in connections if each.closed is not None]
    return {"closed": len(closed), "longest": max(closed, default=0.0)}


async def main(port: int, path: str, headers: int, bodies: int, readers: int) -> None:
    """Until the end of standard input."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)
    writing = [await opened(port, start, number) for start, number in ((_HEADERS, headers), (_BODIES, bodies))]
    dripping = asyncio.ensure_future(drip(sum(writing, [])))
    socks = [reading_nothing(port, path) for _ in range(readers)]
    print("open", flush=True)
    await ended.wait()
    dripping.cancel()
    print(json.dumps([became(each) for each in writing]), flush=True)
    for sock in socks:
        sock.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])))
