"""What all handlers share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from nowait.errors import Stopped
from nowait.testing import FakeBridge
from server.app import WebApplication, make_app
from server.http.handler import BaseHandler
from server.settings import Settings
from tests.bridge.conftest import until


@asynccontextmanager
async def answer_of(handler: type[BaseHandler]) -> AsyncIterator[tuple[WebApplication, asyncio.StreamReader]]:
    """The application, and what comes of a request to a handler."""
    app = make_app(FakeBridge({}, queues=()), Settings())
    app.add_handlers(".*", [("/", handler, app._options)])
    http = HTTPServer(app)
    sock, port = bind_unused_port()
    http.add_socket(sock)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    yield app, reader
    writer.close()
    await until(lambda: len(app.in_flight) == 0)
    http.stop()


@pytest.mark.gen_test
async def test_an_answer_that_has_come_as_its_server_gives_up_is_written_whole() -> None:
    come: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    class Handler(BaseHandler):
        async def get(self) -> None:
            await self.wait_for(come)
            await self.finish_shared(b"[", (b"1" * 400_000,), b"]")

    async with answer_of(Handler) as (app, reader):
        await until(lambda: len(app.in_flight) == 1)
        come.set_result(None)
        app.in_flight.abandon(Stopped("the server is stopping"))
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"1" * 400_000 + b"]")


@pytest.mark.gen_test
async def test_what_would_wait_again_as_its_server_gives_up_is_ended() -> None:
    come: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    class Handler(BaseHandler):
        async def get(self) -> None:
            await self.wait_for(come)
            await self.wait_for(asyncio.sleep(60))

    async with answer_of(Handler) as (app, reader):
        await until(lambda: len(app.in_flight) == 1)
        come.set_result(None)
        app.in_flight.abandon(Stopped("the server is stopping"))
        assert (await reader.read()).startswith(b"HTTP/1.1 503 ")


@pytest.mark.gen_test
async def test_an_answer_that_fails_at_its_end_is_in_flight_no_more(caplog: pytest.LogCaptureFixture) -> None:
    class Handler(BaseHandler):
        def get(self) -> None:
            self.set_header("Content-Length", "10")
            self.write("short")

    async with answer_of(Handler) as (_, reader):
        assert (await reader.read()).endswith(b"\r\n\r\nshort")
    assert "Tried to write 5 bytes less than Content-Length" in caplog.text


@pytest.mark.gen_test
async def test_what_nobody_wants_any_more_is_not_begun() -> None:
    begun: list[str] = []

    async def step(name: str) -> None:
        begun.append(name)

    class Handler(BaseHandler):
        async def get(self) -> None:
            await self.wait_for(step("first"))
            self.abandon(Stopped("the server is stopping"))
            await self.wait_for(step("second"))  # it would be a warning if it were only left alone

    async with answer_of(Handler) as (_, reader):
        assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
    assert begun == ["first"]
