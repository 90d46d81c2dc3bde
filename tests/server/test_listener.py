"""A server that accepts as many connections as it may have, and rests where it can accept none."""

import asyncio
import errno
import logging
import os
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler, stream_request_body

from nowait.testing import FakeBridge
from server.app import make_app
from server.http.limits import SERVER_OPTIONS
from server.http.proxies import Proxies
from server.http.request_stream import RequestStream
from server.settings import Settings
from tests.bridge.conftest import until
from tests.server.streams import Streams

NOW = b"GET /i_want_you_now HTTP/1.1\r\nHost: h\r\n\r\n"


class Site:
    def __init__(self, most: int, app: Application | None, introduced_by: Proxies) -> None:
        app = app or make_app(FakeBridge({}, queues=()), Settings())
        self.http = Streams(app, most=most, introduced_by=introduced_by, **SERVER_OPTIONS)
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

    async def ask(self, request: bytes = NOW) -> bytes:
        """The first line of an answer; b"" when there is none."""
        try:
            self.writer.write(request)
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await self.reader.readexactly(length)
            return head.partition(b"\r\n")[0]
        except (ConnectionError, asyncio.IncompleteReadError):
            return b""


@asynccontextmanager
async def listening(
    most: int = 2,
    sock: socket.socket | None = None,
    app: Application | None = None,
    introduced_by: Proxies = Proxies(),
) -> AsyncIterator[Site]:
    """A server that listens; the clients that it still has are closed in the end."""
    site = Site(most, app, introduced_by)
    site.listen(sock or bind_unused_port()[0])
    try:
        yield site
    finally:
        site.http.stop()
        await site.http.close_all_connections()
        for client in site.clients:
            client.writer.close()


@pytest.mark.gen_test
async def test_one_too_many_is_closed_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # None has waited long enough to be given up.
    monkeypatch.setattr("server.http.connections._GRACE", 1000.0)
    async with listening() as site:
        first, second = [await site.connect() for _ in range(2)]
        assert await first.ask() == await second.ask() == b"HTTP/1.1 200 OK"
        for _ in range(5):
            client = await site.connect()
            assert await client.reader.read() == b""
        assert await first.ask() == b"HTTP/1.1 200 OK"
        first.writer.close()
        await until(lambda: len(site.http.connections) == 1)
        third = await site.connect()
        assert await third.ask() == b"HTTP/1.1 200 OK"
    assert [record.message for record in caplog.records] == ["a connection is refused: 2 are open"] * 5


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


async def in_pieces(client: Client, request: bytes, size: int = 1) -> None:
    """Send so many bytes at a time, each when the ones before it have come."""
    for at in range(0, len(request), size):
        client.writer.write(request[at : at + size])
        await client.writer.drain()
        await asyncio.sleep(0.001)


@pytest.mark.gen_test
@pytest.mark.parametrize("lines", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
async def test_of_a_request_in_single_bytes_nothing_is_read_before_its_headers_are_there(lines: bytes) -> None:
    request = NOW.replace(b"\r\n", lines)
    async with listening() as site:
        client = await site.connect()
        await in_pieces(client, request[:-1])
        assert site.http.streams == []
        assert await client.ask(request[-1:]) == b"HTTP/1.1 200 OK"
        assert len(site.http.streams) == 1
        # The next one comes by the same connection.
        await in_pieces(client, NOW[:-1])
        assert await client.ask(NOW[-1:]) == b"HTTP/1.1 200 OK"


@pytest.mark.gen_test
async def test_headers_in_two_pieces_wait_for_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.http.opening.Looks.later", None)
    async with listening() as site:
        client = await site.connect()
        await until(lambda: len(site.http.connections) == 1)
        await in_pieces(client, NOW[:20], 20)
        assert site.http.streams == []
        assert await client.ask(NOW[20:]) == b"HTTP/1.1 200 OK"


@pytest.mark.gen_test
async def test_those_in_more_pieces_wait_no_longer_than_since_the_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []
    monkeypatch.setattr("server.http.opening.Looks.later", lambda _looks, seconds, _look: waits.append(seconds))
    async with listening() as site:
        client = await site.connect()
        # However long the connection has been there.
        await asyncio.sleep(1.0)
        await in_pieces(client, NOW[:30], 10)
        await until(lambda: waits != [])
        assert 0.0 < waits[0] < 1.0


@pytest.mark.gen_test
async def test_headers_are_as_long_as_before() -> None:
    async with listening() as site:
        client = await site.connect()
        await in_pieces(client, NOW[:-2] + b"X-Long: " + b"x" * 60_000, 1000)
        assert await client.ask(b"\r\n\r\n") == b"HTTP/1.1 200 OK"


@pytest.mark.gen_test
@pytest.mark.parametrize(("lines", "answer"), [(900, b"HTTP/1.1 200 OK"), (1001, b"")])
async def test_headers_of_too_many_lines_end_the_connection(lines: int, answer: bytes) -> None:
    async with listening() as site:
        client = await site.connect()
        assert await client.ask(NOW[:-2] + b"a:\r\n" * lines + b"\r\n") == answer


@pytest.mark.gen_test
@pytest.mark.parametrize(("size", "answer"), [(100_000, b"HTTP/1.1 431"), (140_000, b"")])
async def test_headers_that_are_too_long_are_refused_and_far_longer_ones_are_not_kept(size: int, answer: bytes) -> None:
    async with listening() as site:
        client = await site.connect()
        assert (await client.ask(NOW[:-2] + b"X-Long: " + b"x" * size + b"\r\n\r\n"))[:12] == answer


@pytest.mark.gen_test
async def test_the_end_of_headers_is_searched_in_what_is_new() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stream = RequestStream(ours)
    starts: list[int] = []

    class Searched:
        def __init__(self, pattern: "re.Pattern[bytes]") -> None:
            self._pattern = pattern

        def search(self, text: bytearray, start: int) -> "re.Match[bytes] | None":
            starts.append(start)
            return self._pattern.search(text, start)

    theirs.send(b"x" * 50_000)
    head = asyncio.ensure_future(stream.read_until_regex(b"\r?\n\r?\n"))
    await until(lambda: stream._searched == 50_000)
    vars(stream)["_read_regex"] = Searched(re.compile(b"\r?\n\r?\n"))
    for number, byte in enumerate(b"yy\r\n\r\n", 1):
        theirs.send(bytes([byte]))
        await until(lambda: stream._searched == 50_000 + number)
    assert await head == b"x" * 50_000 + b"yy\r\n\r\n"
    assert min(starts) >= 50_000 - 3
    stream.close()
    theirs.close()


@pytest.mark.gen_test
@pytest.mark.parametrize("reset", [False, True], ids=["an end", "a reset"])
async def test_who_leaves_in_the_midst_of_headers_is_forgotten(reset: bool) -> None:
    async with listening() as site:
        client = await site.connect()
        await in_pieces(client, NOW[:20])
        assert len(site.http.connections) == 1
        if reset:
            sock = client.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.writer.close()
        await until(lambda: len(site.http.connections) == 0)


@pytest.mark.gen_test
async def test_who_has_sent_half_of_its_headers_is_closed_in_the_end() -> None:
    async with listening() as site:
        client = await site.connect()
        await in_pieces(client, NOW[:20])
        site.http.stop()
        await site.http.close_all_connections()
        with pytest.raises(ConnectionResetError):
            await client.reader.read()


@pytest.mark.gen_test
async def test_what_is_overdue_when_the_server_stops_is_closed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.http.connections._FIRST", 0.0)
    async with listening() as site:
        client = await site.connect()
        await until(lambda: len(site.http.connections) == 1)
        site.http._sweep()
        # In the same turn of the loop.
        await site.http.close_all_connections()
        assert await client.reader.read() == b""


@stream_request_body
class Pieces(RequestHandler):
    """Answers with how often a piece of the body has come."""

    number = 0

    def data_received(self, chunk: bytes) -> None:
        self.number += 1

    def post(self) -> None:
        self.write(str(self.number))


@pytest.mark.gen_test
async def test_a_body_in_single_bytes_is_read_at_once() -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n"
    async with listening(app=Application([("/", Pieces)])) as site:
        client = await site.connect()

        def awaited() -> int:
            stream = site.http.streams[0]
            assert isinstance(stream.socket, socket.socket)
            return stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)

        for again in (False, True):
            if again:
                await until(lambda: awaited() == 1)
            client.writer.write(head)
            # What comes before that, with the headers or behind them, is read by itself.
            await until(lambda: site.http.streams != [] and awaited() == 20)
            await in_pieces(client, b"x" * 20)
            await client.reader.readuntil(b"\r\n\r\n")
            assert await client.reader.readexactly(1) == b"1"
        # Nor is its end waited for.
        client.writer.write(head + b"x")
        await until(lambda: len(site.http.connections) == 1)
        client.writer.write_eof()
        assert await client.reader.read() == b""


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
        (logging.WARNING, "no connection can be accepted: Too many open files")
    ] * 3


class Scarce(socket.socket):
    """A listening socket that has descriptors for two connections at once.

    As with Linux, a third one is missing also where no connection waits.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.accepted: list[socket.socket] = []

    def accept(self) -> Any:
        if sum(each.fileno() >= 0 for each in self.accepted) >= 2:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        connection, address = super().accept()
        self.accepted.append(connection)
        return connection, address


@pytest.mark.gen_test
async def test_one_connection_without_headers_is_given_up_for_one_whose_descriptor_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.http.connections._GRACE", 0.0)
    sock = Scarce()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    sock.setblocking(False)
    async with listening(most=10, sock=sock) as site:
        first, second = [await site.connect() for _ in range(2)]
        for client in (first, second):
            await in_pieces(client, NOW[:20])
        await until(lambda: len(site.http.connections) == 2)
        third = await site.connect()
        assert await third.ask() == b"HTTP/1.1 200 OK"
        assert [each.fileno() >= 0 for each in sock.accepted] == [False, True, True]
        assert await second.ask(NOW[20:]) == b"HTTP/1.1 200 OK"


@pytest.mark.gen_test
async def test_one_that_no_balancer_has_introduced_is_given_up_alone_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.http.connections._GRACE", 0.0)
    sock = Scarce()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    sock.setblocking(False)
    async with listening(most=10, sock=sock, introduced_by=Proxies.parse("127.0.0.0/8")) as site:
        for _ in range(2):
            await site.connect()
        await until(lambda: len(site.http.connections) == 2)
        third = await site.connect()
        assert await third.ask(b"PROXY TCP4 192.0.2.7 127.0.0.1 80 8000\r\n" + NOW) == b"HTTP/1.1 200 OK"
        assert [each.fileno() >= 0 for each in sock.accepted] == [False, True, True]


@pytest.mark.gen_test
async def test_who_sends_no_whole_request_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.http.connections._FIRST", 0.5)
    async with listening() as site:
        silent, slow = [await site.connect() for _ in range(2)]
        slow.writer.write(NOW[:20])
        assert await silent.reader.read() == b""
        with pytest.raises(ConnectionResetError):  # as what it has sent was not read
            await slow.reader.read()
        assert len(site.http.connections) == 0
