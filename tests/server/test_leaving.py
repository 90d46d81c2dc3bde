"""Clients that have left before Tornado listens for that."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tornado.testing import bind_unused_port

from nowait.testing import FakeBridge
from server.app import WebApplication, make_app
from server.http.limits import SERVER_OPTIONS
from server.settings import Settings
from tests.bridge.conftest import until
from tests.server.streams import Streams

_HEAD = b"GET /events?topics=news HTTP/1.1\r\nHost: h\r\n"
# The answer to the first is written before the handler is there, and fails. Of the other, blanks around a value are no
# part of it, and more than is read at a time: the end of the connection is read with that of the headers.
REQUESTS = {
    "expects to continue": _HEAD + b"Expect: 100-continue\r\n\r\n",
    "many blanks": _HEAD + b"X: " + b" " * 80_000 + b"a\r\n\r\n",
}


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[WebApplication, Streams, int]]:
    """The application, its server, and the port."""
    app = make_app(FakeBridge({}, queues=()), Settings())
    http = Streams(app, **SERVER_OPTIONS)
    sock, port = bind_unused_port()
    http.add_sockets([sock])
    try:
        yield app, http, port
    finally:
        app.stop_waiting()
        http.stop()
        await http.close_all_connections()
        await app.close()


@pytest.mark.gen_test
@pytest.mark.parametrize("behind", [b"\r\n", _HEAD], ids=["a line", "half of another request"])
async def test_one_that_sends_more_and_leaves_is_seen_to_leave(behind: bytes) -> None:
    async with serving() as (app, http, port):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(_HEAD + b"\r\n" + behind)
        await until(lambda: len(app.topics) == 1)
        client.close()
        # Otherwise when nothing more can be written to it, after half a minute.
        await until(lambda: len(http.connections) == len(app.in_flight) == len(app.topics) == 0, 10.0)


@pytest.mark.gen_test
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("reset", [False, True], ids=["an end", "a reset"])
async def test_a_subscriber_that_has_left_at_once_takes_no_place(request_: bytes, reset: bool) -> None:
    async with serving() as (app, http, port):
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        for client in clients:
            client.sendall(request_)
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        await until(lambda: len(http.streams) == 5 and len(http.connections) == 0)
        for _ in range(10):
            await asyncio.sleep(0)  # the handlers begin
        await until(lambda: len(app.in_flight) == len(app.topics) == 0, 10.0)
