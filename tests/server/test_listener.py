"""A server that accepts as many connections as it may have, and rests where it can accept none."""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tornado.testing import bind_unused_port

from nowait.testing import FakeBridge
from server.app import make_app
from server.http.limits import SERVER_OPTIONS
from server.http.listener import Listener
from server.settings import Settings
from tests.bridge.conftest import until

NOW = b"GET /i_want_you_now HTTP/1.1\r\nHost: h\r\n\r\n"


class Site:
    def __init__(self, most: int = 10) -> None:
        self.http = Listener(make_app(FakeBridge({}, queues=()), Settings()), most=most, **SERVER_OPTIONS)
        self.port = 0
        self.clients: list[Client] = []

    def listen(self, sock: socket.socket) -> None:
        self.port = sock.getsockname()[1]
        self.http.add_sockets([sock])

    async def connect(self) -> "Client":
        self.clients.append(Client(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self.clients[-1]


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self) -> bytes:
        """The first line of an answer; b"" when there is none."""
        try:
            self.writer.write(NOW)
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await self.reader.readexactly(length)
            return head.partition(b"\r\n")[0]
        except (ConnectionError, asyncio.IncompleteReadError):
            return b""


@asynccontextmanager
async def listening(most: int = 2, sock: socket.socket | None = None) -> AsyncIterator[Site]:
    """A server that listens; the clients that it still has are closed in the end."""
    site = Site(most)
    site.listen(sock or bind_unused_port()[0])
    try:
        yield site
    finally:
        site.http.stop()
        await site.http.close_all_connections()
        for client in site.clients:
            client.writer.close()


@pytest.mark.gen_test
async def test_one_too_many_is_closed_at_once_and_the_log_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as site:
        first, second = [await site.connect() for _ in range(2)]
        assert await first.ask() == await second.ask() == b"HTTP/1.1 200 OK"
        for _ in range(20):
            client = await site.connect()
            assert await client.reader.read() == b""
        assert await first.ask() == b"HTTP/1.1 200 OK"
        first.writer.close()
        await until(lambda: len(site.http.connections) == 1)
        third = await site.connect()
        assert await third.ask() == b"HTTP/1.1 200 OK"
    assert [record.message for record in caplog.records] == ["1 connections were given up or refused: 2 are open"]


@pytest.mark.gen_test
async def test_one_that_waits_for_a_request_is_given_up_for_another(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("server.http.connections._GRACE", 0.0)
    async with listening() as site:
        first, second = [await site.connect() for _ in range(2)]
        assert await first.ask() == await second.ask() == b"HTTP/1.1 200 OK"
        third = await site.connect()
        assert await third.ask() == b"HTTP/1.1 200 OK"
        assert await first.reader.read() == b""
        assert await second.ask() == b"HTTP/1.1 200 OK"
    assert "given up" in caplog.text


class Exhausted(socket.socket):
    """A listening socket for whose connections there is no descriptor, as often as `left` says."""

    left = 3
    tried = 0

    def accept(self) -> Any:
        self.tried += 1
        if self.left:
            self.left -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


@pytest.mark.gen_test
async def test_without_descriptors_it_rests_and_then_accepts_again(caplog: pytest.LogCaptureFixture) -> None:
    sock = Exhausted()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    sock.setblocking(False)
    async with listening(sock=sock) as site:
        client = await site.connect()
        assert await client.ask() == b"HTTP/1.1 200 OK"
        # Three that failed, the one that did not, and that there is no other.
        assert sock.tried == 5
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.WARNING, "1 times no connection was accepted: Too many open files")
    ]


@pytest.mark.gen_test
async def test_who_sends_no_whole_request_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.http.connections._FIRST", 0.5)
    async with listening() as site:
        silent, slow = [await site.connect() for _ in range(2)]
        slow.writer.write(NOW[:20])
        assert await silent.reader.read() == await slow.reader.read() == b""
        assert len(site.http.connections) == 0
