"""Subscribers that read nothing: closed within their bounds, while the server's memory stays what it is."""

import asyncio
import json
import socket
import time
from collections.abc import Iterable
from pathlib import Path

import psutil
import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from deploy.local.process import Process, free_port
from deploy.local.services import Services
from tests.bridge.conftest import until
from tests.conftest import Start, ready
from tests.faults.figures import Figures
from tests.server.topics_site import Follower

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

pytestmark = [pytest.mark.gen_test(timeout=300), pytest.mark.timeout(300)]

_SUBSCRIBERS = 100
_SIZE = 60_000  # bytes of a message
_RATE = 50  # messages a second: fewer than one that reads is given
_READ_TIME = 10.0  # seconds in which it has to take something
_PART = 128 * 1024  # bytes that are taken at once, and written at once, at most
_RING = 16 * 1024 * 1024  # bytes of messages that the server keeps
# Messages that have left for a connection without having been read: what its sockets take, and what waits for them.
_UNDER_WAY = (int(Path("/proc/sys/net/ipv4/tcp_wmem").read_text().split()[2]) + 2 * _PART) // _SIZE


class Site:
    """A server of topics.

    Attributes:
        published: how many messages.
    """

    def __init__(self, server: Process, port: int) -> None:
        self._process = psutil.Process(server.pid)
        self._port = port
        self.published = 0

    @property
    def memory(self) -> int:
        """Bytes."""
        return int(self._process.memory_info().rss)

    async def publish(self, count: int) -> None:
        """Messages with their numbers, each once the one before is confirmed and its time has come."""
        for _ in range(count):
            due = time.monotonic() + 1 / _RATE
            body = json.dumps({"number": self.published, "text": "x" * _SIZE})
            url, headers = f"http://127.0.0.1:{self._port}/topics/news", {"Content-Type": "application/json"}
            assert (await AsyncHTTPClient().fetch(HTTPRequest(url, "POST", headers, body))).code == 202
            self.published += 1
            await asyncio.sleep(due - time.monotonic())

    async def open(self, last_id: str | None = None, room: int | None = None) -> Streams:
        """Follow the topic from an id on, or from now; the receiving socket has `room` bytes, None for as many."""
        sock = socket.socket()
        if room is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=room or _PART)
        resume = "" if last_id is None else f"Last-Event-ID: {last_id}\r\n"
        writer.write(f"GET /topics/news/events HTTP/1.0\r\nHost: localhost\r\n{resume}\r\n".encode())
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        return reader, writer

    async def read(self, numbers: list[int]) -> None:
        """Follow the topic as an EventSource does, and note the numbers of all messages, until cancelled."""
        last_id: str | None = None
        while True:
            follower = Follower(*await self.open(last_id), 200)
            try:
                while (block := await follower.block()) is not None:
                    assert block.kind is None, block
                    if block.data is not None:
                        numbers.append(block.data["data"]["number"])
            finally:
                last_id = follower.last_id or last_id
                await follower.close()

    def has(self, clients: Iterable[Streams]) -> bool:
        """Some of these clients have their connections still, at the server's end."""
        ports = {writer.get_extra_info("sockname")[1] for _, writer in clients}
        return any(each.raddr and each.raddr.port in ports for each in self._process.net_connections("tcp"))


async def test_those_that_read_nothing_are_closed_and_one_that_reads_gets_everything(
    vhost: str, services: Services, start: Start, figures: Figures
) -> None:
    port = free_port()
    server = start("server", "server", port=port, broker_url=vhost, database_url=services.database_url)
    ready(server, port)
    site = Site(server, port)
    numbers: list[int] = []
    reading = asyncio.create_task(site.read(numbers))
    await site.publish(1)
    while not numbers:  # it follows what comes from now on, once it is there
        await site.publish(1)
    # What the server keeps for all is there before its memory counts.
    await site.publish(_RING // _SIZE)
    before = most = site.memory

    silent = [await site.open(room=4096) for _ in range(_SUBSCRIBERS)]
    await site.publish(_UNDER_WAY)
    began = time.monotonic()
    while site.has(silent):
        await site.publish(5)
        most = max(most, site.memory)
        assert time.monotonic() < began + 3 * _READ_TIME
    within = time.monotonic() - began
    for _, writer in silent:
        writer.transport.abort()

    await until(lambda: numbers[-1] == site.published - 1)
    reading.cancel()
    await asyncio.wait([reading])
    figures.remark(
        f"{_SUBSCRIBERS} subscribers that read nothing", closed_after=within,
        memory_MB=round((most - before) / 1e6), one_that_reads_got=len(numbers),
    )  # fmt: skip
    assert numbers == list(range(numbers[0], site.published))
    # Each has what is under way to it, whatever is published: one part that was taken, and one that is being written.
    assert most - before < _SUBSCRIBERS * 2 * _PART + 16_000_000
    server.kill()
