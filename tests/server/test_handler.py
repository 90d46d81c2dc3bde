"""What all handlers share."""

import asyncio
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from nowait.errors import Stopped
from nowait.testing import FakeBridge
from server.app import make_app
from server.http.handler import BaseHandler
from server.settings import Settings
from tests.bridge.conftest import until


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

    app: Any = make_app(FakeBridge({}, queues=()), Settings())
    app.add_handlers(".*", [("/steps", Handler, app._options)])
    http = HTTPServer(app)
    sock, port = bind_unused_port()
    http.add_socket(sock)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /steps HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
    writer.close()
    await until(lambda: len(app.in_flight) == 0)
    http.stop()
    assert begun == ["first"]
