"""Answers are written as their clients take them."""

import asyncio
import fcntl
import logging
import socket
import struct
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tornado.testing import bind_unused_port

from nowait.messages.encoded import Encoded
from nowait.testing import FakeBridge
from server.app import WebApplication, make_app
from server.http import waits
from server.http.limits import SERVER_OPTIONS
from server.settings import Settings
from tests.bridge.conftest import until
from tests.server.streams import Streams

# By the flag that asks for it: sizes in bytes. The largest is far more than the socket buffers of both sides hold.
SIZES = {0: 2, 1: 200_000, 2: 5_000_000, 3: 40_000_000}


class Site:
    """A server and the results that it has passed on, of which a reader takes a little at a time."""

    def __init__(self) -> None:
        self.results: list[Encoded] = []
        bridge = FakeBridge({"task.query_users": self._query}, queues=["queries"])
        self.app: WebApplication = make_app(bridge, Settings())
        self.http = Streams(self.app, **SERVER_OPTIONS)
        sock, self.port = bind_unused_port()
        self.http.add_sockets([sock])

    def _query(self, flag: int, delay: float) -> Encoded:
        # In parts as the bridge's, and one that is larger than what is written at a time.
        text = b'["' + b"x" * (SIZES[flag] - 4) + b'"]' if SIZES[flag] > 2 else b"[]"
        half = len(text) // 2
        parts = [text[at : min(half, at + 131_064)] for at in range(0, half, 131_064)]
        self.results.append(Encoded(*parts, memoryview(text)[half:]))
        return self.results[-1]

    async def ask(self, flag: int, method: str = "GET") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
        writer.write(f"{method} /mysql_query/{flag} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        return reader, writer


@asynccontextmanager
async def serving() -> AsyncIterator[Site]:
    site = Site()
    yield site
    site.http.stop()
    await site.http.close_all_connections()


@pytest.mark.gen_test
@pytest.mark.parametrize("flag", SIZES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_an_answer_of_any_size_arrives_whole(flag: int, method: str) -> None:
    async with serving() as site:
        reader, writer = await site.ask(flag, method)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        start = b'{"flag":%d,"rows":' % flag
        size = len(start) + SIZES[flag] + 1
        assert f"Content-Length: {size}\r\n".encode() in head
        assert len(body) == (size if method == "GET" else 0)
        if method == "GET":
            assert (body[: len(start) + 1], body[-2:]) == (start + b"[", b"]}")
        await until(lambda: site.results[0].parts == () and len(site.app.in_flight) == 0)


@pytest.mark.gen_test
@pytest.mark.parametrize("flag", [2, 3])
async def test_a_client_that_does_not_read_is_disconnected(
    flag: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(waits, "_READ_TIMEOUT", 0.2)
    async with serving() as site:
        with caplog.at_level(logging.WARNING, logger="server"):
            reader, writer = await site.ask(flag)
            await until(lambda: site.results and site.results[0].parts == () and len(site.app.in_flight) == 0)
        assert any("does not read" in line for line in caplog.messages)
        with pytest.raises(ConnectionError):
            await reader.read()
            raise ConnectionResetError("it ended before its length")
        writer.close()


@pytest.mark.gen_test
async def test_of_an_answer_that_nobody_reads_the_system_keeps_little() -> None:
    async with serving() as site:
        _, writer = await site.ask(3)
        await until(lambda: site.results)
        (stream,) = site.http.streams
        found = [0, 1]
        while found[-1] != found[-2]:
            await asyncio.sleep(0.3)
            # tcp(7), SIOCOUTQ: bytes that were not acknowledged, or not sent.
            found += struct.unpack("i", fcntl.ioctl(stream.socket, termios.TIOCOUTQ, b"\0" * 4))
        assert 100_000 < found[-1] < 500_000
        writer.transport.abort()
        await until(lambda: len(site.app.in_flight) == 0)


@pytest.mark.gen_test
async def test_parts_of_large_answers_are_written_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = 0
    turns = []

    async def count() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    def write(handler: waits.WaitingHandler, chunk: Any) -> None:
        if len(chunk) > 100_000:
            turns.append(turn)
        plain(handler, chunk)

    plain = waits.WaitingHandler.write
    monkeypatch.setattr(waits.WaitingHandler, "write", write)
    async with serving() as site:
        counting = asyncio.create_task(count())
        writers = [(await site.ask(2))[1] for _ in range(20)]
        await until(lambda: len(turns) >= 20)
        counting.cancel()
        assert len(turns) == len({*turns})
        for writer in writers:
            writer.transport.abort()
        await until(lambda: len(site.app.in_flight) == 0)


@pytest.mark.gen_test
async def test_a_client_that_leaves_lets_go_of_its_answer() -> None:
    async with serving() as site:
        _reader, writer = await site.ask(3)
        await until(lambda: site.results)
        assert site.results[0].parts
        writer.transport.abort()
        await until(lambda: site.results[0].parts == () and len(site.app.in_flight) == 0)


@pytest.mark.gen_test
async def test_while_one_client_reads_slowly_others_are_answered() -> None:
    async with serving() as site:
        slow, slows = await site.ask(3)
        await until(lambda: site.results)
        for _ in range(20):
            await slow.read(1024)
            reader, writer = await site.ask(0)
            assert b" 200 OK" in await reader.read()
            writer.close()
        assert site.results[0].parts
        slows.transport.abort()
        await until(lambda: len(site.app.in_flight) == 0)
