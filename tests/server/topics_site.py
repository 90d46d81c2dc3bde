"""A server of topics and queues, and clients that follow them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.websocket import WebSocketClientConnection, websocket_connect

from nowait.testing import FakeBridge
from server.app import WebApplication, make_app
from server.http.limits import SERVER_OPTIONS
from server.settings import Settings
from tests.bridge.conftest import running

MESSAGES = "/queues/parcels/messages"


@dataclass(frozen=True)
class Block:
    """What a server has sent between two blank lines."""

    id: str | None = None
    kind: str | None = None
    data: Any = None


class Follower:
    """A client that follows events, and knows the last id as an EventSource does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: int) -> None:
        self._reader = reader
        self._writer = writer
        self.status = status
        self.last_id: str | None = None

    async def block(self) -> Block | None:
        """The next one, comments and pauses left out; None at the end of the stream."""
        fields: dict[str, str] = {}
        while True:
            line = (await asyncio.wait_for(self._reader.readline(), 20)).decode()
            if not line:
                return None
            name, _, value = line.rstrip("\n").partition(": ")
            if name in ("id", "event", "data"):
                fields[name] = value
            elif not name and fields:
                self.last_id = fields.get("id", self.last_id)
                data = json.loads(fields["data"]) if "data" in fields else None
                return Block(fields.get("id"), fields.get("event"), data)

    async def events(self, count: int) -> list[Any]:
        """What the next messages hold."""
        found: list[Any] = []
        while len(found) < count:
            block = await self.block()
            assert block is not None and block.kind is None, block
            if block.data is not None:
                found.append(block.data["data"])
        return found

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class TopicsSite:
    """The server, the bridge behind it, and requests to it."""

    def __init__(self, app: WebApplication, bridge: Any, port: int) -> None:
        self.app = app
        self.bridge = bridge
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    async def fetch(self, path: str, body: Any = None, **options: Any) -> HTTPResponse:
        """One request: POST with a body, bytes as they are."""
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        if body is not None:
            body = body if isinstance(body, bytes) else json.dumps(body)
            options = {"method": "POST", "body": body, **options}
        request = HTTPRequest(self.url + path, headers=headers, **options)
        return await AsyncHTTPClient().fetch(request, raise_error=False)

    @asynccontextmanager
    async def follow(self, path: str, last_id: str | None = None, **headers: str) -> AsyncIterator[Follower]:
        """Follow events; entered once the head of the answer is there."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        given = headers if last_id is None else {**headers, "Last-Event-ID": last_id}
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n{lines}\r\n".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        follower = Follower(reader, writer, int(head.split()[1]))
        try:
            yield follower
        finally:
            await follower.close()


@asynccontextmanager
async def topics_site(bridge: Any, **settings: Any) -> AsyncIterator[TopicsSite]:
    """Serves topics and queues through a bridge that is there."""
    app = make_app(bridge, Settings(**{"timeout": 10.0, **settings}))
    sock, port = bind_unused_port()
    http = HTTPServer(app, **SERVER_OPTIONS)
    http.add_sockets([sock])
    try:
        yield TopicsSite(app, bridge, port)
    finally:
        app.stop_waiting()
        http.stop()
        await http.close_all_connections()
        await app.close()


@asynccontextmanager
async def over_fake(**settings: Any) -> AsyncIterator[TopicsSite]:
    """Over a fake bridge."""
    bridge = FakeBridge({})
    async with topics_site(bridge, **settings) as site:
        yield site
    await bridge.stop()


@asynccontextmanager
async def over_broker(url: str, **settings: Any) -> AsyncIterator[TopicsSite]:
    """Over a bridge to a broker."""
    async with running(url) as bridge, topics_site(bridge, **settings) as site:
        yield site


Serve = Callable[..., AbstractAsyncContextManager[TopicsSite]]
BOTH = ["fake", "broker"]


def over(request: pytest.FixtureRequest) -> Serve:
    """Serves over what a fixture has as its parameter, one of BOTH; settings as for Settings."""
    if request.param == "fake":
        return over_fake
    return partial(over_broker, request.getfixturevalue("vhost"))


@asynccontextmanager
async def consuming(
    site: TopicsSite, options: str = "", headers: dict[str, str] | None = None
) -> AsyncIterator[WebSocketClientConnection]:
    """A consumer of the queue `parcels`."""
    url = f"ws://127.0.0.1:{site.port}/queues/parcels/consumer{options}"
    socket = await websocket_connect(HTTPRequest(url, headers=headers or {}))
    try:
        yield socket
    finally:
        socket.close()


async def message(socket: WebSocketClientConnection) -> Any:
    """The next one that a consumer gets."""
    text = await asyncio.wait_for(socket.read_message(), 20)
    assert text is not None, (socket.close_code, socket.close_reason)
    return json.loads(text)


async def closed(socket: WebSocketClientConnection) -> int | None:
    """Why it was closed by the server."""
    assert await asyncio.wait_for(socket.read_message(), 20) is None
    return socket.close_code


async def put(site: TopicsSite, *values: Any) -> list[int]:
    """Put values into the queue; the statuses."""
    return [(await site.fetch(MESSAGES, value)).code for value in values]
