"""Answers in parts over real HTTP, with a fake bridge behind them."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from nowait.testing import FakeBridge
from server import lifecycle
from server.app import WebApplication, make_app
from server.http import waits
from server.http.limits import SERVER_OPTIONS
from server.lifecycle import shut_down
from server.settings import Settings
from tests.bridge.conftest import until

Parts = Callable[..., AsyncGenerator[bytes, None]]


class QueryBroken(Exception):
    pass


def list_queries() -> list[dict[str, Any]]:
    parameters = {"type": "object", "properties": {}}
    return [
        {"name": "rows", "description": "", "parameters": parameters, "queue": "queries.fast", "repeatable": True}
    ]


class Site:
    """A server of one query, whose stream is `parts`."""

    def __init__(self, parts: Parts, **settings: Any) -> None:
        tasks = {"task.list_queries": list_queries, "task.stream_query": parts}
        self.settings = Settings(**settings)
        self.bridge = FakeBridge(tasks, queues=["queries.catalogue", "queries.streams"])
        self.app: WebApplication = make_app(self.bridge, self.settings)
        self.http = HTTPServer(self.app, **SERVER_OPTIONS)
        sock, self.port = bind_unused_port()
        self.http.add_socket(sock)

    async def ask(
        self, version: str, connection: str = "close"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
        head = f"GET /queries/rows HTTP/{version}\r\nHost: h\r\nAccept: text/csv\r\nConnection: {connection}\r\n\r\n"
        writer.write(head.encode())
        return reader, writer


@asynccontextmanager
async def serving(parts: Parts, **settings: Any) -> AsyncIterator[Site]:
    site = Site(parts, **settings)
    yield site
    site.http.stop()
    await site.http.close_all_connections()
    await site.bridge.stop()


@pytest.mark.gen_test
async def test_a_query_that_is_broken_is_503_before_its_first_row() -> None:
    async def broken(*_: Any) -> AsyncGenerator[bytes, None]:
        raise QueryBroken("SELECT secret FROM users")
        yield b""

    async with serving(broken) as site:
        reader, writer = await site.ask("1.1")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        assert head.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 60" in head
        assert json.loads(body)["type"] == "urn:problem-type:nowait:query-broken"


async def breaking(*_: Any) -> AsyncGenerator[bytes, None]:
    """Fails behind its first part."""
    yield b"1\r\n"
    raise LookupError("first\nsecond " + 5000 * "x")


@pytest.mark.gen_test
async def test_what_broke_a_stream_off_is_one_bounded_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(breaking) as site:
        reader, writer = await site.ask("1.1")
        assert not (await reader.read()).endswith(b"0\r\n\r\n")
        writer.close()
    (line,) = [text for text in caplog.messages if "broke off" in text]
    assert r"first\nsecond" in line and "\n" not in line and len(line) < 1200


async def endless(*_: Any) -> AsyncGenerator[bytes, None]:
    """Has always more."""
    while True:
        yield b"x" * 100_000


async def hanging(*_: Any) -> AsyncGenerator[bytes, None]:
    """Has one part, and nothing behind it."""
    yield b"1\r\n"
    await asyncio.sleep(3600)


async def assert_broken_off(reader: asyncio.StreamReader, version: str) -> None:
    """The client does not take what came for the whole."""
    if version == "1.0":
        with pytest.raises(ConnectionResetError):
            await reader.read()
    else:
        try:
            assert not (await reader.read()).endswith(b"0\r\n\r\n")
        except ConnectionResetError:
            pass


VERSIONS = ["1.0", "1.1"]


@pytest.mark.gen_test
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_that_does_not_read_finds_a_part_of_the_answer(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "_READ_TIMEOUT", 0.2)
    async with serving(endless) as site:
        reader, writer = await site.ask(version)
        await until(lambda: site.bridge.streams == 1)
        await until(lambda: site.bridge.streams == 0)
        await assert_broken_off(reader, version)
        writer.close()


async def assert_broken_off_by_the_stop(site: Site, version: str) -> None:
    """A stream that is under way ends with its server, and does not look whole."""
    reader, writer = await site.ask(version)
    await reader.readuntil(b"\r\n\r\n")
    await shut_down(site.http, site.app, site.bridge, site.settings)
    await assert_broken_off(reader, version)
    writer.close()


@pytest.mark.gen_test
@pytest.mark.parametrize("parts", [endless, hanging])
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_server_that_stops_breaks_its_streams_off(parts: Parts, version: str) -> None:
    async with serving(parts, shutdown_timeout=0.0) as site:
        await assert_broken_off_by_the_stop(site, version)


@pytest.mark.gen_test
@pytest.mark.parametrize("version", VERSIONS)
async def test_the_last_bytes_of_a_stream_that_nobody_takes_are_broken_off_at_the_stop(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def large(*_: Any) -> AsyncGenerator[bytes, None]:
        yield b"x" * 20_000_000

    monkeypatch.setattr(lifecycle, "_WRITE_TIMEOUT", 0.2)
    async with serving(large, shutdown_timeout=0.0) as site:
        await assert_broken_off_by_the_stop(site, version)


@pytest.mark.gen_test
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("error", [ValueError("a fault"), asyncio.CancelledError()])
async def test_no_error_in_the_middle_ends_the_answer_as_if_it_were_whole(
    version: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stream(*_: Any, **__: Any) -> AsyncGenerator[bytes, None]:
        yield b"1\r\n"
        raise error

    async with serving(hanging) as site:
        monkeypatch.setattr(site.bridge, "stream", stream)
        reader, writer = await site.ask(version)
        await reader.readuntil(b"\r\n\r\n")
        await assert_broken_off(reader, version)
        writer.close()


@pytest.mark.gen_test
async def test_a_stream_ends_the_connection_of_a_client_of_http_1_0_that_would_keep_it() -> None:
    async def two(*_: Any) -> AsyncGenerator[bytes, None]:
        yield b"1\r\n"
        yield b"2\r\n"

    async with serving(two) as site:
        reader, writer = await site.ask("1.0", connection="keep-alive")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert b"keep-alive" not in head.lower() and body == b"1\r\n2\r\n"
        writer.close()
