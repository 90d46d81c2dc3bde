"""A client that floods a server with requests, `python -m tests.faults.flood PORT PATH SECONDS CONNECTIONS RATE`.

Its key is in the environment. On so many connections it sends one request after the other, and besides so many each
second on connections of their own, whether or not anything is answered. It prints the statuses that it got, as JSON.
"""

import asyncio
import json
import os
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_REFUSED = "none"  # the connection ended without an answer


async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> str:
    """The status of the answer to a request."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(_length(head))
    return head[9:12].decode()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[socket.socket]:
    """A connection without streams: what a flood takes of the machine, the server and the other clients have not."""
    with socket.socket() as connection:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        yield connection


async def ask(connection: socket.socket, request: bytes) -> str:
    """As one()."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, request)
    answer = b""
    while (end := answer.find(b"\r\n\r\n")) < 0 or len(answer) < end + 4 + _length(answer[:end]):
        if not (part := await loop.sock_recv(connection, 65536)):
            raise EOFError
        answer += part
    return answer[9:12].decode()


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)


async def keep_asking(port: int, request: bytes, statuses: Counter[str]) -> None:
    while True:
        try:
            async with connected(port) as connection:
                while True:
                    statuses[await ask(connection, request)] += 1
        except (OSError, EOFError):
            statuses[_REFUSED] += 1


async def ask_once(port: int, request: bytes, statuses: Counter[str]) -> None:
    try:
        async with connected(port) as connection:
            statuses[await ask(connection, request)] += 1
    except (OSError, EOFError):
        statuses[_REFUSED] += 1


async def main(port: int, path: str, seconds: float, connections: int, rate: float) -> None:
    """Flood for so many seconds."""
    key = os.environ["KEY"]
    request = f"GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    statuses: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    tasks = {asyncio.create_task(keep_asking(port, request, statuses)) for _ in range(connections)}
    begun = loop.time()
    sent = 0
    while (now := loop.time()) < begun + seconds:
        while sent < (now - begun) * rate:
            sent += 1
            tasks.add(asyncio.create_task(ask_once(port, request, statuses)))
        await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    print(json.dumps(statuses))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])))
