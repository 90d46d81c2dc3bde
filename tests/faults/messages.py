"""A broker and two servers of topics and queues that tests may kill, and raw clients of them."""

import asyncio
import contextlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deploy.local.broker import Broker
from deploy.local.process import Process, free_port
from tests.conftest import Start, ready

_EVENT = re.compile(rb'id: (\d+)\n(?:event: (\w+)\n)?(?:data: .*?"data": (\d+)\}\n)?\n|event: gap\n')
_PAUSE = 0.3  # seconds after which a client whose stream has ended comes again


class Servers:
    """Two servers of one broker, each on a port of its own that it keeps.

    Args:
        start: starts programs.
        settings: of both.
    """

    def __init__(self, start: Start, **settings: Any) -> None:
        self._start = start
        self._settings = settings
        self.ports = [free_port(), free_port()]
        self._processes: list[Process] = [self._run(port) for port in self.ports]

    def _run(self, port: int) -> Process:
        return self._start("server", "server", port=port, **self._settings)

    def wait_ready(self) -> None:
        """Return once both are ready."""
        for process, port in zip(self._processes, self.ports):
            ready(process, port)

    def kill(self, index: int) -> None:
        """SIGKILL."""
        self._processes[index].kill()

    def restart(self, index: int) -> None:
        """Start it again."""
        self._processes[index] = self._run(self.ports[index])

    def stop(self) -> None:
        """End both at once."""
        for process in self._processes:
            process.kill()


@contextmanager
def servers(start: Start, broker: Broker, database_url: str, **settings: Any) -> Iterator[Servers]:
    """Both servers, ready."""
    running = Servers(start, broker_url=broker.url, database_url=database_url, log_level="warning", **settings)
    try:
        running.wait_ready()
        yield running
    finally:
        running.stop()


class Subscriber:
    """Follows the topic `news` as an EventSource does, on any of the servers, until it is stopped.

    Attributes:
        numbers: of the messages that it has got, in order.
        notices: events that are no messages.
        comes: how often it has come.
    """

    def __init__(self, ports: list[int]) -> None:
        self._ports = ports
        self.numbers: list[int] = []
        self.notices: list[bytes] = []
        self.comes = 0
        self.began = asyncio.Event()
        self._last_id: bytes | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._task = asyncio.create_task(self._follow())

    def __repr__(self) -> str:
        last = self._last_id.decode() if self._last_id is not None else None
        return f"<Subscriber {id(self):x}, came {self.comes} times, {len(self.numbers)} messages, last id {last}>"

    def leave(self) -> None:
        """Hang up; it comes again by itself."""
        if self._writer is not None:
            self._writer.transport.abort()

    def stop(self) -> None:
        self._task.cancel()

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._stream()
            await asyncio.sleep(_PAUSE * random.uniform(0.5, 1.5))

    async def _stream(self) -> None:
        reader, self._writer = await asyncio.open_connection("127.0.0.1", random.choice(self._ports))
        resume = b"" if self._last_id is None else b"Last-Event-ID: %s\r\n" % self._last_id
        try:
            self._writer.write(b"GET /topics/news/events HTTP/1.0\r\nHost: localhost\r\n%s\r\n" % resume)
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head:
                return
            self.comes += 1
            rest = b""
            while data := await reader.read(1 << 16):
                rest = self._take(rest + data)
        finally:
            self._writer.transport.abort()

    def _take(self, data: bytes) -> bytes:
        """Read whole events; returns what is left."""
        whole, separator, rest = data.rpartition(b"\n\n")
        for match in _EVENT.finditer(whole + separator):
            offset, kind, number = match.groups()
            if offset is None or kind is not None:
                self.notices.append(match.group())
            if number is not None:
                self.numbers.append(int(number))
            if offset is not None:
                self._last_id = offset
                self.began.set()
        return rest


class Publisher:
    """Posts numbered messages, over connections that it keeps.

    Attributes:
        confirmed: the numbers that were taken.
        unknown: those of which nobody can say: they are not sent again.
        retried: how often one was refused, and sent again.
        statuses: how often each came; 0 when nothing was sent, 1 when the answer was lost.
    """

    def __init__(self, ports: list[int], path: str, headers: str = "") -> None:
        self._ports = ports
        self._path = path
        self._headers = headers
        self.confirmed: list[int] = []
        self.unknown: list[int] = []
        self.retried = 0
        self.statuses: Counter[int] = Counter()
        self._idle: list[tuple[int, asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, number: int) -> None:
        """Post one, until it is taken or may have been."""
        while True:
            status = await self._post(number)
            self.statuses[status] += 1
            if status == 202:
                self.confirmed.append(number)
                return
            if status not in (0, 503):
                self.unknown.append(number)
                return
            self.retried += 1
            await asyncio.sleep(0.05)

    def close(self) -> None:
        for _, _, writer in self._idle:
            writer.transport.abort()

    async def _post(self, number: int) -> int:
        """The status, as in `statuses`."""
        if self._idle:
            port, reader, writer = self._idle.pop()
        else:
            port = random.choice(self._ports)
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return 0
        body = json.dumps(number).encode()
        head = f"POST {self._path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{self._headers}"
        try:
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = re.search(r"content-length: (\d+)", answer)
            await reader.readexactly(int(length[1]) if length else 0)
        except (OSError, asyncio.IncompleteReadError):
            writer.transport.abort()
            return 1
        self._idle.append((port, reader, writer))
        return int(answer.split()[1])
